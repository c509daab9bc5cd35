"""
A client's half of the handshake: one first message for all nodes that pass it on, and the answer to it.

That the message is the same is how the server tells that all of them are one attempt.

:source: npm ``hyperdht`` 6; spec/connect.md, sections 4, 5.2 and 6.2.
"""

from __future__ import annotations

from typing import NamedTuple

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.dht.message import Response
from spaceswarm_proxy.errors import (
    BadHandshakeReplyError,
    HandshakeError,
    HandshakeInvalidError,
    MessageError,
    ServerFailedError,
    ServerIncompatibleError,
)
from spaceswarm_proxy.peering.noise_payload import VERSION, HandshakeCode, NoisePayload


class Answer(NamedTuple):
    """What a server has answered, and what the way there tells."""

    keys: SessionKeys
    #: Of our version, without an error, and with the number of a stream.
    payload: NoisePayload
    #: The node that was asked, which may be the server itself.
    relay_address: bytes
    #: The server, as that node sees it.
    server_address: bytes
    #: We, as that node sees us.
    client_address: bytes
    #: Has the node passed it on, and not answered by itself?
    is_relayed: bool
    #: The socket that was asked from, where it was not the usual one.
    socket: int | None = None


class ClientHandshake:
    """One attempt to agree on keys with a server."""

    def __init__(
        self, profile: Profile, key_pair: KeyPair, public_key: bytes, ephemeral: KeyPair | None = None
    ) -> None:
        """
        :param key_pair: who we are.
        :param public_key: who the server is, 32 bytes.
        :param ephemeral: by default a fresh one, as it must be but for tests.
        """
        self._noise = Handshake(
            "IK",
            True,
            key_pair,
            remote_public_key=public_key,
            prologue=profile.peer_handshake,
            ephemeral=ephemeral,
        )

    def write(self, payload: NoisePayload) -> bytes:
        """
        :returns: the value of PEER_HANDSHAKE.
        :raises HandshakeInvalidError: the server's key is not one.
        """
        try:
            noise = self._noise.write(payload.encode())
        except HandshakeError as problem:
            raise HandshakeInvalidError(str(problem)) from problem
        return PeerHandshake(Mode.FROM_CLIENT, noise).encode()

    def read(self, relay_address: bytes, response: Response, socket: int | None = None) -> Answer:
        """
        :param relay_address: whom the response comes from.
        :raises BadHandshakeReplyError: it is none of the server's; that of another node may be.
        :raises PeeringError: the server says that there will be no connection.
        """
        try:
            value = PeerHandshake.parse(response.value)
            if value.mode != Mode.REPLY:
                raise MessageError("bad-mode", str(value.mode))
            plaintext = self._noise.read(value.noise)
        except (MessageError, HandshakeError) as problem:
            raise BadHandshakeReplyError(str(problem)) from problem
        payload = _read_payload(plaintext)
        keys = self._noise.keys
        assert keys is not None
        is_relayed = value.peer_address is not None
        server_address = value.peer_address or relay_address
        return Answer(keys, payload, relay_address, server_address, response.to, is_relayed, socket)


def _read_payload(plaintext: bytes) -> NoisePayload:
    """:raises PeeringError: it does not lead to a connection."""
    try:
        payload = NoisePayload.parse(plaintext)
    except MessageError as problem:
        raise HandshakeInvalidError(str(problem)) from problem
    if payload.version != VERSION:
        raise ServerIncompatibleError(f"version {payload.version}")
    if payload.error != HandshakeCode.NONE:
        raise ServerFailedError(f"error {payload.error}")
    if payload.udx is None:
        raise ServerFailedError("the server did not say which stream to connect to")
    return payload
