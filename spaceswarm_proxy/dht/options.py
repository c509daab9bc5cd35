"""What a node is to be."""

from __future__ import annotations

from dataclasses import dataclass

from spaceswarm_proxy.crypto.profile import SPACESWARM, Profile
from spaceswarm_proxy.dht.rates import MAX_REQUESTS_OF_HOST


@dataclass(frozen=True)
class NodeOptions:
    """What a node is to be."""

    profile: Profile = SPACESWARM
    #: Does it keep its address to itself?  ``None``: until it has found out that others can reach it.
    ephemeral: bool | None = None
    #: Does it believe to be behind a firewall until it has found out otherwise?
    firewalled: bool = True
    #: The host of its address, for a bootstrap node, which nobody tells it: four bytes.
    public_host: bytes | None = None
    #: Bootstrap nodes that it was given, whether their addresses are known yet or not.
    bootstrap_count: int = 0
    adaptive_timeouts: bool = False
    #: Tell others of nodes that do not answer.
    down_hints: bool = True
    max_requests_of_host: int = MAX_REQUESTS_OF_HOST
