"""Tests of spaceswarm_proxy.events."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.events import Events


class EventsTests(SynchronousTestCase):
    """Names, and who listens."""

    def setUp(self) -> None:
        self.events = Events("up", "down")
        self.heard: list[object] = []

    def test_arguments(self) -> None:
        """A listener is called with the event's arguments, and only for its event."""
        self.events.on("up", lambda *args: self.heard.append(args))
        self.events.emit("up", 1, "two")
        self.events.emit("up")
        self.events.emit("down", 3)
        self.assertEqual(self.heard, [(1, "two"), ()])

    def test_order(self) -> None:
        """Listeners are called in the order in which they came."""
        for number in range(3):
            self.events.on("up", lambda number=number: self.heard.append(number))
        self.events.emit("up")
        self.assertEqual(self.heard, [0, 1, 2])

    def test_unknown(self) -> None:
        """The names are fixed: a misspelt one is an error, wherever it stands."""
        self.assertRaises(KeyError, self.events.on, "upp", print)
        self.assertRaises(KeyError, self.events.emit, "upp")

    def test_off(self) -> None:
        """Who wants to hear no more hears no more; to say it twice is harmless."""
        off = self.events.on("up", self.heard.append)
        self.events.on("up", lambda value: self.heard.append(-value))
        off()
        off()
        self.events.emit("up", 1)
        self.assertEqual(self.heard, [-1])

    def test_same_listener_twice(self) -> None:
        """A listener that was registered twice is called twice, and each of the two ends by itself."""
        first = self.events.on("up", self.heard.append)
        self.events.on("up", self.heard.append)
        self.events.emit("up", 1)
        first()
        first()
        self.events.emit("up", 2)
        self.assertEqual(self.heard, [1, 1, 2])

    def test_a_listener_fails(self) -> None:
        """A listener that raises is logged; the others, and the emitter, go on."""

        def broken() -> None:
            raise RuntimeError("oh dear")

        self.events.on("up", broken)
        self.events.on("up", lambda: self.heard.append("still"))
        self.events.emit("up")
        self.assertEqual(self.heard, ["still"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_changes_while_emitting(self) -> None:
        """Who comes or goes while an event is told does so from the next one on."""
        off: list[Callable[[], None]] = []

        def once() -> None:
            self.heard.append("once")
            off[0]()
            self.events.on("up", lambda: self.heard.append("new"))

        off.append(self.events.on("up", once))
        self.events.emit("up")
        self.assertEqual(self.heard, ["once"])
        self.events.emit("up")
        self.assertEqual(self.heard, ["once", "new"])
