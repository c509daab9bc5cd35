"""
The sealed streams of one link's client: between the stream of a link and the user's protocol is the encryption.

Where the secret key is not in this process either, the stream is handed on as it is, to whoever reaches its keeper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.errors import (
    ConnectError,
    HandshakeError,
    LimitError,
    LinkError,
    PeerUnreachableError,
    ProtocolError,
    SpaceswarmError,
    StreamError,
)
from spaceswarm_proxy.interfaces import IKeptHandshake, Peer, PeerAddress, SealedAddress
from spaceswarm_proxy.proxy.stream import ProxyStream
from spaceswarm_proxy.secret.connection import Build, SecretConnection, Settings
from spaceswarm_proxy.secret.labels import Labels, check_label
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.secret.transport import SecretTransport

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client_link import ClientLink
    from spaceswarm_proxy.proxy.listening import ProxyPort
    from spaceswarm_proxy.proxy.mux import MuxStream
    from spaceswarm_proxy.proxy.pending import Pending
    from spaceswarm_proxy.proxy.sealer import Sealer

log = txaio.make_logger()

#: Seconds without a write after which the peer is told that we are still there, and in which it has to be heard first.
KEEP_ALIVE = 5.0
OPENING_TIMEOUT = 20.0


class SealedStreams:
    """Those of one link, from the ON_STREAM_OPEN on."""

    def __init__(self, link: ClientLink, sealer: Sealer, labels: Labels) -> None:
        """
        :param sealer: has their keys.
        :param labels: what they may be bound to.
        """
        self.sealer = sealer
        self.labels = labels
        self._link = link
        #: Streams that we open, until the peer is heard, by whom it is told.
        self._opening: dict[Deferred[IProtocol], Deferred[IProtocol]] = {}

    def __len__(self) -> int:
        """How many of ours wait until the peer is heard."""
        return len(self._opening)

    # Streams that we open.

    def outgoing(self, pending: Pending, stream: MuxStream, number: int | None) -> None:
        """
        The stream is there that a CONNECT has asked for.

        :param number: of the handshake, as the server says.
        """
        try:
            handshake = self.sealer.take(number, pending.peer.public_key, True)
        except HandshakeError as problem:
            self._link.reset(stream, problem)
            pending.fail(as_connect_error(problem))
            return
        keys: SessionKeys | DistantKeys | None = handshake.keys
        if not isinstance(keys, SessionKeys):
            self._hand_on(pending, stream, handshake)
            return
        address = PeerAddress(pending.peer, True, True)

        def heard(transport: SecretTransport) -> IProtocol | None:
            check_label(pending.labels[0], transport.label)
            protocol: IProtocol | None = pending.factory.buildProtocol(address)
            return protocol

        opening = self._secure(stream, keys, address, pending.labels, heard)
        self._opening[pending.done] = opening
        opening.addBoth(self._opened, pending)

    def _hand_on(self, pending: Pending, stream: MuxStream, handshake: IKeptHandshake) -> None:
        if not self._link.hand_out(pending, stream, SealedAddress(pending.peer, True, True, handshake.keys)):
            handshake.close()

    def _opened(self, result: IProtocol | Failure, pending: Pending) -> None:
        """The peer has been heard, or won't be on this stream: there may be another label to try."""
        del self._opening[pending.done]
        if not isinstance(result, Failure):
            self.labels.understood(pending.labels[0])
            pending.done.callback(result)
            return
        left = self.labels.left(pending.labels, result.value)
        if left:
            self._link.send_connect(pending._replace(labels=left))
        else:
            pending.fail(as_connect_error(result.value))

    def cancelled(self, done: Deferred[IProtocol]) -> None:
        """Nobody wants the connection any more."""
        opening = self._opening.get(done)
        if opening is not None:
            opening.cancel()

    # Streams that peers open.

    def incoming(self, port: ProxyPort, peer: Peer, stream: MuxStream, number: int | None) -> None:
        """
        A peer has opened a stream.

        :param number: as for :meth:`outgoing`.
        """
        try:
            handshake = self.sealer.take(number, peer.public_key, False)
        except HandshakeError as problem:
            self._link.reset(stream, problem)
            return
        keys: SessionKeys | DistantKeys | None = handshake.keys
        if not isinstance(keys, SessionKeys):
            if not self._link.take_in(port, stream, SealedAddress(peer, False, True, handshake.keys)):
                handshake.close()
            return
        address = PeerAddress(peer, False, True)

        def heard(transport: SecretTransport) -> IProtocol | None:
            protocol: IProtocol | None = port.factory.buildProtocol(address)
            return protocol

        self._secure(stream, keys, address, self.labels.all, heard).addErrback(_not_heard)

    # Either.

    def _secure(
        self, stream: MuxStream, keys: SessionKeys, address: PeerAddress, labels: tuple[str, ...], heard: Build
    ) -> Deferred[IProtocol]:
        """
        Put the encryption on a stream.

        :param address: of the peer.
        :param labels: what it may be bound to; if it is we who speak first, the first one.
        :param heard: makes the user's protocol, when the peer has been heard.
        :returns: a Deferred of that, connected.
        """
        link = self._link
        host = link.network.address
        settings = Settings(labels=labels, keep_alive=KEEP_ALIVE, opening_timeout=OPENING_TIMEOUT)
        session = Session(address.initiator, link.network.key_pair.public_key, keys, labels, settings.max_message)
        secret = SecretConnection(session, settings, link.clock, heard, addresses=(host, address))
        ProxyStream(link, stream, host, address).attach(secret)
        return secret.opened


def as_connect_error(problem: BaseException) -> BaseException:
    """
    :param problem: why a stream did not open.
    :returns: as what ``connect`` tells of it: a refusal by the peer as such, no error of a stream.
    """
    cause = problem.__cause__
    if isinstance(cause, (ConnectError, LimitError, LinkError)):
        return cause
    if isinstance(cause, StreamError):
        problem = cause
    if not isinstance(problem, (ProtocolError, StreamError)):
        return problem
    told = PeerUnreachableError(str(problem))
    told.__cause__ = problem
    return told


def _not_heard(failure: Failure) -> None:
    """A peer that was never heard, or that is refused: its own business."""
    if failure.check(SpaceswarmError) is None:
        log.failure("a stream could not be taken", failure=failure)
