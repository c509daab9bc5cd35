"""
The seam to blind relays: two peers that cannot reach each other meet at a third one, which couples their streams.

:source: spec/connect.md, section 9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.raw import RawStream

#: Told where the relay has the other end of a stream: our socket, the id of the relay's stream, its address, the time.
Met = Callable[[int, int, bytes, float], None]


class Appointment(Protocol):
    """One stream's appointment at a relay; when the stream ends, the relay is left by itself."""

    #: To be set at once: told that the stream has ended, after ``met``.
    ended: Callable[[float], None]

    def is_relay(self, socket: int, address: bytes) -> bool:
        """:returns: whether packets that come this way come from the relay."""

    def upgraded(self, now: float) -> None:
        """The stream goes directly to the peer now: the relay is left as soon as something has come that way."""

    def cancel(self, now: float) -> None:
        """Leave the relay before the other one is there."""


class Relaying(Protocol):
    """Makes such appointments."""

    def meet(
        self,
        place: RelayThrough,
        is_initiator: bool,
        raw: RawStream,
        met: Met,
        failed: Callable[[SpaceswarmError, float], None],
        now: float,
    ) -> Appointment:
        """
        :param place: the relay, and the token that both peers show there.
        :param is_initiator: which of the two we are; one side each.
        :param raw: our end of the stream, not connected yet.
        :param met: called once when the other one is there, too; not before this returns.
        :param failed: called once if that does not come about; not before this returns, nor after ``met``.
        """
