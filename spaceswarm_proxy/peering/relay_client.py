"""
A peer at a blind relay: asks to be coupled with another, and learns where to.

:source: npm ``blind-relay`` 1.6; spec/connect.md, section 9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spaceswarm_proxy.errors import ClosedError, RelayAbortedError, SpaceswarmError
from spaceswarm_proxy.peering.blind_relay import PROTOCOL, Pair, RelayMessage, Unpair
from spaceswarm_proxy.peering.protomux import Channel, Mux

#: Seconds until the other peer must have come to the relay.
PAIRING_TIMEOUT = 15.0

#: Takes the number of the relay's stream to connect to, or why there is none, and the time.
Done = Callable[[int | SpaceswarmError, float], None]


class _Request(NamedTuple):
    initiator: bool
    done: Done
    deadline: float


class RelayClient:
    """What we want of one relay, over one connection with it."""

    def __init__(self, mux: Mux, public_key: bytes, now: float, timeout: float = PAIRING_TIMEOUT) -> None:
        """
        :param public_key: our own, in this connection.
        :param timeout: seconds that a pairing may take.
        :raises SpaceswarmError: the connection takes no further channel.
        """
        self._timeout = timeout
        #: By token; the oldest first, so that the first deadline is the first one's.
        self._requests: dict[bytes, _Request] = {}
        self._channel = mux.open(PROTOCOL, public_key, self, now)

    @property
    def is_closed(self) -> bool:
        """Is there nobody to ask any more?"""
        return self._channel.closed

    def pair(self, token: bytes, initiator: bool, stream_id: int, done: Done, now: float) -> None:
        """
        Take a place at the relay.

        :param token: 32 bytes, which the other peer gives too.
        :param initiator: which of the two places; the other peer takes the other one.
        :param stream_id: of our raw stream.
        :param done: told once; a :exc:`RelayAbortedError` says why it came to nothing.  Nothing after :meth:`unpair`.
        :raises ClosedError: the relay has left, or we have.
        :raises ValueError: it is being done already.
        """
        if self.is_closed:
            raise ClosedError("there is no channel to the relay any more")
        if token in self._requests:
            raise ValueError("this token is being paired already")
        self._requests[token] = _Request(initiator, done, now + self._timeout)
        self._channel.send(RelayMessage.PAIR, Pair(initiator, token, stream_id).encode())

    def unpair(self, token: bytes) -> None:
        """Give a place up, whether it is coupled or not."""
        self._requests.pop(token, None)
        self._channel.send(RelayMessage.UNPAIR, Unpair(token).encode())

    def close(self) -> None:
        """Give all up; nobody is told."""
        self._requests.clear()
        self._channel.close()

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        return next((request.deadline for request in self._requests.values()), None)

    def advance(self, now: float) -> None:
        """Give up what has taken too long."""
        while self._requests:
            token, request = next(iter(self._requests.items()))
            if request.deadline > now:
                break
            self.unpair(token)
            request.done(RelayAbortedError("the other peer has not come to the relay in time"), now)

    # What the channel tells.

    def opened(self, channel: Channel, handshake: bytes, now: float) -> None:
        """The relay is there; what was asked is on its way already."""

    def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
        """Somebody has come, or will not."""
        if type == RelayMessage.PAIR:
            pair = Pair.parse(body)
            request = self._requests.get(pair.token)
            if request is not None and request.initiator == pair.initiator:
                del self._requests[pair.token]
                request.done(pair.stream_id, now)
        elif type == RelayMessage.UNPAIR:
            request = self._requests.pop(Unpair.parse(body).token, None)
            if request is not None:
                request.done(RelayAbortedError("the relay refuses, or waits no longer"), now)

    def closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        """The relay has left."""
        requests, self._requests = self._requests, {}
        for request in requests.values():
            reason = "the relay has left" if problem is None else f"the relay is lost: {problem}"
            request.done(RelayAbortedError(reason), now)
