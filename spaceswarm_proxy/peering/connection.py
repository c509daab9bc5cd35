"""What both sides come to in the end: a stream that is connected, and the keys for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.peering.noise_payload import NoisePayload
from spaceswarm_proxy.peering.raw import RawStream

#: What a handshake has come to, with the keys or without them.
Keys = SessionKeys | DistantKeys


def _nobody_keeps() -> None:
    """The keys are ours."""


class Connection(NamedTuple):
    """A stream to a peer that has proved who it is; that it hears us is not proved yet."""

    raw: RawStream
    keys: Keys
    #: Have we connected to it, and not it to us?
    initiator: bool
    #: Which of our sockets it goes over, and where to: six bytes.
    socket: int
    address: bytes
    #: What the peer has said of itself.
    payload: NoisePayload
    #: Does it go through a blind relay?  It may still become a direct one.
    relayed: bool = False
    #: Tells whoever keeps the keys, before anything was done with them, that nothing will be.
    abandon: Callable[[], None] = _nobody_keeps

    @property
    def remote_public_key(self) -> bytes:
        """Who the peer is: 32 bytes."""
        return self.keys.remote_public_key
