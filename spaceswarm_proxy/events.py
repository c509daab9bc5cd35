"""Named events that anyone may subscribe to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txaio

log = txaio.make_logger()

Listener = Callable[..., Any]


class Events:
    """
    A fixed set of event names, and who listens to each.

    A listener that raises is logged; the others are called all the same, and so is the rest of the emitter.
    """

    __slots__ = ("_listeners",)

    def __init__(self, *names: str) -> None:
        # Each in a tuple of its own, which tells two registrations of the same listener apart.
        self._listeners: dict[str, tuple[tuple[Listener], ...]] = dict.fromkeys(names, ())

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """
        Call ``listener`` with the event's arguments from now on.

        :returns: a function without arguments that ends it; calling it twice is harmless.
        :raises KeyError: there is no such event.
        """
        entry = (listener,)
        self._listeners[name] += (entry,)

        def off() -> None:
            self._listeners[name] = tuple(other for other in self._listeners[name] if other is not entry)

        return off

    def emit(self, name: str, *args: object) -> None:
        """Call the event's listeners, in the order in which they came."""
        for (listener,) in self._listeners[name]:
            try:
                listener(*args)
            except Exception:
                log.failure("a listener of the event {name} failed", name=name)
