"""
A whole network on a virtual clock: do lookups find what was announced, and what does it cost?

    .venv/bin/python benchmarks/simulation.py                                             # 10,000 nodes
    .venv/bin/python benchmarks/simulation.py --nodes 1000 --liars 0.33 --lookups 3000    # a third of them lie

The nodes join in waves.  Then they live for some time: they leave without a word, others come in their place, some of
them announce records and repeat that every ten to twelve minutes, and some look records up.  A lookup is good when it
finds the record, whose announcer was there all the time.  All nodes are real ones (``NodeCore``), without sockets; see
``benchmarks/simulated_network.py`` for what is between them, and ``benchmarks/liars.py`` for the lies.

The same arguments give the same figures but for those of this machine: CPU time and memory.

``tests/benchmarks/test_simulation.py`` runs small ones.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from heapq import nsmallest
from math import ceil, inf, log
from pathlib import Path
from statistics import mean, median
from typing import Any

# Run as a program, a file sees only its own directory.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.liars import LIES, Conspiracy, Liar
from benchmarks.simulated_network import PROFILE, Conditions, SimulatedHost, SimulatedNetwork
from benchmarks.soak import resident_memory
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

#: How much the population grows in each second of joining; one node at least.
GROWTH = 0.01
#: Seconds after the last wave until the life begins that is measured.
SETTLING = 60.0
#: Seconds between an announce and the next, at least and at most.
AGAIN = 600.0, 720.0
#: Seconds in which the first records are announced; from then on they are looked up.
ANNOUNCING = 60.0
#: Seconds that the last lookups have in order to end.
DRAINING = 300.0
#: One lookup of so many is held against the whole population: has it found the nearest nodes?
CHECKED = 50
#: Seconds between the meetings of the liars.
MEETING = 60.0


@dataclass(frozen=True)
class Scenario:
    """What is played."""

    nodes: int = 10_000
    lookups: int = 30_000
    records: int = 1_000
    minutes: float = 15.0
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


class Tracked:
    """Stands between a query and its node, and sees what it sends."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self.requests: list[OutgoingRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def send(self, request: OutgoingRequest, now: float) -> None:
        self.requests.append(request)
        self._core.send(request, now)

    @property
    def messages(self) -> int:
        """Datagrams: all attempts, and the answers."""
        return sum(request.attempts + (request.arrived_on is not None) for request in self.requests)


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


@dataclass
class Lookup:
    """One lookup."""

    host: SimulatedHost
    record: Record
    begun: float
    #: When the first answer with the record came, and when it was over.
    found: float = inf
    ended: float = inf
    requests: int = 0
    messages: int = 0
    #: How many of the nodes nearest to the topic hold the record, if it was not found.
    holders: int = 0


@dataclass
class Outcome:
    """What the same arguments always give."""

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
    #: For each lookup that has not found its record, how many nodes there are that hold it.
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


@dataclass
class Cost:
    """What it has taken of this machine."""

    cpu_seconds: float
    #: Bytes in memory, beyond what was there before the first node.
    resident: int
    peak: int


class Simulation:
    """Plays a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        ways = Conditions(scenario.loss, scenario.shortest_ms / 1000, scenario.longest_ms / 1000)
        self.network = SimulatedNetwork(ways, scenario.seed)
        self.random = self.network.random
        self.conspiracy = Conspiracy(self.network)
        self.records: list[Record] = []
        self.lookups: list[Lookup] = []
        self.outcome = Outcome()
        self._copies: list[int] = []
        self._recalls: list[float] = []
        self._joined = 0
        self._over = False

    def run(self, narrate: Callable[[str], None] = lambda line: None) -> Outcome:
        """Play it from the first node to the last lookup."""
        network, scenario = self.network, self.scenario
        self.populate()
        narrate(f"{network.now:6.0f} s: {len(network.hosts)} nodes have joined")
        network.run(network.now + SETTLING)
        self.conspiracy.begin()
        self._meet()
        begun = network.now
        for host in network.hosts:
            host.received = 0
        self._schedule(begun)
        for minute in range(1, ceil(scenario.minutes) + 1):
            network.run(begun + min(minute, scenario.minutes) * 60)
            done = sum(lookup.ended < inf for lookup in self.lookups)
            narrate(f"{network.now:6.0f} s: {network.sent} datagrams, {done} lookups have ended")
        self._measure_load(begun)
        self._over = True
        network.run(network.now + DRAINING)
        return self._conclude()

    # The population.

    def populate(self) -> None:
        """Let all join in waves."""
        network = self.network
        while len(network.hosts) < self.scenario.nodes:
            here = len(network.hosts)
            for _ in range(min(max(1, int(here * GROWTH)), self.scenario.nodes - here)):
                self._join()
            network.run(network.now + 1.0)

    def _join(self) -> None:
        random, scenario, network = self.random, self.scenario, self.network
        self._joined += 1
        if self._joined <= K:
            host = network.join()
        elif random.random() < scenario.liars:
            host = network.join(kind=Liar)
            assert isinstance(host, Liar)
            host.conspiracy = self.conspiracy
            host.lie = LIES[self._joined % len(LIES)]
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

    def _meet(self) -> None:
        if self.scenario.liars:
            self.conspiracy.meet()
            self.network.call_at(self.network.now + MEETING, self._meet)

    def _honest_host(self) -> SimulatedHost:
        while True:
            host = self.random.choice(self.network.hosts)
            if host.honest and host.core.joining.done:
                return host

    # What they do.

    def _schedule(self, begun: float) -> None:
        end = begun + self.scenario.minutes * 60
        for _ in range(self.scenario.records):
            self.network.call_at(begun + self.random.random() * ANNOUNCING / 2, self._new_record)
        for _ in range(self.scenario.lookups):
            when = begun + ANNOUNCING + self.random.random() * max(0.0, end - begun - ANNOUNCING)
            self.network.call_at(when, self._look_up)

    def _new_record(self) -> None:
        key_pair = KeyPair.from_seed(self.random.randbytes(32))
        record = Record(self._honest_host(), self.random.randbytes(32), key_pair)
        self.records.append(record)
        self._announce(record)

    def _announce(self, record: Record) -> None:
        """Announce a record, and again later; when its announcer has left, another one in its place."""
        if self._over:
            return
        host, now = record.announcer, self.network.now
        if not host.alive:
            self.records.remove(record)
            self._new_record()
            return
        operations = Operations(host.core, PROFILE)
        ended = partial(self._announced, record)
        relays = tuple(record.closest[:3])
        # The callback needs the query, which needs the callback.
        queries: list[Query] = []
        query = operations.announce(
            record.topic, record.key_pair, relays, 0, False, _ignore, lambda problem: ended(queries[0], problem)
        )
        queries.append(query)
        host.core.begin(query, now, record.closest)
        host.plan()
        self.network.call_at(now + self.random.uniform(*AGAIN), self._announce, record)

    def _announced(self, record: Record, query: Query, problem: SpaceswarmError | None) -> None:
        self.outcome.announces += 1
        self._copies.append(query.stored)
        if problem is None:
            record.published = True
            record.closest = query.closest_addresses
        else:
            self.outcome.failed_announces += 1

    def _look_up(self) -> None:
        record = self.random.choice(self.records)
        while not record.is_live:
            record = self.random.choice(self.records)
        host = self._honest_host()
        lookup = Lookup(host, record, self.network.now)
        self.lookups.append(lookup)
        tracked = Tracked(host.core)
        queries: list[Query] = []
        operations = Operations(tracked, PROFILE)
        query = operations.lookup(
            record.topic, partial(self._found, lookup), lambda problem: self._looked_up(lookup, tracked, queries[0])
        )
        queries.append(query)
        host.core.begin(query, self.network.now)
        host.plan()

    def _found(self, lookup: Lookup, reply: Reply[TopicPeers]) -> None:
        if lookup.found == inf and lookup.record.peer in reply.value.peers:
            lookup.found = self.network.now

    def _looked_up(self, lookup: Lookup, tracked: Tracked, query: Query) -> None:
        lookup.ended = self.network.now
        lookup.requests = len(tracked.requests)
        lookup.messages = tracked.messages
        if lookup.found == inf:
            lookup.holders = len(self.holders(lookup.record))
        if len(self.lookups) % CHECKED == 0:
            nearest = self.nearest(query.target)
            found = {reply.contact.address for reply in query.closest}
            self._recalls.append(sum(host.addresses[SERVER_SOCKET] in found for host in nearest) / len(nearest))

    # What is known to nobody in the network.

    def holders(self, record: Record) -> list[SimulatedHost]:
        """:returns: the hosts whose nodes hold it and would tell."""
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
        loads = [
            host.received / seconds
            for host in self.network.hosts
            if host.joined_at < begun and host.is_persistent and host.honest
        ]
        self.outcome.load = (median(loads), max(loads)) if loads else (0.0, 0.0)

    def _conclude(self) -> Outcome:
        outcome, network = self.outcome, self.network
        outcome.virtual_seconds = network.now
        outcome.nodes = len(network.hosts)
        outcome.persistent = sum(host.is_persistent for host in network.hosts)
        outcome.table_size = mean(len(host.core.table) for host in network.hosts)
        outcome.datagrams, outcome.lost = network.sent, network.lost
        outcome.copies = mean(self._copies) if self._copies else 0.0
        outcome.recall = mean(self._recalls) if self._recalls else 0.0
        counting = [lookup for lookup in self.lookups if lookup.host.alive and lookup.record.announcer.alive]
        ended = [lookup for lookup in counting if lookup.ended < inf]
        missed = [lookup for lookup in ended if lookup.found == inf]
        outcome.lookups = len(ended)
        outcome.found = len(ended) - len(missed)
        outcome.stuck = len(counting) - len(ended)
        outcome.abandoned = len(self.lookups) - len(counting)
        outcome.holders_of_missed = sorted(lookup.holders for lookup in missed)
        outcome.requests = quantiles([lookup.requests for lookup in ended])
        outcome.messages = quantiles([lookup.messages for lookup in ended])
        outcome.seconds = quantiles([lookup.ended - lookup.begun for lookup in ended])
        outcome.seconds_until_found = quantiles([lookup.found - lookup.begun for lookup in ended if lookup.found < inf])
        return outcome


def _ignore(reply: Reply[TopicPeers]) -> None:
    """Who else is under a topic does not matter to its announcer."""


def quantiles(values: list[float] | list[int]) -> tuple[float, float]:
    """:returns: median and 99th percentile; zeros for nothing."""
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    return median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def measured(scenario: Scenario, narrate: Callable[[str], None]) -> tuple[Outcome, Cost]:
    """Play a scenario, and watch this process meanwhile."""
    gc.collect()
    gc.freeze()
    # Nearly nothing here is garbage that needs a collector, but for nodes that have left.
    gc.set_threshold(100_000, 50, 10)
    before = resident_memory()
    begun = time.process_time()
    simulation = Simulation(scenario)
    outcome = simulation.run(narrate)
    spent = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return outcome, Cost(spent, resident_memory() - before, peak)


def table(scenario: Scenario, outcome: Outcome, cost: Cost) -> str:
    """:returns: all figures, in Markdown."""
    missed = ", ".join(map(str, outcome.holders_of_missed[:20])) or "-"
    rows = [
        ("nodes; persistent; left and replaced", f"{outcome.nodes:,}; {outcome.persistent:,}; {outcome.left:,}"),
        ("virtual time", f"{outcome.virtual_seconds:,.0f} s"),
        ("nodes in a table, mean", f"{outcome.table_size:.0f}"),
        ("datagrams; lost", f"{outcome.datagrams:,}; {outcome.lost:,}"),
        ("announces; failed; copies, mean", f"{outcome.announces:,}; {outcome.failed_announces}; {outcome.copies:.1f}"),
        ("lookups; that found the live record", f"{outcome.lookups:,}; {outcome.found:,} ({outcome.success:.3%})"),
        ("lookups that do not count (a node left); that never ended", f"{outcome.abandoned}; {outcome.stuck}"),
        ("holders there were when a lookup missed", missed),
        ("of the 20 nearest nodes, found", f"{outcome.recall:.1%}"),
        ("requests a lookup, median; p99", "{:.0f}; {:.0f}".format(*outcome.requests)),
        ("datagrams a lookup, median; p99", "{:.0f}; {:.0f}".format(*outcome.messages)),
        ("until found, median; p99", "{:.2f} s; {:.2f} s".format(*outcome.seconds_until_found)),
        ("until the lookup's end, median; p99", "{:.2f} s; {:.2f} s".format(*outcome.seconds)),
        ("datagrams received a second, median; busiest node", "{:.2f}; {:.2f}".format(*outcome.load)),
        ("busiest to median", f"{outcome.load[1] / (outcome.load[0] or inf):.1f}"),
        ("memory a node", f"{cost.resident / outcome.nodes / 1024:.1f} KiB"),
        ("memory of the process, peak", f"{cost.peak / 2**20:,.0f} MiB"),
        ("CPU time", f"{cost.cpu_seconds:.1f} s"),
        ("CPU time a datagram", f"{cost.cpu_seconds / outcome.datagrams * 1e6:.1f} us"),
    ]
    title = ", ".join(f"{item.name} {getattr(scenario, item.name):g}" for item in fields(scenario))
    return "\n".join([title, "", "| figure | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, help in (
        ("nodes", "how many there are, all the time"),
        ("lookups", "how many, spread over the time"),
        ("records", "how many are announced at a time"),
        ("minutes", "how long the network is watched, after all have joined"),
        ("life", "minutes after which half of those who have joined are gone; 0: nobody goes"),
        ("loss", "share of datagrams that are lost"),
        ("shortest-ms", "shortest delay of a datagram, in milliseconds"),
        ("longest-ms", "longest"),
        ("nat", "share of nodes behind an address translation"),
        ("adaptive", "share of the others that find out by themselves that they can be reached"),
        ("liars", "share of nodes that lie"),
        ("seed", "of the random numbers"),
    ):
        default = getattr(Scenario, option.replace("-", "_"))
        parser.add_argument(f"--{option}", type=type(default), default=default, help=f"{help} (default {default:g})")
    scenario = Scenario(**vars(parser.parse_args()))
    outcome, cost = measured(scenario, partial(print, file=sys.stderr, flush=True))
    print(table(scenario, outcome, cost))


if __name__ == "__main__":
    main()
