"""
What a population does in the simulated network: nodes join, announce, look up, and leave without a word.

:class:`Life` plays a :class:`Scenario`, and gives an :class:`Outcome`; the same scenario gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nsmallest
from math import inf, log
from statistics import mean, median
from typing import Any

from benchmarks.liars import LIES, Conspiracy, Liar
from benchmarks.simulated_network import PROFILE, Conditions, SimulatedHost, SimulatedNetwork
from spaceswarm_proxy.crypto.keeper import OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.contact import distance_from
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.operations import Operations
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.requests import OutgoingRequest
from spaceswarm_proxy.dht.results import Reply, TopicPeers
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import Peer

#: Seconds after the last wave until the life begins that is watched.
SETTLING = 30.0
#: Seconds in which the first records are announced; they are looked up from twice that on.
ANNOUNCING = 30.0
#: Seconds between an announce and the next, at least and at most.
AGAIN = 600.0, 720.0
#: Seconds in which the last lookups are to end.
DRAINING = 120.0
#: One lookup of so many is held against the whole population: has it found the nearest nodes?
CHECKED = 20


@dataclass(frozen=True)
class Scenario:
    """What is played."""

    nodes: int = 10_000
    lookups: int = 30_000
    records: int = 1_000
    minutes: float = 15.0
    #: What joins in a second, as a share of those who are there; one node at least.
    growth: float = 0.01
    #: Minutes after which half of those who have joined are gone; 0 if nobody goes.
    life: float = 60.0
    loss: float = 0.05
    shortest_ms: float = 10.0
    longest_ms: float = 200.0
    #: The share of nodes behind an address translation.
    nat: float = 0.2
    #: The share of the others that find out by themselves that they can be reached.
    adaptive: float = 0.1
    liars: float = 0.0
    seed: int = 1


class Record:
    """Somebody who is to be found under a topic, for as long as the announcer lives."""

    def __init__(self, announcer: SimulatedHost, topic: bytes, key_pair: KeyPair) -> None:
        self.announcer = announcer
        self.topic = topic
        self.key_pair = key_pair
        self.peer = Peer.keyed(key_pair.public_key)
        #: Was it announced, the last time?
        self.published = False
        #: Nodes that the last announce ended at.
        self.closest: list[bytes] = []

    @property
    def is_live(self) -> bool:
        """Is it to be found?"""
        return self.published and self.announcer.alive


@dataclass(slots=True)
class Lookup:
    """What came of a lookup."""

    begun: float
    #: When the first answer with the record came, if any, and when it was over.
    found: float = inf
    ended: float = inf
    requests: int = 0
    messages: int = 0
    #: How many nodes hold the record, if it was not found.
    holders: int = 0


class Tracked:
    """Stands between a query and its node, and sees what it sends."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self.requests: list[OutgoingRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def send(self, request: OutgoingRequest, now: float) -> None:
        """Send a request, sooner or later."""
        self.requests.append(request)
        self._core.send(request, now)

    @property
    def messages(self) -> int:
        """Datagrams: all attempts, and the answers."""
        return sum(request.attempts + (request.arrived_on is not None) for request in self.requests)


@dataclass
class Outcome:
    """What the same scenario always gives."""

    virtual_seconds: float = 0.0
    nodes: int = 0
    persistent: int = 0
    left: int = 0
    table_size: float = 0.0
    datagrams: int = 0
    lost: int = 0
    announces: int = 0
    failed_announces: int = 0
    #: Nodes that took a record, on average.
    copies: float = 0.0
    lookups: int = 0
    found: int = 0
    #: Lookups whose node has left meanwhile, or whose record's announcer has: they count for nothing.
    abandoned: int = 0
    #: Lookups that have not ended at all.
    stuck: int = 0
    #: For each lookup that has not found its record, how many nodes there were that held it.
    holders_of_missed: list[int] = field(default_factory=list)
    #: Of the 20 nodes nearest to the topic, the share that a lookup ends with.
    recall: float = 0.0
    #: Figures of lookups: median and 99th percentile.
    requests: tuple[float, float] = (0.0, 0.0)
    messages: tuple[float, float] = (0.0, 0.0)
    seconds: tuple[float, float] = (0.0, 0.0)
    seconds_until_found: tuple[float, float] = (0.0, 0.0)
    #: Datagrams received in a second by persistent nodes that were there all the time: median, and the busiest.
    load: tuple[float, float] = (0.0, 0.0)

    @property
    def success(self) -> float:
        """The share of lookups that have found their record."""
        return self.found / self.lookups if self.lookups else 0.0


class Life:
    """Plays a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        ways = Conditions(scenario.loss, scenario.shortest_ms / 1000, scenario.longest_ms / 1000)
        self.network = SimulatedNetwork(ways, scenario.seed)
        self.random = self.network.random
        self.records: list[Record] = []
        #: Those that count, and are over.
        self.lookups: list[Lookup] = []
        self.outcome = Outcome()
        self._conspiracy = Conspiracy(self.network)
        # Who looks up whom.
        self._under_way: dict[Query, tuple[SimulatedHost, Record]] = {}
        self._copies: list[int] = []
        self._recalls: list[float] = []
        self._joined = 0
        self._over = False

    def play(self, narrate: Callable[[str], None] = lambda line: None) -> Outcome:
        """:returns: what came of it, from the first node to the last lookup."""
        network, minutes = self.network, self.scenario.minutes
        self.populate()
        narrate(f"{network.now:6.0f} s: all have joined, {network.sent:,} datagrams")
        network.run(network.now + SETTLING)
        if self.scenario.liars:
            self._conspiracy.begin()
        begun = network.now
        self.schedule(begun)
        while network.now < begun + minutes * 60:
            network.run(min(network.now + 60, begun + minutes * 60))
            narrate(f"{network.now:6.0f} s: {len(self.lookups):,} lookups so far, {network.sent:,} datagrams")
        self._measure_load(begun)
        self._over = True
        drained = network.now + DRAINING
        while self._waited_for() and network.now < drained:
            network.run(network.now + 1)
        return self.conclude()

    # The population.

    def populate(self) -> None:
        """Let all join in waves."""
        network = self.network
        while len(network.hosts) < self.scenario.nodes:
            here = len(network.hosts)
            for _ in range(min(max(1, int(here * self.scenario.growth)), self.scenario.nodes - here)):
                self._join()
            network.run(network.now + 1)

    def _join(self) -> None:
        random, scenario, network = self.random, self.scenario, self.network
        self._joined += 1
        if self._joined <= K:
            host = network.join()
        elif random.random() < scenario.liars:
            host = network.join(kind=Liar)
            assert isinstance(host, Liar)
            host.conspiracy, host.lie = self._conspiracy, random.choice(LIES)
        elif random.random() < scenario.nat:
            host = network.join(None, True, behind_nat=True)
        elif random.random() < scenario.adaptive:
            host = network.join(None, True)
        else:
            host = network.join()
        if scenario.life:
            network.call_at(network.now + random.expovariate(log(2) / (scenario.life * 60)), self._replace, host)

    def _replace(self, host: SimulatedHost) -> None:
        """A node goes, another one comes."""
        if not self._over:
            self.network.leave(host)
            self.outcome.left += 1
            self._join()

    def _honest_host(self) -> SimulatedHost:
        while True:
            host = self.random.choice(self.network.hosts)
            if host.honest and host.core.joining.done:
                return host

    # What it does.

    def schedule(self, begun: float) -> None:
        """Have records announced, and then looked up, until the end."""
        for host in self.network.hosts:
            host.received = 0
        first, last = begun + 2 * ANNOUNCING, begun + self.scenario.minutes * 60
        for _ in range(self.scenario.records):
            self.network.call_at(self.random.uniform(begun, begun + ANNOUNCING), self._new_record)
        for _ in range(self.scenario.lookups):
            self.network.call_at(self.random.uniform(first, max(first, last)), self._look_up)

    def _new_record(self) -> None:
        key_pair = KeyPair.from_seed(self.random.randbytes(32))
        record = Record(self._honest_host(), self.random.randbytes(32), key_pair)
        self.records.append(record)
        self._announce(record)

    def _announce(self, record: Record) -> None:
        """Announce a record, now and later; when its announcer has left, another one comes in its place."""
        if self._over:
            return
        host = record.announcer
        if not host.alive:
            self.records.remove(record)
            self._new_record()
            return

        def ended(problem: SpaceswarmError | None) -> None:
            self._announced(record, query, problem)

        relays = tuple(record.closest[:3])
        operations = Operations(host.core, PROFILE)
        query = operations.announce(record.topic, OwnKeys(record.key_pair), relays, 0, False, _ignore, ended)
        host.core.begin(query, self.network.now, record.closest)
        host.plan()
        self.network.call_at(self.network.now + self.random.uniform(*AGAIN), self._announce, record)

    def _announced(self, record: Record, query: Query, problem: SpaceswarmError | None) -> None:
        self.outcome.announces += 1
        self._copies.append(query.stored)
        if problem is None:
            record.published = True
            record.closest = query.closest_addresses
        else:
            self.outcome.failed_announces += 1

    def _look_up(self) -> None:
        live = [record for record in self.records if record.is_live]
        if not live:
            return
        host, record = self._honest_host(), self.random.choice(live)
        tracked = Tracked(host.core)
        lookup = Lookup(self.network.now)

        def found(reply: Reply[TopicPeers]) -> None:
            if lookup.found == inf and record.peer in reply.value.peers:
                lookup.found = self.network.now

        def ended(problem: SpaceswarmError | None) -> None:
            self._looked_up(lookup, tracked, query)

        query = Operations(tracked, PROFILE).lookup(record.topic, found, ended)
        self._under_way[query] = host, record
        host.core.begin(query, self.network.now)
        host.plan()

    def _looked_up(self, lookup: Lookup, tracked: Tracked, query: Query) -> None:
        _, record = self._under_way.pop(query)
        if not record.announcer.alive:
            tracked.requests.clear()
            self.outcome.abandoned += 1
            return
        self.lookups.append(lookup)
        lookup.ended = self.network.now
        lookup.requests = len(tracked.requests)
        lookup.messages = tracked.messages
        # These know the query, which knows who has them: it would be left to the garbage collector, with all it holds.
        tracked.requests.clear()
        if lookup.found == inf:
            lookup.holders = len(self.holders(record))
        if len(self.lookups) % CHECKED == 0:
            found = set(query.closest_addresses)
            nearest = [host.addresses[SERVER_SOCKET] in found for host in self.nearest(query.target)]
            self._recalls.append(mean(nearest))

    def _waited_for(self) -> int:
        """:returns: how many lookups are still to end."""
        return sum(host.alive and record.announcer.alive for host, record in self._under_way.values())

    # What nobody in the network knows.

    def holders(self, record: Record) -> list[SimulatedHost]:
        """:returns: the hosts whose nodes hold it, and would tell."""
        topic, key = record.topic, record.key_pair.public_key
        stores = ((host, host.core.store) for host in self.network.hosts if host.honest)
        return [host for host, store in stores if store is not None and store.topics.holds(topic, key)]

    def nearest(self, target: bytes) -> list[SimulatedHost]:
        """:returns: the hosts of the 20 nodes nearest to it."""
        origin = distance_from(target)
        persistent = [host for host in self.network.hosts if host.is_persistent]
        return nsmallest(K, persistent, key=lambda host: distance_from(host.core.own_id) ^ origin)

    # Figures.

    def _measure_load(self, begun: float) -> None:
        seconds = self.network.now - begun
        stayed = [host for host in self.network.hosts if host.joined_at < begun and host.is_persistent and host.honest]
        loads = [host.received / seconds for host in stayed]
        self.outcome.load = (median(loads), max(loads)) if loads else (0.0, 0.0)

    def conclude(self) -> Outcome:
        """:returns: how it stands."""
        outcome, network = self.outcome, self.network
        outcome.virtual_seconds = network.now
        outcome.nodes = len(network.hosts)
        outcome.persistent = sum(host.is_persistent for host in network.hosts)
        outcome.table_size = mean(len(host.core.table) for host in network.hosts)
        outcome.datagrams, outcome.lost = network.sent, network.lost
        outcome.copies = mean(self._copies) if self._copies else 0.0
        outcome.recall = mean(self._recalls) if self._recalls else 0.0
        self._conclude_lookups()
        return outcome

    def _conclude_lookups(self) -> None:
        outcome = self.outcome
        found = [lookup for lookup in self.lookups if lookup.found < inf]
        outcome.lookups, outcome.found = len(self.lookups), len(found)
        outcome.stuck = self._waited_for()
        outcome.abandoned += len(self._under_way) - outcome.stuck
        outcome.holders_of_missed = sorted(lookup.holders for lookup in self.lookups if lookup.found == inf)
        outcome.requests = quantiles([lookup.requests for lookup in self.lookups])
        outcome.messages = quantiles([lookup.messages for lookup in self.lookups])
        outcome.seconds = quantiles([lookup.ended - lookup.begun for lookup in self.lookups])
        outcome.seconds_until_found = quantiles([lookup.found - lookup.begun for lookup in found])


def _ignore(reply: Reply[TopicPeers]) -> None:
    """Who else is under a topic does not matter to its announcer."""


def quantiles(values: list[float] | list[int]) -> tuple[float, float]:
    """:returns: median and 99th percentile; zeros for nothing."""
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    return median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
