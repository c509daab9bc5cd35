"""The listening port of a network inside one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from zope.interface import implementer

from spaceswarm_proxy.errors import FirewallError, PeerUnreachableError, SpaceswarmError
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.network.sealed import Meeting, give_up

if TYPE_CHECKING:
    from spaceswarm_proxy.network.local import LocalNetwork

log = txaio.make_logger()

_ABSENT = "the peer does not listen"


@implementer(IListeningPort)
class LocalListener:
    """Takes the streams that are opened to one network, until it is stopped."""

    def __init__(self, network: LocalNetwork, factory: IProtocolFactory) -> None:
        self.network = network
        self.factory = factory
        #: Handshakes for the streams that are being opened to it.
        self.meetings: set[Meeting] = set()
        self.startListening()

    def startListening(self) -> None:
        """
        Begin, or begin again.

        :raises CannotListenError: something else listens on the network.
        """
        if self.network.listener is not None:
            raise CannotListenError("local", str(self.network.peer), "something listens already")
        self.network.listener = self
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Take no more streams; those that are open stay."""
        if self.network.listener is self:
            self.network.listener = None
            self.give_up()
            self.factory.doStop()
        return succeed(None)

    def give_up(self) -> None:
        """Those who are about to open streams find nobody."""
        give_up(self.meetings, PeerUnreachableError(_ABSENT))

    def getHost(self) -> PeerAddress:
        """Our own address."""
        return PeerAddress(self.network.peer, initiator=False)

    def build(self, address: PeerAddress) -> IProtocol:
        """
        A protocol for a stream that somebody opens.

        :raises PeerUnreachableError: nobody listens any more.
        :raises FirewallError: the factory did not want it.
        :raises SpaceswarmError: the factory said why not.
        """
        if self.network.listener is not self or self.network.quiet:
            raise PeerUnreachableError(_ABSENT)
        try:
            protocol = self.factory.buildProtocol(address)
        except SpaceswarmError:
            raise
        except Exception:
            log.failure("buildProtocol failed for {address}", address=address)
            protocol = None
        if protocol is None:
            raise FirewallError("the peer refused the connection")
        return protocol
