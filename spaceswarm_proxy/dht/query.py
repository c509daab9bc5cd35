"""
A query: from node to node towards a target, and then, if something is to be stored, a write to the nearest of them.

Every node that answers names others that are nearer.  The nearest known one is asked first, several at a time, until
nobody is left who is nearer than the 20 nearest that have answered.  The *commit* then sends each of these a command,
with the token that came with its answer.

What is left when a query has ended, or was cancelled: nothing.

:source: spec/dht.md, section 12.3.  The reference asks in another order (last learnt, first asked), which takes about
    twice as many requests for the same result; the order cannot be seen from outside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from spaceswarm_proxy.dht.commands import OK
from spaceswarm_proxy.dht.contact import Contact, contact_at, distance_from, is_shunned
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.requests import OutgoingRequest
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.dht.writes import Decide, Writes
from spaceswarm_proxy.errors import NetworkUnreachableError, RequestTimeoutError, SpaceswarmError

#: Requests under way.
CONCURRENCY = 10
#: While nodes from an earlier query are being tried, which mostly are the right ones.
SLOWED_CONCURRENCY = 3
#: Of the node's own upkeep, while others have something to do.
BACKGROUND_CONCURRENCY = 2
#: Requests under way below which nobody counts as having something to do.
_IDLE = 3
#: Attempts after the first, of each request.
QUERY_RETRIES = 5
#: Answers below which nodes that were given are not trusted to be enough.
_FEW = 5
#: Nodes that one query hears of, and asks; honest networks of millions need far less.
MAX_SEEN = 8192
MAX_ASKED = 1024


class QueryReply(NamedTuple):
    """What a node has answered to a query."""

    contact: Contact
    #: Its ``id`` is that of the contact, or none.
    response: Response


class QueryHost(Protocol):
    """What a query needs of its node."""

    @property
    def own_id(self) -> bytes:
        """Nobody asks itself."""

    def nearest(self, target: bytes, count: int) -> list[bytes]:
        """:returns: addresses from the routing table."""

    def beginnings(self, now: float) -> Iterable[bytes]:
        """:returns: the addresses of the bootstrap nodes that are worth asking."""

    def requests_under_way(self) -> int:
        """:returns: how many, of everybody."""

    def send(self, request: OutgoingRequest, now: float) -> None:
        """Send a request, sooner or later."""

    def forget(self, request: OutgoingRequest) -> None:
        """It is not waited for any more."""

    def hint_down(self, address: bytes, told_by: bytes, now: float) -> None:
        """Tell a node that another one that it told us of does not answer."""

    def unanswered(self, address: bytes, since: float, now: float) -> None:
        """A node has not answered, however often it was asked since then."""

    def nobody_answered(self, now: float) -> None:
        """Everybody who was asked in a query is silent."""

    def query_ended(self, query: Query) -> None:
        """It is over, one way or another."""


class _Phase(Enum):
    VISITING = "visiting"
    #: Waiting for the writes that answers have led to.
    SETTLING = "settling"
    COMMITTING = "committing"
    ENDED = "ended"


class Query:
    """One walk through the network."""

    def __init__(
        self,
        host: QueryHost,
        target: bytes,
        command: Command,
        *,
        on_reply: Callable[[QueryReply, float], None] | None = None,
        on_end: Callable[[SpaceswarmError | None, float], None] | None = None,
        react: Decide | None = None,
        commit: Decide | None = None,
        retries: int = QUERY_RETRIES,
        background: bool = False,
    ) -> None:
        """
        :param target: 32 bytes.
        :param command: what every node is asked.
        :param on_reply: told of every reply without an error, and the time.
        :param on_end: told once, unless the query is cancelled, with what went wrong if something did, and the time.
        :param react: asked what is sent to a node as soon as it has answered.
        :param commit: asked what is sent to each of the nearest nodes at the end.
        :param background: let others go first.
        """
        self.target = target
        #: The nearest that have answered, nearest first.
        self.closest: list[QueryReply] = []
        self.asked = 0
        self.successes = 0
        self.errors = 0
        self._host = host
        self._command = command
        self._on_reply = on_reply
        self._on_end = on_end
        self._react = react
        self._commit = commit
        self._retries = retries
        self._background = background
        self._phase = _Phase.VISITING
        self._origin = distance_from(target)
        self._distances: list[int] = []
        self._candidates: list[tuple[int, bytes]] = []
        # Who has told us of a node that has not answered yet; None when it has, or when it never will.
        self._referrers: dict[bytes, list[bytes] | None] = {}
        self._down: set[bytes] = set()
        self._under_way: set[OutgoingRequest] = set()
        self._writes = Writes(host, self._settle, self._end)
        self._slow = 0
        self._from_table = False
        self._slowed = False

    @property
    def ended(self) -> bool:
        """Is nothing of it left?"""
        return self._phase is _Phase.ENDED

    @property
    def stored(self) -> int:
        """How many nodes have taken what they were sent in the end, or, without a commit, at all."""
        return self._writes.stored

    @property
    def refused(self) -> dict[int, int]:
        """How many have refused it, by error code."""
        return self._writes.refused

    @property
    def closest_addresses(self) -> list[bytes]:
        """The nearest nodes: what the next query for this target may begin with."""
        return [reply.contact.address for reply in self.closest]

    def start(self, now: float, nodes: Sequence[bytes] = (), only_nodes: bool = False) -> None:
        """
        Begin.

        :param nodes: addresses to begin with.
        :param only_nodes: ask nobody but these, and those that they name.
        """
        if self.ended:
            return
        for address in nodes:
            self._offer(address, [])
        self._from_table = only_nodes
        if not only_nodes and len(self._candidates) < K:
            self._add_table(K - len(self._candidates))
        if not only_nodes and len(self._candidates) < K:
            for address in self._host.beginnings(now):
                self._offer(address, [])
        self._slowed = bool(nodes) and not self._from_table
        self._visit(now)

    def cancel(self) -> None:
        """End it now; nobody is told."""
        if not self.ended:
            self._stop()

    def give_up(self, problem: SpaceswarmError, now: float) -> None:
        """End it now, as it can't go on."""
        self._end(problem, now)

    # Owner of the requests.

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        """A node has answered."""
        if self.ended:
            return  # By what else came of the answer: a node that learns its address from it may be closed for it.
        self._returned(request)
        self._referrers[request.to] = None
        reply = QueryReply(contact_at(request.to), response)
        if response.error == OK:
            self.successes += 1
            if response.id is not None:
                self._keep(reply)
        else:
            self.errors += 1
        self._named(response.closer, request.to, now)
        if response.error == OK:
            self._tell(reply, now)
        self._visit(now)

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        """A node does not answer; or none can be asked any more."""
        if not isinstance(problem, RequestTimeoutError):
            self._end(problem, now)
            return
        self._returned(request)
        self.errors += 1
        self._down.add(request.to)
        for told_by in self._referrers.get(request.to) or ():
            self._host.hint_down(request.to, told_by, now)
        self._referrers[request.to] = None
        self._host.unanswered(request.to, request.first_sent, now)
        self._visit(now)

    def slow(self, request: OutgoingRequest, now: float) -> None:
        """A node takes its time: somebody else is asked in its place."""
        self._slow += 1
        self._visit(now)

    def _returned(self, request: OutgoingRequest) -> None:
        self._under_way.discard(request)
        if request.attempts > 1:
            self._slow -= 1

    # Whom to ask.

    def _add_table(self, count: int) -> None:
        self._from_table = True
        for address in self._host.nearest(self.target, count):
            self._offer(address, [])

    def _is_closer(self, distance: int) -> bool:
        return len(self._distances) < K or distance < self._distances[-1]

    def _named(self, addresses: list[bytes], told_by: bytes, now: float) -> None:
        """A node names others; most of them are no news."""
        known = self._referrers
        for address in addresses:
            referrers = known.get(address)
            if referrers is not None:
                referrers.append(told_by)
            elif address not in known:
                self._offer(address, [told_by])
            elif address in self._down:
                self._host.hint_down(address, told_by, now)

    def _offer(self, address: bytes, told_by: list[bytes]) -> None:
        """A node may be asked, if it is near enough, and was not named before."""
        if address in self._referrers:
            return
        distance = contact_at(address).number ^ self._origin
        distances = self._distances
        if (len(distances) >= K and distance >= distances[-1]) or len(self._referrers) >= MAX_SEEN:
            return
        self._referrers[address] = told_by
        heappush(self._candidates, (distance, address))

    def _limit(self) -> int:
        if self._slowed and self.successes + self.errors >= CONCURRENCY:
            self._slowed = False
        if self._slowed and self.asked >= CONCURRENCY:
            limit = SLOWED_CONCURRENCY
        elif self._background and self._host.requests_under_way() >= _IDLE:
            limit = BACKGROUND_CONCURRENCY
        else:
            limit = CONCURRENCY
        return limit + self._slow

    def _visit(self, now: float) -> None:
        """Ask as many as may be asked."""
        if self._phase is not _Phase.VISITING:
            return
        limit = self._limit()
        while self._candidates and len(self._under_way) < limit:
            distance, address = heappop(self._candidates)
            if not self._is_closer(distance) or self.asked >= MAX_ASKED:
                self._candidates.clear()
                break
            if is_shunned(address) or contact_at(address).id == self._host.own_id:
                continue
            self.asked += 1
            request = OutgoingRequest(address, self._command, self, retries=self._retries)
            self._under_way.add(request)
            self._try(request, now)
            if self.ended:
                return
        if not self._candidates and self._nobody_missing():
            self._arrived(now)

    def _try(self, request: OutgoingRequest, now: float) -> None:
        try:
            self._host.send(request, now)
        except SpaceswarmError as problem:
            self._end(problem, now)

    def _nobody_missing(self) -> bool:
        return not self._under_way or (self._slow == len(self._under_way) and len(self.closest) >= K)

    def _keep(self, reply: QueryReply) -> None:
        distance = reply.contact.number ^ self._origin
        place = bisect_left(self._distances, distance)
        if place >= K or (place < len(self._distances) and self._distances[place] == distance):
            return
        self._distances.insert(place, distance)
        self.closest.insert(place, reply)
        del self._distances[K:], self.closest[K:]

    def _tell(self, reply: QueryReply, now: float) -> None:
        if self._on_reply is not None:
            self._on_reply(reply, now)
        if self._react is not None and not self.ended:
            self._writes.begin((reply,), self._react, now)

    # The end of the walk.

    def _arrived(self, now: float) -> None:
        if not self._from_table and self.successes < _FEW:
            self._add_table(K)
            if self._candidates:
                self._visit(now)
                return
        for request in self._under_way:
            self._host.forget(request)
        self._under_way.clear()
        self._phase = _Phase.SETTLING
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Go on when no write is left."""
        if self._writes:
            return
        if self._phase is _Phase.SETTLING and self._commit is not None:
            self._phase = _Phase.COMMITTING
            self._begin_commit(self._commit, now)
        elif self._phase is _Phase.SETTLING:
            self._end(None, now)
        elif self._phase is _Phase.COMMITTING:
            self._end(None if self.stored else self._writes.why_not_stored(len(self.closest)), now)

    def _begin_commit(self, commit: Decide, now: float) -> None:
        self._writes.begin_anew()
        if self.closest:
            self._writes.begin(self.closest, commit, now)
        else:
            self._end(NetworkUnreachableError("no node has answered that could store something"), now)

    def _end(self, problem: SpaceswarmError | None, now: float) -> None:
        if self.ended:
            return
        on_end = self._on_end
        self._stop()
        if self.asked and not self.successes:
            self._host.nobody_answered(now)
        if on_end is not None:
            on_end(problem, now)

    def _stop(self) -> None:
        self._phase = _Phase.ENDED
        for request in self._under_way:
            self._host.forget(request)
        self._under_way.clear()
        self._writes.forget()
        self._candidates.clear()
        self._referrers.clear()
        self._down.clear()
        # These hold the query, as a rule: it would be left to the garbage collector.
        self._on_reply = self._on_end = self._react = self._commit = None
        self._host.query_ended(self)
