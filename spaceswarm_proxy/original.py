"""
The names of the JavaScript package, for who comes from there: thin, over :class:`ProxyServer`, :class:`ProxyNetwork`
and :class:`Swarm`.  ``docs/from-javascript.md`` has the whole table.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import INetwork, IPeerReceiver, Peer
from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.incoming import Handler
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.swarm import Swarm
from spaceswarm_proxy.topics import check_topic


class SpaceswarmProxyServer(ProxyServer):
    """``new SpaceswarmProxyServer({ network, bootstrap, ephemeral, handleIncoming })``."""

    def __init__(
        self,
        network: INetwork | None = None,
        bootstrap: Any = None,
        ephemeral: bool | None = None,
        handle_incoming: Handler | None = None,
        profile: str | None = None,
        **options: Any,
    ) -> None:
        """
        :param network: by default, a node of the real network, which the server owns, and a hub for its clients.
        :param bootstrap: where that node begins; by default where the profile's nodes do.
        :param ephemeral: see :class:`~spaceswarm_proxy.peering.node.DHTNode`.
        :param handle_incoming: see :class:`ProxyServer`, as for the ``options``.
        :param profile: which real network that is: ``spaceswarm``, unless given, or ``hyperswarm``.
        :raises ValueError: a network was given, and something that belongs to a node of our own.
        :raises CannotListenError: there is no port for the node.
        """
        asked: dict[str, Any] = {"bootstrap": bootstrap, "ephemeral": ephemeral, "profile": profile}
        given = {name: value for name, value in asked.items() if value is not None}
        if network is None:
            reactor = options.get("reactor")
            node = DHTNode(reactor, **given)
            network = node_network(node, LocalHub(reactor, profile=node.profile))
        elif given:
            raise ValueError(f"{' and '.join(given)} can't be given with a network that is there already")
        super().__init__(network, handle_incoming=handle_incoming, **options)

    def destroy(self) -> Deferred[None]:
        """The same as ``close``."""
        return self.close()


@implementer(IHalfCloseableProtocol)
class StreamProtocol(Protocol):
    """A connection, to who has no protocol of their own: ``events`` tells data(bytes), end() and close(reason)."""

    def __init__(self) -> None:
        self.events = Events("data", "end", "close")

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None  # it is connected before anybody is told of it
        self.transport.write(data)

    def end(self) -> None:
        """Send no more; the connection closes when the other side ends too."""
        assert self.transport is not None
        self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def destroy(self) -> None:
        """End the connection now."""
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self.events.emit("data", data)

    def readConnectionLost(self) -> None:
        self.events.emit("end")

    def writeConnectionLost(self) -> None:
        """Our end has gone out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.emit("close", reason)


@implementer(IPeerReceiver)
class _Reporter:
    """Hands what a lookup finds on to a client's events."""

    def __init__(self, events: Events, topic: bytes) -> None:
        self._events = events
        self._topic = topic

    def peer_found(self, peer: Peer) -> None:
        self._events.emit("peer", peer, self._topic)

    def lookup_updated(self) -> None:
        self._events.emit("updated", self._topic)


class SpaceswarmProxyClient:
    """
    ``new SpaceswarmProxyClient({ connection, autoconnect, maxPeers })``.

    ``events`` tells ``connection(protocol, peer_info)``, ``disconnection(protocol, peer_info, reason)``,
    ``peer(peer, topic)``, ``updated(topic)`` and ``disconnected(error)``.
    """

    def __init__(
        self,
        connection: Any = None,
        autoconnect: bool = True,
        max_peers: int = 24,
        *,
        factory: IProtocolFactory | None = None,
        reactor: Any = None,
        **options: Any,
    ) -> None:
        """
        :param connection: to the server: a connected transport, a client endpoint or such an endpoint's string.  With
            an endpoint the link comes back by itself; a lost transport has to be replaced by :meth:`reconnect`.
        :param autoconnect: connect to the peers that are found, to ``max_peers`` of them at most.
        :param factory: of the connections' protocols; by default of :class:`StreamProtocol`.
        :param options: of :class:`ProxyNetwork`: ``key_pair``, ``token``, ``limits``, ``backoff``.
        """
        self.events = Events("connection", "disconnection", "peer", "updated", "disconnected")
        self.destroyed = False
        self._autoconnect = autoconnect
        self._max_peers = max_peers
        self._factory = factory or Factory.forProtocol(StreamProtocol)
        self._reactor = or_global(reactor)
        self._options = options
        self._topics: dict[bytes, Any] = {}
        self._swarm: Swarm | None = None
        if connection is not None:
            self.reconnect(connection)

    def on(self, name: str, listener: Any) -> Any:
        """The same as ``events.on``."""
        return self.events.on(name, listener)

    def reconnect(self, connection: Any) -> None:
        """
        Use another link, and join there what was joined.

        :param connection: as for the class.
        :raises ClosedError: the client was destroyed.
        """
        if self.destroyed:
            raise ClosedError("the client was destroyed")
        if self._swarm is not None:
            self._swarm.close(force=True)
        swarm = self._swarm = Swarm(
            self._network(connection), self._factory, max_peers=self._max_peers, reactor=self._reactor
        )
        for name in ("connection", "disconnection", "peer", "updated", "disconnected"):
            swarm.events.on(name, partial(self._passed_on, swarm, name))
        self._topics = {topic: self._look(swarm, topic) for topic in self._topics}

    def _passed_on(self, swarm: Swarm, name: str, *args: object) -> None:
        """What a swarm tells counts for as long as it is the one in use."""
        if self._swarm is swarm:
            self.events.emit(name, *args)

    def _network(self, connection: Any) -> ProxyNetwork:
        options = {"reactor": self._reactor, **self._options}
        if isinstance(connection, str):
            connection = clientFromString(self._reactor, connection)
        if IStreamClientEndpoint.providedBy(connection):
            return ProxyNetwork(connection, **options)
        return ProxyNetwork.over(connection, **options)

    def _look(self, swarm: Swarm, topic: bytes) -> Any:
        if self._autoconnect:
            return swarm.join(topic, server=False, client=True)
        return swarm.network.lookup(topic, _Reporter(self.events, topic))

    def join(self, topic: bytes) -> None:
        """
        Look for peers under a topic of 32 bytes; for one that is joined, look again.

        :raises ClosedError: there is no connection to a server.
        """
        topic, swarm = check_topic(topic), self._connected()
        if topic not in self._topics:
            self._topics[topic] = self._look(swarm, topic)
        elif self._autoconnect:
            self._topics[topic].refresh()
        else:
            self._topics[topic].update()

    def leave(self, topic: bytes) -> Deferred[None]:
        """Look no more; connections stay.  :returns: a Deferred that fires when the server knows."""
        joined = self._topics.pop(check_topic(topic), None)
        if joined is None:
            return succeed(None)
        left: Deferred[None] = joined.destroy() if self._autoconnect else joined.close()
        return left

    def connect(self, peer: Peer) -> Deferred[IProtocol]:
        """:returns: a Deferred of the protocol of a connection to a peer that was found."""
        return self._connected().connect(peer)

    def _connected(self) -> Swarm:
        if self._swarm is None:
            raise ClosedError("not connected to a proxy server")
        return self._swarm

    @property
    def connections(self) -> tuple[IProtocol, ...]:
        """The protocols of all open connections."""
        return () if self._swarm is None else tuple(self._swarm.connections)

    def destroy(self) -> Deferred[None]:
        """Leave everything and close the link.  :returns: a Deferred that fires when nothing is left."""
        self.destroyed = True
        swarm, self._swarm = self._swarm, None
        self._topics.clear()
        return succeed(None) if swarm is None else swarm.close()
