"""Who looks after the way of a stream: spaceswarm_proxy.udx.owner.Watcher."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import RelayLostError, StreamResetError
from spaceswarm_proxy.udx.core import MAX_HELD
from tests.udx.test_relaying import RELAY, Bench
from tests.udx.world import HERE, SOCKET, THERE, Net, Place


class Watching:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def path_moved(self) -> None:
        self.told.append("moved")

    def path_heard(self, socket: int, source: bytes) -> None:
        self.told.append((socket, source))

    def stream_over(self) -> None:
        self.told.append("over")


class MovingTests(Bench):
    """A stream that leaves a relay."""

    def setUp(self) -> None:
        super().setUp()
        self.watching = self.ours.stream.watcher = Watching()

    def move(self) -> None:
        self.ours.stream.change_remote(SOCKET, 2002, THERE, self.net.now)

    def test_moved(self) -> None:
        """It is told when all that was under way has arrived, and not before."""
        self.ours.write(b"x" * 100_000)
        self.net.run(0.01)
        self.move()
        self.assertEqual([], self.watching.told)
        self.net.run(5)
        self.assertEqual(["moved"], self.watching.told)
        self.assertEqual(100_000, len(self.theirs.data))

    def test_idle(self) -> None:
        """Where nothing is under way that is so at once."""
        self.move()
        self.assertEqual(["moved"], self.watching.told)

    def test_heard(self) -> None:
        """While it asks, it is told where each packet comes from, whatever that is; nothing is different otherwise."""
        self.theirs.write(b"y" * 50_000)
        self.net.run(5)
        self.assertEqual([], self.watching.told)
        self.ours.stream.watch_path(True)
        self.theirs.write(b"y" * 50_000)
        self.net.run(5)
        heard = len(self.watching.told)
        self.assertGreater(heard, 30)
        self.assertEqual({(SOCKET, RELAY)}, set(self.watching.told))
        self.ours.stream.watch_path(False)
        self.theirs.write(b"y" * 50_000)
        self.net.run(5)
        self.assertEqual(heard, len(self.watching.told))
        self.assertEqual(b"y" * 150_000, self.ours.data)

    def test_over(self) -> None:
        """It is told once that the stream is over, however that comes."""
        self.ours.destroy()
        self.ours.destroy()
        self.assertEqual(["over"], self.watching.told)
        self.setUp()
        self.theirs.destroy()
        self.net.run(1)
        self.assertEqual((["over"], None), (self.watching.told, self.ours.stream.watcher))
        self.assertIsInstance(self.ours.problem, StreamResetError)

    def test_nobody(self) -> None:
        """Without a watcher there is nobody to be told."""
        self.ours.stream.watcher = None
        self.ours.stream.watch_path(True)
        self.theirs.write(b"z")
        self.net.run(1)
        self.move()
        self.ours.destroy()
        self.assertEqual((b"z", []), (self.ours.data, self.watching.told))


class HeldTests(SynchronousTestCase):
    """What comes to a relay before that knows where to pass it on."""

    def setUp(self) -> None:
        self.net = Net()
        self.relay = Place(self.net, RELAY, 5)
        self.first, self.second = self.relay.create(11), self.relay.create(12)
        self.first.stream.relay_to(self.second.stream)
        self.second.stream.relay_to(self.first.stream)
        self.first.connect(HERE, 1001)
        self.theirs = self.net.there.create(2002)
        self.theirs.connect(RELAY, 12)
        self.ours = self.net.here.create(1001)
        self.ours.connect(RELAY, 11)

    def test_held(self) -> None:
        """The first packets wait for that, and need not be repeated."""
        self.ours.write(b"hello")
        self.net.run(0.1)
        self.assertEqual([], self.net.packets(RELAY))
        self.second.connect(THERE, 2002)
        self.net.run(0.1)
        self.assertEqual(b"hello", self.theirs.data)

    def test_bounded(self) -> None:
        """There are so many of them at most, and none when it comes to nothing."""
        for _ in range(3 * MAX_HELD):
            self.ours.stream.send_message(b"x")
        self.net.run(0.1)
        self.assertEqual([MAX_HELD], [len(held) for held in self.relay.core._held.values()])
        self.second.destroy()
        self.assertEqual({}, self.relay.core._held)


class TurnTests(SynchronousTestCase):
    """What somebody else's owner does to a stream."""

    def test_ended_by_another(self) -> None:
        """A stream that is ended when it has had its say in this turn gets another: its owner learns of it."""
        net = Net()
        (one, one_there), (other, other_there) = net.couple(0), net.couple(1)
        other.react = lambda word: one.stream.fail(RelayLostError())
        one_there.write(b"first")
        other_there.write(b"second")
        net.run(1)
        self.assertEqual(["received", "closed"], one.told)
        self.assertIsInstance(one.problem, RelayLostError)
