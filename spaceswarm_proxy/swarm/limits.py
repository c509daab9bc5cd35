"""What a swarm may have at most."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SwarmLimits:
    """The limits of one swarm; the arguments of :class:`~spaceswarm_proxy.swarm.Swarm` of the same names."""

    #: With so many connections, no more are made; those that arrive are taken all the same.
    max_peers: int = 64
    #: Connections that are being made at the same time, those that take long apart.
    max_parallel: int = 3
    #: Connections that we made.
    max_client_connections: float = inf
    #: Connections that were made to us; further ones are refused.
    max_server_connections: float = inf
    #: Records of peers; above it, the oldest that nobody needs makes room, or the newcomer is ignored.
    max_known_peers: int = 4096
