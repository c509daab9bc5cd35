"""What all connections of one node have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.pulse import Pulses
from spaceswarm_proxy.peering.punching import Punching, Sockets
from spaceswarm_proxy.peering.raw import RawStreams
from spaceswarm_proxy.peering.relaying import Relaying
from spaceswarm_proxy.peering.routes import MAX_RELAY_CACHE, Latest, Routes
from spaceswarm_proxy.peering.schedule import Schedule

#: Public keys of blind relays, 32 bytes each, or what tells of them whenever they are wanted; it must not fail.
RelayChoice = Sequence[bytes] | Callable[[], Sequence[bytes]]

_LOOPBACK = bytes((127, 0, 0, 1))
#: Hosts of ours that others are told of; a machine with containers may have hundreds.
MAX_LOCAL_HOSTS = 16
#: Bytes of what two peers show at a relay.
TOKEN_LENGTH = 32


class Room:
    """The node, and what is remembered, counted and owned by its connections together."""

    def __init__(
        self,
        node: NodeCore,
        streams: RawStreams,
        sockets: Sockets,
        local_hosts: Callable[[], list[bytes]],
        relaying: Relaying | None = None,
    ) -> None:
        """
        :param local_hosts: gives our hosts in local networks, four bytes each.
        :param relaying: how peers are met at blind relays; without it, they are not.
        """
        self.node = node
        self.profile = node.profile
        self.streams = streams
        self.relaying = relaying
        self.schedule = Schedule()
        self.pulses = Pulses(node, self.schedule)
        self.punching = Punching(node, sockets, self.schedule)
        self.routes = Routes()
        #: Relays of peers that we were connected with, by their public keys.
        self.relay_cache: Latest[tuple[bytes, ...]] = Latest(MAX_RELAY_CACHE)
        self._local_hosts = local_hosts

    def local_addresses(self) -> list[bytes]:
        """:returns: where the server socket can be reached in local networks, or at least on this machine."""
        port = self.node.server_port.to_bytes(2, "little")
        return [host + port for host in self._local_hosts()[:MAX_LOCAL_HOSTS] or [_LOOPBACK]]

    def choose_relay(self, relays: RelayChoice) -> RelayThrough | None:
        """:returns: where to meet somebody, if it can be one of these relays."""
        public_keys = relays() if callable(relays) else relays
        if not public_keys or self.relaying is None:
            return None
        return RelayThrough(self.node.chance.choice(public_keys), self.node.chance.randbytes(TOKEN_LENGTH))
