"""
What is remembered of peers, so that the next connection to them needs no search.

:source: spec/connect.md, sections 6.2 and 6.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView
from typing import Generic, NamedTuple, TypeVar

#: Peers whose way is remembered, and peers whose relays are.
MAX_ROUTES = 512
MAX_RELAY_CACHE = 512

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """A mapping from bytes that keeps what was used last."""

    def __init__(self, limit: int) -> None:
        """:param limit: entries; the one that was not used for longest goes when there is one more."""
        self.limit = limit
        self._entries: OrderedDict[bytes, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> ItemsView[bytes, Value]:
        """:returns: all of them; they do not count as used by that."""
        return self._entries.items()

    def get(self, key: bytes) -> Value | None:
        """:returns: the entry; it was used now."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: bytes, value: Value) -> None:
        """Keep an entry, in place of the one before."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.limit:
            self._entries.popitem(last=False)

    def pop(self, key: bytes) -> Value | None:
        """:returns: the entry, if it is there; it is forgotten."""
        return self._entries.pop(key, None)


class Route(NamedTuple):
    """The way that a stream to a peer has taken."""

    socket: int
    #: Six bytes.
    address: bytes


class Routes:
    """The ways to peers, by their public keys; only where both sides said that their sockets may be used again."""

    def __init__(self, limit: int = MAX_ROUTES) -> None:
        self._routes: Latest[Route] = Latest(limit)

    def __len__(self) -> int:
        return len(self._routes)

    def get(self, public_key: bytes) -> Route | None:
        """:returns: the way to a peer, if it is known."""
        return self._routes.get(public_key)

    def add(self, public_key: bytes, socket: int, address: bytes) -> None:
        """A stream to a peer goes this way."""
        self._routes.put(public_key, Route(socket, address))

    def pop(self, public_key: bytes) -> Route | None:
        """:returns: the way to a peer, if it is known; it is forgotten."""
        return self._routes.pop(public_key)

    def socket_closed(self, socket: int) -> None:
        """No way goes over this socket any more."""
        for public_key in [key for key, route in self._routes.items() if route.socket == socket]:
            self._routes.pop(public_key)
