"""Asking the user whether a peer is welcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, TimeoutError, maybeDeferred

from spaceswarm_proxy.errors import FirewallError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.swarm.peer_info import PeerInfo
from spaceswarm_proxy.swarm.roster import Roster

log = txaio.make_logger()

#: The user's answer: true means no.
FirewallRule = Callable[[Peer, "PeerInfo | None"], "bool | Awaitable[bool]"]

#: Seconds that the user may think; then the connection is refused, without a ban.
DECISION_TIME = 10.0


class Firewall:
    """The user's rule, and ours: not ourselves, and nobody who is banned."""

    def __init__(self, rule: FirewallRule | None, roster: Roster, reactor: Any) -> None:
        self._rule = rule
        self._roster = roster
        self._reactor = reactor

    async def admit(self, peer: Peer) -> None:
        """
        Return if a connection with a peer may be.

        :raises FirewallError: it may not; if that is the user's answer, the peer is now banned.
        """
        info = self.check(peer)
        if self._rule is not None and await self._ask(self._rule, peer, info):
            self._roster.ban(peer)
            raise FirewallError("refused by the firewall")

    def check(self, peer: Peer) -> PeerInfo | None:
        """
        Our own rules alone.

        :returns: the peer's record, if there is one.
        :raises FirewallError: there may be no connection.
        """
        info = self._roster.peers.get(peer.id)
        if self._roster.is_self(peer):
            raise FirewallError("that is ourselves")
        if info is not None and info.banned:
            raise FirewallError("the peer is banned")
        return info

    async def _ask(self, rule: FirewallRule, peer: Peer, info: PeerInfo | None) -> bool:
        try:
            return bool(await maybeDeferred(rule, peer, info).addTimeout(DECISION_TIME, self._reactor))
        except CancelledError:
            raise
        except TimeoutError:
            raise FirewallError("the firewall took too long") from None
        except Exception as problem:
            log.failure("the firewall failed on {peer}", peer=peer)
            raise FirewallError("the firewall failed") from problem
