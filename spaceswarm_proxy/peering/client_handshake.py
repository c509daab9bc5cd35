"""
A client's half of the handshake: one first message for all nodes that pass it on, and the answer to it.

That the message is the same is how the server tells that all of them are one attempt.

:source: npm ``hyperdht`` 6; spec/connect.md, sections 4, 5.2 and 6.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from spaceswarm_proxy.crypto.keeper import KeptHandshake, Told
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.dht.message import Response
from spaceswarm_proxy.errors import (
    BadHandshakeReplyError,
    HandshakeError,
    HandshakeInvalidError,
    MessageError,
    PeeringError,
    ServerFailedError,
    ServerIncompatibleError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.connection import Keys
from spaceswarm_proxy.peering.noise_payload import VERSION, HandshakeCode, NoisePayload


class Answer(NamedTuple):
    """What a server has answered, and what the way there tells."""

    keys: Keys
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


#: Told of an answer, or what is wrong with it, and the time.
Read = Callable[[Answer | SpaceswarmError, float], None]


class _Origin(NamedTuple):
    """Where an answer comes from: see :class:`Answer`."""

    relay_address: bytes
    server_address: bytes
    client_address: bytes
    is_relayed: bool
    socket: int | None


class ClientHandshake:
    """
    One attempt to agree on keys with a server.

    Answers may come from several nodes; the first that can be read is the one.
    """

    def __init__(self, kept: KeptHandshake, public_key: bytes) -> None:
        """
        :param kept: a handshake with the server, to be begun.
        :param public_key: the server's.
        """
        self._kept = kept
        self._public_key = public_key
        self._closed = False

    def close(self) -> None:
        """Nothing comes of it, and nobody is told anything any more; not called where the keys are used."""
        if not self._closed:
            self._closed = True
            self._kept.close()

    def write(self, payload: NoisePayload, done: Told, now: float) -> None:
        """
        :param done: told, at once or later, of the value of PEER_HANDSHAKE; of a ``HandshakeInvalidError`` if the
            server's key is none, or why else there is none.
        """

        def written(noise: bytes | SpaceswarmError, now: float) -> None:
            if self._closed:
                return
            if isinstance(noise, bytes):
                done(PeerHandshake(Mode.FROM_CLIENT, noise).encode(), now)
            elif isinstance(noise, HandshakeError):
                done(_because(HandshakeInvalidError, noise), now)
            else:
                done(noise, now)

        self._kept.write(payload.encode(), written, now)

    def read(self, relay_address: bytes, response: Response, done: Read, now: float, socket: int | None = None) -> None:
        """
        :param relay_address: whom the response comes from.
        :param done: told, at once or later, of the answer; of a ``BadHandshakeReplyError`` if it is none of the
            server's, when that of another node may be; of any other problem if there will be no connection.
        :param socket: which the node was asked from, if not the usual one.
        """
        try:
            value = PeerHandshake.parse(response.value)
            if value.mode != Mode.REPLY:
                raise MessageError("bad-mode", str(value.mode))
        except MessageError as problem:
            done(_because(BadHandshakeReplyError, problem), now)
            return
        server_address = value.peer_address or relay_address
        origin = _Origin(relay_address, server_address, response.to, value.peer_address is not None, socket)
        self._kept.read(value.noise, partial(self._read, origin, done), now)

    def _read(self, origin: _Origin, done: Read, plaintext: bytes | SpaceswarmError, now: float) -> None:
        if self._closed:
            return
        keys = self._kept.keys
        if isinstance(plaintext, HandshakeError):
            done(_because(BadHandshakeReplyError, plaintext), now)
        elif isinstance(plaintext, SpaceswarmError):
            done(plaintext, now)
        elif keys is None or keys.remote_public_key != self._public_key:
            done(BadHandshakeReplyError("it has led to no keys"), now)
        else:
            done(_answer(keys, plaintext, origin), now)


def _because(kind: type[PeeringError], problem: SpaceswarmError) -> PeeringError:
    reason = kind(str(problem))
    reason.__cause__ = problem
    return reason


def _answer(keys: Keys, plaintext: bytes, origin: _Origin) -> Answer | SpaceswarmError:
    try:
        return Answer(keys, _read_payload(plaintext), *origin)
    except PeeringError as problem:
        return problem


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
