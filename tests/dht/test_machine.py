"""A few honest nodes and a liar, in any order of events."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import ADDRESSES
from spaceswarm_proxy.crypto.keeper import OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.message import Command, encode_request, encode_response
from spaceswarm_proxy.dht.query import MAX_SEEN, Query
from spaceswarm_proxy.dht.responder import MAX_DELAYED
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.dht.upkeep import MANY, MAX_CHECKS, MAX_CONTESTS
from spaceswarm_proxy.errors import SpaceswarmError
from tests.dht.strategies import addresses, damaged, values
from tests.dht.world import Outcome, World

TOPIC = b"\x07" * 32
#: The liar is at each of these.
LIARS = [address_of("10.8.0.1", port) for port in range(1, 9)]
#: Datagrams that it remembers.
MEMORY = 60

honest = st.integers(0, 3)
sockets = st.sampled_from([CLIENT_SOCKET, SERVER_SOCKET])
liars = st.sampled_from(LIARS)
#: Where a datagram seems to come from.
sources = liars | addresses
any_number = st.integers(0, 1000)
commands = st.builds(Command.make, st.booleans(), st.integers(0, 11), st.none() | st.just(TOPIC), st.none() | values)
rubbish = st.builds(bytes.__add__, st.sampled_from([b"", b"\x03", b"\x13"]), st.binary(max_size=60))
fields = st.fixed_dictionaries(
    {
        "closer": st.just(b"") | st.lists(liars | addresses, max_size=25).map(ADDRESSES.build),
        "error": st.just(0) | st.sampled_from([1, 2, 16, 17, 2**53 - 1]),
        "token": st.none() | st.binary(min_size=32, max_size=32),
        "value": st.none() | values,
    }
)


class NetworkMachine(RuleBasedStateMachine):
    """The liar hears what it is sent, sends what it likes from where it likes, and the network is as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.hosts = [*self.world.population(3), self.world.host()]
        self.seen: list[bytes] = []
        self.world.seen = self.seen
        #: Requests that the liar has not answered: data, where they came from, where they went.
        self.owed: list[tuple[bytes, bytes, bytes]] = []
        for liar in LIARS:
            self.world.strangers[liar] = partial(self.hear, liar)
        self.queries: list[tuple[Query, Outcome]] = []
        self.world.run(5)

    def hear(self, liar: bytes, data: bytes, source: bytes) -> list[bytes]:
        if data[:1] == b"\x03":
            self.owed.append((data, source, liar))
        return []

    def send(self, data: bytes, source: bytes, host: int, socket: int) -> None:
        self.world.send(data, source, self.hosts[host].addresses[socket])

    # What the liar does.

    @rule(data=rubbish, source=sources, host=honest, socket=sockets)
    def say_anything(self, data: bytes, source: bytes, host: int, socket: int) -> None:
        self.send(data, source, host, socket)

    @rule(liar=liars, host=honest)
    def be_known(self, liar: bytes, host: int) -> None:
        ping = encode_request(Command.make(True, PING), b"\x01\x01", bytes(6), contact_at(liar).id, None)
        self.send(ping, liar, host, SERVER_SOCKET)

    @rule(command=commands, source=sources, host=honest, socket=sockets)
    def ask(self, command: Command, source: bytes, host: int, socket: int) -> None:
        self.send(encode_request(command, b"\x02\x02", bytes(6), None, None), source, host, socket)

    @precondition(lambda self: self.owed)
    @rule(number=any_number, with_id=st.booleans(), to=st.none() | addresses, said=fields)
    def answer(self, number: int, with_id: bool, to: bytes | None, said: dict[str, Any]) -> None:
        data, source, liar = self.owed.pop(number % len(self.owed))
        id = contact_at(liar).id if with_id else None
        self.world.send(encode_response(data[2:4], to or source, id, **said), liar, source)

    @precondition(lambda self: self.seen)
    @rule(number=any_number, source=sources, host=honest, socket=sockets, data=st.data())
    def replay(self, number: int, source: bytes, host: int, socket: int, data: st.DataObject) -> None:
        self.send(data.draw(damaged(st.just(self.seen[number % len(self.seen)]))), source, host, socket)

    # What the network does.

    @rule(loss=st.sampled_from([0.0, 0.3]), twice=st.sampled_from([0.0, 0.5]), slowest=st.sampled_from([0.05, 2.5]))
    def weather(self, loss: float, twice: float, slowest: float) -> None:
        self.world.loss, self.world.duplication, self.world.delay = loss, twice, (0.01, slowest)

    @rule(seconds=st.floats(0, 5) | st.sampled_from([40.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(seconds=st.sampled_from([5.0, 100.0, 5000.0]))
    def sleep(self, seconds: float) -> None:
        self.world.leap(seconds)
        self.world.run(1)

    # What the honest do.

    @rule(host=honest, name=st.sampled_from(["find_node", "lookup", "immutable_get"]))
    def look(self, host: int, name: str) -> None:
        outcome = Outcome()
        query = getattr(self.hosts[host].operations, name)(TOPIC, outcome.found, outcome.ended)
        if not self.hosts[host].core.suspended:
            self.queries.append((self.hosts[host].begin(query, LIARS[:3]), outcome))

    @rule(host=honest, clear=st.booleans())
    def tell(self, host: int, clear: bool) -> None:
        if not self.hosts[host].core.suspended:
            self.queries.append(self.announce(host, clear))

    def announce(self, host: int, clear: bool) -> tuple[Query, Outcome]:
        outcome = Outcome()
        keeper = OwnKeys(KeyPair.from_seed(bytes([host]) * 32))
        query = self.hosts[host].operations.announce(TOPIC, keeper, (), 0, clear, outcome.found, outcome.ended)
        return self.hosts[host].begin(query), outcome

    @precondition(lambda self: self.queries)
    @rule(number=any_number)
    def cancel(self, number: int) -> None:
        query, outcome = self.queries.pop(number % len(self.queries))
        query.cancel()
        assert query.ended

    @rule(host=honest)
    def go_quiet_or_come_back(self, host: int) -> None:
        core = self.hosts[host].core
        core.resume(self.world.now) if core.suspended else core.suspend(self.world.now)

    # What is always so.

    @invariant()
    def bounded(self) -> None:
        del self.seen[:-MEMORY]
        del self.owed[:-MEMORY]
        for host in self.hosts:
            check_bounds(host.core)

    def teardown(self) -> None:
        """When all is well again, the honest find each other."""
        self.weather(0.0, 0.0, 0.05)
        for host in self.hosts:
            host.core.resume(self.world.now)
        self.world.run(150)
        for query, outcome in self.queries:
            assert query.ended
            assert outcome.over
            assert outcome.problem is None or isinstance(outcome.problem, SpaceswarmError)
        self.meet(0, 1)
        self.meet(3, 2)
        for host in self.hosts:
            host.core.close(self.world.now)
            assert (host.core.requests.under_way, host.core.queries) == (0, set())

    def meet(self, one: int, other: int) -> None:
        _, announced = self.announce(one, True)
        self.world.run_until(lambda: announced.over)
        assert announced.problem is None
        found = Outcome()
        self.hosts[other].begin(self.hosts[other].operations.lookup(TOPIC, found.found, found.ended))
        self.world.run_until(lambda: found.over)
        key = KeyPair.from_seed(bytes([one]) * 32).public_key
        assert key in {peer.public_key for value in found.values for peer in value.peers}


def check_bounds(core: NodeCore) -> None:
    """Nothing in a node is larger than it may be."""
    rows: dict[int, int] = {}
    for entry in core.table:
        row = core.table.row_of(entry.contact.id)
        rows[row] = rows.get(row, 0) + 1
    assert max(rows.values(), default=0) <= K
    assert core.own_id not in {entry.contact.id for entry in core.table}
    assert len(core.responder._delayed) <= MAX_DELAYED
    assert sum(core.responder._delayed_of_host.values()) == len(core.responder._delayed)
    assert 0 <= core.upkeep._contests <= MAX_CONTESTS
    assert 0 <= core.upkeep._checks <= MAX_CHECKS + MANY
    for query in core.queries:
        assert not query.ended
        assert len(query._candidates) <= len(query._referrers) <= MAX_SEEN
        assert len(query.closest) <= K
        assert 0 <= query._slow <= len(query._under_way)


class MachineTests(SynchronousTestCase):
    """All of it together."""

    def test_machine(self) -> None:
        """
        Whatever a liar sends, and whatever becomes of datagrams and time, nothing is raised, nothing grows without
        bound, every query ends, and honest nodes find each other when it is over.
        """
        run_state_machine_as_test(
            NetworkMachine,
            settings=settings(
                deadline=None, max_examples=25, stateful_step_count=30, suppress_health_check=list(HealthCheck)
            ),
        )
