"""Being connected to on the real network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import ClosedError, SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, PeerAddress
from spaceswarm_proxy.network.dht_topics import FAREWELL
from spaceswarm_proxy.network.under_way import UnderWay
from spaceswarm_proxy.peering.port import Firewall, PeerPort
from spaceswarm_proxy.peering.room import RelayChoice

if TYPE_CHECKING:
    from spaceswarm_proxy.network.dht import DHTNetwork

log = txaio.make_logger()


@implementer(IListeningPort)
class DHTPort:
    """
    The listener of a network.

    While the network is suspended there is nothing of it on the node; what takes the place of that when it is resumed
    is another :class:`~spaceswarm_proxy.peering.port.PeerPort`.
    """

    def __init__(
        self,
        network: DHTNetwork,
        factory: IProtocolFactory,
        relay_through: RelayChoice = (),
        firewall: Firewall | None = None,
    ) -> None:
        """
        :param relay_through: as for :meth:`~spaceswarm_proxy.peering.node.DHTNode.listen`.
        :param firewall: likewise; asked after the network's own.
        :raises CannotListenError: something else listens on the network.
        :raises ClosedError: the network is closed.
        """
        self.factory = factory
        self._network = network
        self._relay_through = relay_through
        self._firewall = firewall
        self._result: Deferred[IListeningPort] = Deferred(self._cancelled)
        self._opening: Deferred[PeerPort] | None = None
        self._port: PeerPort | None = None
        #: Attempts to be found.
        self.openings = UnderWay()
        self.startListening()

    # IListeningPort.

    def startListening(self) -> None:
        """
        Begin, or begin again.

        :raises CannotListenError: something listens on the network already.
        :raises ClosedError: the network is closed.
        """
        self._network.check_open()
        if self._network.listener is not None:
            raise CannotListenError("DHT", str(self._network.peer), "something listens already")
        self._network.listener = self
        self.factory.doStart()
        self.resume()

    def stopListening(self) -> Deferred[None]:
        """Accept no more; streams that are open stay.  :returns: a Deferred that fires when nobody finds us."""
        self._stop(ClosedError("the listener was stopped"))
        return self.suspend()

    def getHost(self) -> PeerAddress:
        """Our own address."""
        return PeerAddress(self._network.peer, initiator=False)

    # For the network.

    def opened(self) -> Deferred[IListeningPort]:
        """:returns: a Deferred, always the same, of this, when clients can find us; cancelling it ends that."""
        return self._result

    @property
    def relay_addresses(self) -> Sequence[HostPort]:
        """Nodes through which clients find us."""
        return () if self._port is None else self._port.relay_addresses

    def suspend(self) -> Deferred[None]:
        """Accept nobody, until :meth:`resume`.  :returns: a Deferred that fires when nobody finds us."""
        opening, self._opening = self._opening, None
        port, self._port = self._port, None
        if opening is None and port is None:
            return self._network.leaving.none()
        leaving = Deferred.fromCoroutine(_leave(opening, port))
        leaving.addTimeout(FAREWELL, self._network.node.reactor).addErrback(_not_left)
        return self._network.leaving.add(leaving)

    def resume(self) -> Deferred[None]:
        """
        Undo :meth:`suspend`, unless the network is suspended too.

        :returns: a Deferred that fires when clients can find us, or it is known that they can't.
        """
        if self._network.quiet or self._network.listener is not self:
            return succeed(None)
        opening = self._opening = Deferred.fromCoroutine(self._open())
        done: Deferred[None] = Deferred()
        opening.addBoth(self._opened, opening, done)
        return self.openings.add(done)

    async def _open(self) -> PeerPort:
        # Whatever listened under this key is still taking its leave, and would take ours, too.
        await self._network.leaving.none()
        network = self._network
        return await network.node.listen(
            network.key_pair,
            _Guests(self),
            firewall=self._refuses,
            relay_through=self._relay_through,
            share_local_address=network.local,
            streams=network.streams,
        )

    def _refuses(self, address: PeerAddress) -> bool | Deferred[bool]:
        if address.public_key == self._network.public_key:
            return True
        firewalls = [each for each in (self._network.firewall, self._firewall) if each is not None]
        return Deferred.fromCoroutine(_is_refused(firewalls, address)) if firewalls else False

    def _opened(
        self, result: PeerPort | Failure, opening: Deferred[PeerPort], done: Deferred[None]
    ) -> PeerPort | Failure | None:
        wanted = self._opening is opening
        if wanted:
            self._opening = None
            if isinstance(result, Failure):
                self._failed(result)
            else:
                self._took(result)
        done.callback(None)
        # Whoever has suspended us meanwhile waits for it.
        return None if wanted else result

    def _took(self, port: PeerPort) -> None:
        self._port = port
        port.relays_changed = self._network.relays_changed
        self._network.relays_changed()
        self._answer(self)

    def _failed(self, failure: Failure) -> None:
        problem = failure.value
        if not isinstance(problem, SpaceswarmError):
            log.failure("listening failed", failure=failure)
        if not isinstance(problem, ClosedError):
            problem = CannotListenError("DHT", str(self._network.peer), problem)
        if self._result.called:
            log.warn("nobody can connect to us any more: {problem}", problem=problem)
        self._stop(problem)

    def _stop(self, problem: Exception) -> None:
        if self._network.listener is self:
            self._network.listener = None
            self.factory.doStop()
            self._network.relays_changed()
        self._answer(Failure(problem))

    def _answer(self, result: IListeningPort | Failure) -> None:
        if not self._result.called:
            self._result.callback(result)

    def _cancelled(self, result: Deferred[IListeningPort]) -> None:
        result.errback(CancelledError())
        self.stopListening()

    # Clients.

    def build(self, address: IAddress) -> IProtocol | None:
        """
        :returns: the user's protocol for a client, or ``None`` to refuse it.
        :raises SpaceswarmError: the user's reason to refuse it; there is no way to tell the client.
        """
        if self._port is None and self._opening is None:
            return None
        try:
            return self.factory.buildProtocol(address)
        except SpaceswarmError:
            raise
        except Exception:
            log.failure("buildProtocol failed for {address}", address=address)
            return None


@implementer(IProtocolFactory)
class _Guests:
    """The factory that the node is given; the user's is started and stopped with our port."""

    def __init__(self, port: DHTPort) -> None:
        self.buildProtocol = port.build

    def doStart(self) -> None:
        """The node's listener begins."""

    def doStop(self) -> None:
        """It has ended."""


async def _is_refused(firewalls: Iterable[Firewall], address: PeerAddress) -> bool:
    """Ask one after the other, until one refuses."""
    for firewall in firewalls:
        if await maybeDeferred(firewall, address):
            return True
    return False


async def _leave(opening: Deferred[PeerPort] | None, port: PeerPort | None) -> None:
    """Stop listening; what is being opened, too: before it is open, it can't be waited for that it is closed."""
    if opening is not None:
        port = await opening
    if port is not None:
        await port.stopListening()


def _not_left(failure: Failure) -> None:
    """Nobody tells of us for long: records that are not renewed are forgotten."""
    failure.trap(SpaceswarmError, TimeoutError, CancelledError)
    log.debug("the network could not be told that nothing listens any more: {problem}", problem=failure.value)
