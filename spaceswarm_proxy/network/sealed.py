"""
Streams between two networks on one hub of which one is *sealed*, or both: their secret keys are kept elsewhere.

A sealed side can do nothing with plain text.  So the two shake hands (Noise IK, with empty payloads) before there is a
stream, each through whoever keeps its key, and what goes over the stream is encrypted::

    who connects                     who listens
    write           --- 96 bytes -->        read: it must be the key of who connects
    read           <--- 48 bytes ---       write
                    ===== pipe =====

At a sealed side's end of the pipe is its factory's protocol, with a
:class:`~spaceswarm_proxy.interfaces.SealedAddress`.  At the end of a side whose key is here there is a
:class:`~spaceswarm_proxy.secret.connection.SecretConnection`, and behind it, when the other one was heard, the protocol
of its factory.

*Refusals.*  A sealed listener is asked for its protocol when the handshake is complete, since it is then that there are
keys; why it refuses is told to who connects, as on plain streams.  Any other listener is asked when who connects was
heard, and not before: the first message of a handshake may be an old one, sent again by somebody else.  By then a
sealed side has its stream: all that it learns of a refusal is that the stream ends.

:source: spec/connect.md, sections 3 and 8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import txaio
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.errors import (
    ConnectTimeoutError,
    HandshakeError,
    HandshakeInvalidError,
    PeerUnreachableError,
    SpaceswarmError,
)
from spaceswarm_proxy.interfaces import IKeptHandshake, Peer, PeerAddress, SealedAddress
from spaceswarm_proxy.keepers import keeper_of
from spaceswarm_proxy.network.local_streams import End, open_stream
from spaceswarm_proxy.secret.connection import Build, SecretConnection, Settings
from spaceswarm_proxy.secret.opening import MAX_HANDSHAKE_MESSAGE
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.secret.transport import SecretTransport

if TYPE_CHECKING:
    from spaceswarm_proxy.network.listener import LocalListener
    from spaceswarm_proxy.network.local import LocalHub, LocalNetwork

log = txaio.make_logger()

#: Seconds until whoever connects gives up, and a listener one that it has not heard.
TIMEOUT = 20.0


class Side:
    """One of the two who shake hands."""

    def __init__(self, hub: LocalHub, network: LocalNetwork, other: Peer, initiator: bool) -> None:
        """
        :param other: whom it must turn out to be.
        :param initiator: is it we who speak first?
        """
        self.network = network
        self._hub = hub
        self._other = other
        self._initiator = initiator
        self._handshake: IKeptHandshake | None = None
        self._keys: SessionKeys | DistantKeys | None = None
        self._in_use = False

    # Its handshake.

    async def write(self) -> bytes:
        """
        :returns: its message.
        :raises ConnectError: there is none, or one that is too long to be passed on.
        """
        message = await self._ask(lambda handshake: handshake.write(b""))
        if len(message) > MAX_HANDSHAKE_MESSAGE:
            raise HandshakeInvalidError("the message is too long")
        return message

    async def read(self, message: bytes) -> None:
        """
        Read the other side's message.

        :raises ConnectError: it is none, or somebody else's.
        """
        await self._ask(lambda handshake: handshake.read(message))
        assert self._handshake is not None  # it was asked
        self._check(self._handshake.remote_public_key)

    def agreed(self) -> SessionKeys | DistantKeys:
        """
        :returns: what both messages have come to.
        :raises HandshakeInvalidError: to nothing, or it is with somebody else.
        """
        keys: SessionKeys | DistantKeys | None = None if self._handshake is None else self._handshake.keys
        if keys is None:
            raise HandshakeInvalidError("there are no keys")
        self._check(keys.remote_public_key)
        self._keys = keys
        return keys

    def let_go(self) -> None:
        """Nothing comes of it, unless its keys are in use."""
        if self._handshake is not None and not self._in_use:
            self._handshake.close()

    def _check(self, remote_public_key: bytes | None) -> None:
        if remote_public_key != self._other.public_key:
            raise HandshakeInvalidError("the handshake is somebody else's")

    async def _ask(self, question: Callable[[IKeptHandshake], Awaitable[bytes]]) -> bytes:
        try:
            return await question(self._begun())
        except CancelledError:
            raise
        except HandshakeError as problem:
            raise HandshakeInvalidError(str(problem)) from problem
        except Exception as problem:
            if not isinstance(problem, SpaceswarmError):
                log.failure("the keeper of a key failed")
            whose = "our own" if self._initiator else "the peer's"
            raise PeerUnreachableError(f"{whose} key is out of reach: {problem}") from problem

    def _begun(self) -> IKeptHandshake:
        if self._handshake is None:
            keeper = keeper_of(self.network.key_pair)
            speaks_to = self._other.public_key if self._initiator else None
            self._handshake = keeper.handshake(self._hub.profile, speaks_to)
        return self._handshake

    # Its end of the pipe.

    @cached_property
    def end(self) -> End:
        """It; to be looked at when :meth:`agreed` has told the keys."""
        if self.network.is_sealed:
            keys = cast(DistantKeys, self._keys)
            return End(self.network, SealedAddress(self._other, self._initiator, True, keys))
        return End(self.network, PeerAddress(self._other, self._initiator, True))

    def use(self) -> None:
        """Somebody has the keys."""
        self._in_use = True

    def secure(self, build: Build, timeout: float) -> SecretConnection:
        """
        :param build: makes the user's protocol, when the other side was heard.
        :param timeout: seconds until then, or 0.
        :returns: what encrypts.
        """
        self.use()
        labels = self._hub.profile.stream_labels
        session = Session(self._initiator, self.network.public_key, cast(SessionKeys, self._keys), labels)
        settings = Settings(labels, opening_timeout=timeout)
        return SecretConnection(session, settings, self._hub.reactor, self._counting(build))

    def _counting(self, build: Build) -> Build:
        streams = self.network.streams

        def counted(transport: SecretTransport) -> IProtocol | None:
            protocol = build(transport)
            if protocol is not None:
                transport.lost = streams.lost
                streams.opened(transport)
            return protocol

        return counted


class Meeting:
    """From the first message to the connected protocol of who connects."""

    def __init__(
        self, hub: LocalHub, network: LocalNetwork, listener: LocalListener, peer: Peer, factory: IProtocolFactory
    ) -> None:
        """
        :param network: who connects.
        :param listener: the peer's.
        """
        self._hub = hub
        self._listener = listener
        self._factory = factory
        self._near = Side(hub, network, peer, initiator=True)
        self._far = Side(hub, listener.network, network.peer, initiator=False)
        self._known_to = (network.meetings, listener.meetings)
        self._timer: IDelayedCall | None = None
        self._running: Deferred[IProtocol] | None = None
        self._problem: SpaceswarmError | None = None

    def begin(self) -> Deferred[IProtocol]:
        """
        :returns: a Deferred of the factory's protocol, connected.  It fails with a
            :class:`~spaceswarm_proxy.errors.ConnectError`, or with what a sealed listener has raised.
        """
        for meetings in self._known_to:
            meetings.add(self)
        self._timer = self._hub.reactor.callLater(TIMEOUT, self.give_up, ConnectTimeoutError())
        self._running = Deferred.fromCoroutine(self._meet())
        return self._running.addBoth(self._over)

    def give_up(self, problem: SpaceswarmError) -> None:
        """:param problem: why, for who connects."""
        self._problem = problem
        if self._running is not None:
            self._running.cancel()

    def _over(self, result: IProtocol | Failure) -> Any:
        for meetings in self._known_to:
            meetings.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return result

    async def _meet(self) -> IProtocol:
        try:
            await self._shake_hands()
            return await self._open()
        except Exception:
            self._check()
            raise
        finally:
            self._near.let_go()
            self._far.let_go()

    def _check(self) -> None:
        """:raises SpaceswarmError: why this was given up, if it was."""
        if self._problem is not None:
            raise self._problem from None

    async def _shake_hands(self) -> None:
        near, far = self._near, self._far
        await far.read(await near.write())
        await near.read(await far.write())
        if near.agreed().hash != far.agreed().hash:
            raise HandshakeInvalidError("the two sides do not agree")
        self._check()

    async def _open(self) -> IProtocol:
        protocol = open_stream(self._hub, self._near.end, self._far.end, self._far_protocol(), self._near_protocol)
        if self._near.network.is_sealed:
            return protocol
        return await cast(SecretConnection, protocol).opened

    def _far_protocol(self) -> IProtocol:
        if self._far.network.is_sealed:
            protocol = self._listener.build(self._far.end.sees)
            self._far.use()
            return protocol
        secret = self._far.secure(lambda transport: self._listener.build(transport.getPeer()), TIMEOUT)
        secret.opened.addErrback(_not_heard)
        return secret

    def _near_protocol(self, address: PeerAddress) -> IProtocol | None:
        self._check()
        if self._near.network.is_sealed:
            protocol: IProtocol | None = self._factory.buildProtocol(address)
            if protocol is not None:
                self._near.use()
            return protocol
        return self._near.secure(lambda transport: self._factory.buildProtocol(transport.getPeer()), 0)


def give_up(meetings: set[Meeting], problem: SpaceswarmError) -> None:
    """
    Give all of them up.

    :param problem: why, for those who connect.
    """
    for meeting in list(meetings):
        meeting.give_up(problem)


def _not_heard(failure: Failure) -> None:
    """Who connected was never heard, or was refused: its own business."""
    log.debug("no stream came about: {problem}", problem=failure.value)
