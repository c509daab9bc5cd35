"""
Finding the network, and finding out who we are in it.

A node begins as a stranger: with a random id that it tells nobody.  Others tell it its address; when enough agree, and
can reach it there, it becomes *persistent*: its id is the hash of that address, it tells it, and it stores for others.

While nobody answers at all, it asks again and again, less and less often.

:source: npm ``dht-rpc``; spec/dht.md, sections 11.2 and 11.3.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from typing import TYPE_CHECKING

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht.commands import PING_NAT
from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.nat import NatSampler
from spaceswarm_proxy.dht.query import Query, QueryReply
from spaceswarm_proxy.dht.requests import OutgoingRequest
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.dht.table import Entry
from spaceswarm_proxy.errors import SpaceswarmError

if TYPE_CHECKING:
    from spaceswarm_proxy.dht.core import NodeCore

#: Seconds that a node must have been there before it looks whether it can be persistent, and between later looks.
STABLE = 1200.0
MORE_STABLE = 3600.0
#: The same while nobody has told us our address, and for a node that was told to be persistent.
SOON = 40.0
#: Seconds until an address translation has forgotten, as a rule, whom a socket has sent to.
FORGOTTEN = 300.0
#: Nodes that are asked to ping us, and how many must reach us: of those, or of fewer.
PROBES = 5
ENOUGH = 3
ENOUGH_OF_FEW = 1
#: Seconds until the next attempt to find anybody: the first, and the longest.
RETRY = 2.0
MAX_RETRY = 20.0


class Joining:
    """How far a node has come."""

    def __init__(self, node: NodeCore) -> None:
        #: Has it begun at all?
        self.begun = False
        #: Has the first attempt ended, whether anybody was found or not?
        self.done = False
        #: Was nobody found, and has nobody come since?
        self.lonely = False
        self._node = node
        self._adaptive = node.options.ephemeral is None
        self._forced = node.options.ephemeral is False
        self._query: Query | None = None
        self._probe: _Probe | None = None
        #: Whoever answers first is asked whether it can reach us.
        self._quick = node.options.firewalled and not self._forced
        self._reached = False
        self._check_at: float | None = None
        self._checked_host: bytes | None = None
        self._lonely_since = 0.0
        self._retry_at: float | None = None
        self._retry_after = RETRY

    def begin(self, now: float) -> None:
        """Look for the network."""
        self.begun = True
        if self._adaptive:
            self._check_at = now + STABLE
        self._look(now)

    def stop(self) -> None:
        """Do nothing more, until :meth:`wakeup`."""
        self._retry_at = None
        self._probe = None
        if self._query is not None:
            self._query.cancel()
            self._query = None

    def next_deadline(self) -> float | None:
        """:returns: when the next attempt is due, in seconds."""
        return self._retry_at

    def advance(self, now: float) -> None:
        """Try again, if it is time."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._look(now)

    def tick(self, now: float) -> None:
        """Every few seconds: are we still alone, and could we be persistent?"""
        if self.lonely and self._node.last_heard > self._lonely_since:
            self._found(now)
        if self._is_renamed():
            self.renamed(now)
        if self._check_at is None or now < self._check_at or not self._node.ephemeral:
            return
        address = self._node.public_address
        self._check_at = now + (SOON if self._forced or address is None else MORE_STABLE)
        if address is not None and (self._forced or address[:HOST_LENGTH] != self._checked_host):
            self._checked_host = address[:HOST_LENGTH]
            self._check_network(False, _nothing_follows, now)

    def _is_renamed(self) -> bool:
        """Is our address another one than our id says?"""
        address = self._node.public_address
        return (
            not self._node.ephemeral
            and address is not None
            and _is_whole(address)
            and hash32(address) != self._node.own_id
        )

    def renamed(self, now: float) -> None:
        """Our address has changed: we are nobody until it is known that others can reach us there."""
        self._node.retire()
        self._node.doubt_address(True)
        self._checked_host = None
        self._check_at = now + (FORGOTTEN if self._node.firewalled else 0)

    def lost(self, now: float) -> None:
        """Nobody seems to be there any more: look, unless that is under way."""
        if self.done and self._query is None and self._retry_at is None and not self._node.suspended:
            self._look(now)

    def wakeup(self, now: float) -> None:
        """We may be somewhere else by now."""
        self._checked_host = None
        self._retry_after = RETRY
        self._node.doubt_address(not self._forced)
        if self._adaptive:
            self._check_at = now + MORE_STABLE
            if not self._node.ephemeral:
                self._node.retire()
        if self._query is None and (self.lonely or not self.done):
            self._look(now)

    # Looking for anybody.

    def _look(self, now: float, again: bool = False) -> None:
        def ended(problem: SpaceswarmError | None, now: float) -> None:
            self._query = None
            self._looked(bool(query.successes), again, now)

        node = self._node
        query = node.find_node(node.own_id, background=True, on_reply=self._replied, on_end=ended)
        self._query = query
        node.begin(query, now, node.bootstrap if self.done else ())

    def _replied(self, reply: QueryReply, now: float) -> None:
        if self._quick:
            self._quick = False
            self._node.ask_if_free(reply.contact.address, self.ping_nat(), self._quick_answer, now)

    def _quick_answer(self, answer: Response | SpaceswarmError, now: float) -> None:
        self._reached = isinstance(answer, Response)

    def _looked(self, anybody: bool, again: bool, now: float) -> None:
        def checked(open: bool, now: float) -> None:
            if open:
                self._look(now, again=True)
            else:
                self._finish(anybody, now)

        if self._node.suspended:
            return
        if not again and self._node.ephemeral and (self._forced or self._reached):
            self._check_network(not self._forced, checked, now)
        else:
            self._finish(anybody, now)

    def _finish(self, anybody: bool, now: float) -> None:
        if anybody:
            self._found(now)
        elif self._node.options.bootstrap_count or len(self._node.table):
            self._alone(now)
        if self._forced and self._node.ephemeral:
            self._check_at = now + SOON
        if not self.done:
            self.done = True
            self._node.report("ready")

    def _found(self, now: float) -> None:
        self._retry_at = None
        self._retry_after = RETRY
        if self.lonely:
            self.lonely = False
            self._node.report("reachable")

    def _alone(self, now: float) -> None:
        self._retry_at = now + self._retry_after * (0.5 + self._node.chance.random() / 2)
        self._retry_after = min(2 * self._retry_after, MAX_RETRY)
        if not self.lonely:
            self.lonely = True
            self._lonely_since = now
            self._node.report("unreachable")
        self._node.report("beginnings_wanted")

    # Who we are.

    def ping_nat(self) -> Command:
        """:returns: the request to answer to our server socket."""
        return Command.make(True, PING_NAT, None, self._node.server_port.to_bytes(2, "little"))

    def _check_network(self, firewall_only: bool, then: Callable[[bool, float], None], now: float) -> None:
        """
        Find out whether others can reach us where they see us; if so, we are not behind a firewall, and may be more.

        :param firewall_only: stay ephemeral all the same.
        :param then: told whether it is so.
        """
        node = self._node
        seen = node.public_address
        if not node.ephemeral or (firewall_only and not node.firewalled) or not _is_whole(seen):
            then(False, now)
            return

        def probed(sampler: NatSampler | None, now: float) -> None:
            self._probe = None
            then(sampler is not None and self._opened(seen, sampler, firewall_only, now), now)

        if not node.firewalled:
            probed(node.nat, now)
        else:
            self._probe = _Probe(node, probed)
            self._probe.begin(now)

    def _opened(self, seen: bytes | None, sampler: NatSampler, firewall_only: bool, now: float) -> bool:
        node = self._node
        node.firewalled = False
        # It may have changed meanwhile.
        if not node.ephemeral or node.public_address != seen or not _is_whole(sampler.value):
            return False
        if sampler.value is None or seen is None or sampler.value[:HOST_LENGTH] != seen[:HOST_LENGTH]:
            return False
        if sampler is not node.nat:
            node.forget_samples(sampler)
        node.become(hash32(sampler.value), not firewall_only, now)
        return True


def _is_whole(address: bytes | None) -> bool:
    """Do others agree on both host and port?"""
    return address is not None and address[HOST_LENGTH:] != b"\x00\x00"


def _nothing_follows(open: bool, now: float) -> None:
    """Whether it is open has been told to those who want to know."""


class _Probe:
    """Asks a few nodes to answer to our server socket, which none of them has heard from."""

    def __init__(self, node: NodeCore, done: Callable[[NatSampler | None, float], None]) -> None:
        """:param done: told what they say that the socket's address is; ``None`` if it can't be reached."""
        self._node = node
        self._done = done
        self._sampler = NatSampler()
        self._asked = 0
        self._missing = 0
        self._reached = 0

    def begin(self, now: float) -> None:
        """Ask."""
        latest = nlargest(PROBES, self._node.table, key=_heard)
        addresses = dict.fromkeys(entry.contact.address for entry in latest)
        if len(addresses) < PROBES:
            addresses.update(dict.fromkeys(self._node.beginnings(now)))
        self._asked = self._missing = len(addresses)
        command = self._node.joining.ping_nat()
        for address in addresses:
            try:
                self._node.send(OutgoingRequest(address, command, self), now)
            except SpaceswarmError:
                self._missing -= 1
        if not self._missing:
            self._done(None, now)

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        """Somebody can reach one of our sockets."""
        if request.arrived_on == SERVER_SOCKET:
            self._reached += 1
            self._sampler.add(response.to)
        self._one_less(now)

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        """Somebody can't, or is not there."""
        self._one_less(now)

    def slow(self, request: OutgoingRequest, now: float) -> None:
        """It may still come."""

    def _one_less(self, now: float) -> None:
        self._missing -= 1
        if not self._missing and not self._node.suspended:
            self._done(self._sampler if self._is_open() else None, now)

    def _is_open(self) -> bool:
        if self._reached < (ENOUGH if self._asked >= PROBES else ENOUGH_OF_FEW):
            return False
        # Only where the address translation keeps the port, or there is none, is it one that others can use.
        value = self._sampler.value
        return value is not None and value[HOST_LENGTH:] == self._node.server_port.to_bytes(2, "little")


def _heard(entry: Entry) -> float:
    return entry.heard
