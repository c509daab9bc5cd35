"""Who is known, who is connected, what has happened: the one place where the parts of a swarm meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import txaio
from twisted.python.failure import Failure

from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import INetwork, Peer
from spaceswarm_proxy.swarm.connections import Connection, ConnectionSet
from spaceswarm_proxy.swarm.peer_info import PeerInfo, PeerTable

log = txaio.make_logger()


@dataclass(slots=True)
class SwarmStats:
    """What has happened since the swarm was made; each number only grows."""

    #: Connections that were begun by us.
    attempts: int = 0
    #: Those of them that were opened, and connections that peers opened to us.
    opened_by_client: int = 0
    opened_by_server: int = 0
    #: Connections that were open and ended.
    closed_by_client: int = 0
    closed_by_server: int = 0
    #: Attempts that came to nothing, for whatever reason.
    failed: int = 0
    #: Connections that the firewall, a ban, a limit or the user's factory did not want.
    refused: int = 0
    #: Connections that gave way to another with the same peer.
    duplicates: int = 0
    #: Peers that the firewall banned.
    banned: int = 0
    #: Times that the event ``update`` was told.
    updates: int = 0


class Roster:
    """Peers, connections, counters and events of one swarm."""

    def __init__(self, network: INetwork, max_known_peers: int, wanted: Callable[[PeerInfo], bool]) -> None:
        """
        :param wanted: tells of a peer whether connections to it should be made by ourselves.
        """
        self.network = network
        self.wanted = wanted
        self.connections = ConnectionSet()
        self.peers = PeerTable(max_known_peers, self.connections.has)
        self.stats = SwarmStats()
        self.events = Events(
            "connection", "disconnection", "peer", "update", "updated", "ban", "connected", "disconnected"
        )

    @property
    def own_key(self) -> bytes | None:
        """Who we are in the network."""
        key: bytes | None = self.network.public_key
        return key

    @property
    def online(self) -> bool:
        """Is the network reachable?"""
        return bool(self.network.status().online)

    def is_self(self, peer: Peer) -> bool:
        """Is that us?"""
        return peer.public_key is not None and peer.public_key == self.own_key

    def ban(self, peer: Peer) -> None:
        """Remember that the firewall does not want a peer."""
        info = self.peers.note(peer)
        self.stats.banned += 1
        if info is not None:
            info.ban()
            self.events.emit("ban", info)

    def tell_opened(self, connection: Connection) -> None:
        """Everybody may know of a connection, now that it is open."""
        log.debug("connected to {peer}", peer=connection.peer_info.peer)
        self.events.emit("connection", connection.protocol, connection.peer_info)

    def tell_ended(self, connection: Connection, reason: Failure) -> None:
        """Those who were told that a connection is open hear that it is no more."""
        log.debug("disconnected from {peer}: {reason}", peer=connection.peer_info.peer, reason=reason.value)
        self.events.emit("disconnection", connection.protocol, connection.peer_info, reason)

    def tell_update(self) -> None:
        """Something has changed."""
        self.stats.updates += 1
        self.events.emit("update")
