"""From a stream that is connected, and the keys for it, to what the user's protocol talks to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.crypto.secret_stream import MAX_MESSAGE
from spaceswarm_proxy.dht.contact import host_port
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.secret.connection import Build as SecretBuild, SecretConnection, Settings
from spaceswarm_proxy.secret.labels import Labels
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.udx.transport import UDXTransport

log = txaio.make_logger()

#: Seconds between the signs of life of a server that does not speak first, until it is spoken to.
_WAITING = 1.0


class UsersTransport(Protocol):
    """What a user's protocol is connected to."""

    #: Called with this when the protocol has been told that it is over.
    lost: Callable[[Any], None] | None

    def getPeer(self) -> Any:
        """The remote's address."""


class Streams(Protocol):
    """Who wants to know which streams are open."""

    def opened(self, transport: Any) -> None:
        """A protocol is about to be connected to this one, a ``SecretTransport`` or ``SealedTransport``."""

    def lost(self, transport: Any) -> None:
        """Its protocol has been told that the connection is lost."""


#: Makes the user's protocol for a stream; with ``None`` that is refused.
Build = Callable[[UsersTransport], IProtocol | None]


def builder(factory: IProtocolFactory, streams: Streams | None) -> Build:
    """:returns: what makes the protocols of a user's factory, and tells of their transports."""

    def build(transport: UsersTransport) -> IProtocol | None:
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is not None and streams is not None:
            transport.lost = streams.lost
            streams.opened(transport)
        return protocol

    return build


class Securing:
    """Puts the encrypted stream on the raw one."""

    def __init__(
        self, reactor: Any, peering: PeeringRunner, labels: Sequence[str], max_message: int = MAX_MESSAGE
    ) -> None:
        """
        :param labels: what the network's streams may be bound to, the likeliest first.
        :param max_message: bytes of the longest message taken.
        """
        self._reactor = reactor
        self._peering = peering
        self._settings = Settings(max_message=max_message)
        #: What the network's streams may be bound to.
        self.labels = Labels(labels)

    def secure(
        self,
        connection: Connection,
        public_key: bytes,
        build: SecretBuild,
        keep_alive: float,
        timeout: float,
        *,
        labels: Sequence[str] | None = None,
    ) -> SecretConnection:
        """
        :param connection: its keys are ours.
        :param public_key: ours.
        :param build: makes the user's protocol, when the remote has been heard.
        :param keep_alive, timeout: seconds, see :class:`~spaceswarm_proxy.secret.connection.Settings`.
        :param labels: only these, instead of all; as a client we speak first, with the first one.
        """
        labels = labels or self.labels.all
        settings = replace(self._settings, labels=labels, keep_alive=keep_alive, opening_timeout=timeout)
        keys = connection.keys
        assert isinstance(keys, SessionKeys)
        session = Session(connection.initiator, public_key, keys, labels, settings.max_message)
        secret = SecretConnection(session, settings, self._reactor, build)
        # Whoever makes raw streams for this room's core makes those of udx.
        stream: Any = connection.raw
        here = self._peering.address_of_socket(connection.socket)
        there = IPv4Address("UDP", *host_port(connection.address))
        UDXTransport(self._peering.streams, stream, here, there).attach(secret)
        if not session.is_ready:
            self._show_the_way(stream, secret)
        if connection.relayed:
            secret.opened.addCallback(_show_the_gap, secret)
        return secret

    def serve(
        self,
        public_key: bytes,
        build: SecretBuild,
        keep_alive: float,
        timeout: float,
        connection: Connection,
        heard: Callable[[bool], None],
    ) -> None:
        """
        The same for a client.

        :param heard: told whether it was heard.
        """

        def not_opened(failure: Failure) -> None:
            log.debug("a client was not heard: {problem}", problem=failure.value)
            heard(False)

        secret = self.secure(connection, public_key, build, keep_alive, timeout)
        secret.opened.addCallbacks(lambda protocol: heard(True), not_opened)

    def _show_the_way(self, stream: Any, secret: SecretConnection) -> None:
        """A client that waits for us to send first learns from this where we are."""
        stream.set_keep_alive(_WAITING, self._peering.now())
        stream.send_message(b"")

        def opened(result: Any) -> Any:
            stream.set_keep_alive(0, self._peering.now())
            return result

        secret.opened.addBoth(opened)


def _show_the_gap(protocol: IProtocol, secret: SecretConnection) -> IProtocol:
    """
    A relay passes on what comes when it knows where the remote is, and may lose what came before: our first packet.

    By one that follows the remote sees that, and we do; otherwise it would take a second.
    """
    secret.send_keep_alive()
    return protocol
