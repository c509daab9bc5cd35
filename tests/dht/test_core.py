"""Tests of spaceswarm_proxy.dht.core: a node's life, and what it makes of the datagrams that come."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import DELAYED_PING, PING
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Command, Response, encode_request, encode_response
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.table import Entry, K
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.dht.witnesses import MOST_HOSTS
from spaceswarm_proxy.errors import ClosedError, SpaceswarmError, SuspendedError
from tests.dht.strategies import addresses
from tests.dht.world import Alone, Outcome, World

PEER, OTHER = address_of("10.9.0.1", 7001), address_of("10.9.0.2", 7002)
SHUNNED = [
    address_of("134.209.28.98", 49738), address_of("167.99.142.185", 49738), address_of("35.233.47.252", 9400),
    address_of("150.136.142.116", 1), address_of("150.136.142.116", 49737),
]  # fmt: skip
PING_COMMAND = Command.make(True, PING)
#: To be answered after four seconds.
DELAYED = Command.make(True, DELAYED_PING, None, (4000).to_bytes(4, "little"))


def ping_from(address: bytes, to: bytes = Alone.ADDRESS) -> bytes:
    """A ping of a persistent node."""
    return encode_request(PING_COMMAND, b"\x01\x02", to, contact_at(address).id, None)


class DatagramTests(SynchronousTestCase):
    """What is whose."""

    def setUp(self) -> None:
        self.alone = Alone()
        self.foreign: list[tuple[bytes, bytes, int]] = []

    def take_foreign(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        self.foreign.append((data, source, socket))

    def test_foreign(self) -> None:
        """What is no message of ours goes to whoever is there for it: probes, packets of streams, and anything else."""
        arrivals = [b"", b"\x03", b"\x13", b"\xff\x01packet", b"\x23\x00", bytes(20)]
        for data in arrivals:
            self.assertIsNone(self.alone.receive(data, PEER))
        self.assertEqual(self.alone.core.ignored, len(arrivals))
        self.alone.core.foreign = self.take_foreign
        for data in [*arrivals, ping_from(PEER), b"\x13\x00"]:
            self.alone.receive(data, PEER, 5)
        self.assertEqual(self.foreign, [(data, PEER, 5) for data in arrivals])

    def test_port_0(self) -> None:
        """What seems to come from port 0 is passed over, whatever it is."""
        self.alone.core.foreign = self.take_foreign
        for data in (ping_from(PEER), b"\xff\x01packet"):
            self.assertIsNone(self.alone.receive(data, PEER[:4] + bytes(2)))
        self.assertEqual((self.foreign, self.alone.core.ignored), ([], 0))

    def test_nobodys_answers(self) -> None:
        """Responses that nobody waits for, or that are damaged, are counted and change nothing."""
        for data in (encode_response(b"\x00\x00", PEER, contact_at(PEER).id, None, b"", 0, None), b"\x13\x01"):
            self.assertIsNone(self.alone.receive(data, PEER))
        core = self.alone.core
        self.assertEqual((core.ignored, core.answered, len(core.table)), (2, 0, 0))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.binary(max_size=60), addresses, st.integers(0, 3)), max_size=5), st.booleans())
    def test_anything(self, arrivals: list[tuple[bytes, bytes, int]], persistent: bool) -> None:
        """Nothing that may come raises anything, as it is or behind a message's first byte."""
        alone = Alone(persistent)
        for data, source, socket in arrivals:
            for whole in (data, b"\x03" + data, b"\x13" + data):
                alone.receive(whole, source, socket)
        alone.run(30)


class MeetingTests(SynchronousTestCase):
    """Who gets into the table, and what is believed of our own address."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)
        self.core = self.alone.core

    def test_met(self) -> None:
        """Who says who it is, and is that, is known from then on; one that says it is somebody else is not."""
        self.alone.receive(ping_from(PEER), PEER)
        self.alone.receive(ping_from(PEER), OTHER)
        self.assertEqual(list(self.core.table.entries), [PEER])
        self.alone.now += 5
        self.alone.receive(ping_from(PEER), PEER)
        self.assertEqual(self.core.table.entries[PEER].heard, self.alone.now)

    def test_answer(self) -> None:
        """Who answers is known too; an id that is not its own is taken out of what the asker is told."""
        answers: list[Response | SpaceswarmError] = []
        for address in (PEER, OTHER):
            self.core.ask(address, PING_COMMAND, lambda answer, now: answers.append(answer), self.alone.now)
            tid = self.alone.take_sent()[0][2][2:4]
            response = encode_response(tid, Alone.ADDRESS, contact_at(PEER).id, None, b"", 0, None)
            self.alone.receive(response, address)
        ids = [answer.id for answer in answers if isinstance(answer, Response)]
        self.assertEqual(ids, [contact_at(PEER).id, None])
        self.assertEqual(list(self.core.table.entries), [PEER])

    def test_shunned(self) -> None:
        """Nodes that once did harm are answered, but not known, from before neither; their views do not count."""
        for address in SHUNNED:
            self.assertIsNotNone(self.alone.receive(ping_from(address), address))
        self.core.start(self.alone.now, [*SHUNNED, PEER])
        self.assertEqual(list(self.core.table.entries), [PEER])
        self.assertIsNone(self.core.public_address)

    def test_ourselves(self) -> None:
        """A node does not know itself."""
        self.alone.receive(ping_from(Alone.ADDRESS), Alone.ADDRESS)
        self.core.start(self.alone.now, [Alone.ADDRESS])
        self.assertEqual(len(self.core.table), 0)

    def test_without_id(self) -> None:
        """Of nodes that tell no id, as many are believed to see us as there are bootstrap nodes, and each once."""
        for count in (0, 1, 3):
            alone = Alone(bootstrap_count=count)
            for number in range(6):
                for port in (1, 1):
                    address = address_of(f"10.9.1.{number}", port)
                    alone.core.ask(address, PING_COMMAND, _nothing, alone.now)
                    alone.answer(alone.take_sent()[0], with_id=False, to=address_of("10.7.7.7", number + 1))
            self.assertEqual((alone.core.nat.samples, len(alone.core.table)), (max(count, 1), 0))

    def test_seen_again(self) -> None:
        """A known node's view of us is taken again after half an hour, and only over the socket that we ask from."""
        for minutes, socket, samples in (
            (0, SERVER_SOCKET, 1), (29, SERVER_SOCKET, 1), (31, CLIENT_SOCKET, 1), (31, SERVER_SOCKET, 2)
        ):  # fmt: skip
            self.alone.now = 100 + 60 * minutes
            self.core.ask(PEER, PING_COMMAND, _nothing, self.alone.now)
            _, address, data = self.alone.take_sent()[0]
            self.alone.answer((socket, address, data))
            self.assertEqual(self.core.nat.samples, samples)

    def test_our_address(self) -> None:
        """That our address is known, or another one, is told once each time."""
        for number in range(40):
            self.asked(address_of(f"10.9.1.{number}", 1), Alone.ADDRESS if number < 20 else OTHER)
        self.assertEqual(self.core.public_address, OTHER)
        changes = self.alone.reports.count("nat_changed")
        self.assertTrue(2 <= changes <= 4, changes)

    def asked(self, address: bytes, seen: bytes) -> None:
        """A node that we have asked sees us there."""
        self.core.ask(address, PING_COMMAND, _nothing, self.alone.now)
        self.alone.answer(self.alone.take_sent()[-1], to=seen)

    def test_lies_about_our_address(self) -> None:
        """
        Nobody can talk us out of our address: what requests say of it does not count, as anybody can forge them; nor
        does one host outvote the others with all its ports, though it may be known by many.
        """
        for number in range(6):
            self.asked(address_of(f"10.9.1.{number}", 1), Alone.ADDRESS)
        for port in range(1, 1000):
            liar = address_of("10.9.2.1", port)
            self.alone.receive(ping_from(liar, OTHER), liar)
            self.asked(liar, OTHER)
            self.alone.receive(ping_from(address_of("10.9.3.1", port), OTHER), address_of("10.9.3.1", port))
        self.assertEqual(self.core.nat.samples, 8)
        self.assertEqual(self.core.public_address, Alone.ADDRESS)
        self.alone.now += 2000
        for port in range(1, 1000):
            self.asked(address_of("10.9.2.1", port), OTHER)
        self.assertEqual(self.core.nat.samples, 10)

    def test_most_hosts(self) -> None:
        """Of the hosts that have told us our address no more are remembered than the latest few."""
        for number in range(600):
            address = address_of(f"10.9.{number >> 8}.{number & 255}", 1)
            self.asked(address, Alone.ADDRESS)
            self.core.table.remove(address)
        self.assertEqual((self.core.nat.samples, len(self.core._witnesses)), (600, MOST_HOSTS))


class ServingTests(SynchronousTestCase):
    """Servers of the node itself."""

    def test_served(self) -> None:
        """They are told of while the node is known to others, whichever came first, and then no more."""
        alone = Alone()
        target, later = bytes(32), bytes(range(32))
        alone.core.serve(target, PeerRecord(b"k" * 32))
        alone.core.become(contact_at(Alone.ADDRESS).id, True, alone.now)
        alone.core.serve(later, PeerRecord(b"l" * 32))
        assert alone.core.store is not None
        for key in (target, later):
            self.assertIsNotNone(alone.core.store.forward(key, alone.now))
        alone.core.retire()
        alone.core.unserve(target)
        alone.core.become(contact_at(Alone.ADDRESS).id, True, alone.now)
        self.assertIsNone(alone.core.store.forward(target, alone.now))
        self.assertIsNotNone(alone.core.store.forward(later, alone.now))


class LifeTests(SynchronousTestCase):
    """Going quiet, coming back, and the end."""

    def setUp(self) -> None:
        self.world = World()
        self.nodes = self.world.population(K + 5)
        self.host = self.world.host(ephemeral=False)
        self.world.run(10)
        self.core = self.host.core

    def begin(self) -> tuple[Outcome, list[Response | SpaceswarmError]]:
        """Something is under way: a query, and a request."""
        outcome, answers = Outcome(), []
        self.host.begin(self.host.operations.lookup(bytes(32), outcome.found, outcome.ended))
        self.core.ask(self.nodes[0].address, PING_COMMAND, lambda answer, now: answers.append(answer), self.world.now)
        self.assertGreater(self.core.requests.under_way, 0)
        return outcome, answers

    def assertQuiet(self, problem: type[SpaceswarmError]) -> None:
        """Nothing is under way, sent, answered or begun."""
        self.assertEqual((self.core.requests.under_way, self.core.queries), (0, set()))
        sent: list[bytes] = []
        self.core.transmit = lambda socket, address, data, ttl=0: sent.append(data)
        for data in (ping_from(PEER), b"\xff\x01", b"\x13\x00", ping_from(PEER)):
            self.assertIsNone(self.core.receive(data, PEER, SERVER_SOCKET, self.world.now))
        for seconds in (1, 60, 3600):
            self.core.advance(self.world.now + seconds)
        self.core.moved(self.world.now)
        with self.assertRaises(problem):
            self.core.ask(PEER, PING_COMMAND, _nothing, self.world.now)
        with self.assertRaises(problem):
            self.host.begin(self.core.find_node(bytes(32)))
        self.assertEqual((sent, self.core.requests.under_way, self.core.queries), ([], 0, set()))
        self.core.transmit = self.host.transmit

    def test_suspend(self) -> None:
        """When a node goes quiet, whatever is under way fails, and nothing happens any more; again is nothing."""
        outcome, answers = self.begin()
        for _ in range(2):
            self.core.suspend(self.world.now)
        self.assertIsInstance(outcome.problem, SuspendedError)
        self.assertEqual([type(answer) for answer in answers], [SuspendedError])
        self.assertQuiet(SuspendedError)

    def test_resume(self) -> None:
        """When it comes back it looks around, is who it was, and works."""
        self.core.suspend(self.world.now)
        self.world.run(1000)
        self.host.reports.clear()
        for _ in range(2):
            self.core.resume(self.world.now)
        self.assertEqual(self.host.reports, ["wakeup"])
        self.world.run(30)
        self.assertFalse(self.core.ephemeral)
        outcome, _ = self.begin()
        self.world.run_until(lambda: outcome.over)
        self.assertIsNone(outcome.problem)

    def test_early(self) -> None:
        """A query that is wanted before it is known where to begin waits for that; or ends with the node."""
        for end, expected in ((None, None), ("suspend", SuspendedError), ("close", ClosedError), ("cancel", None)):
            alone = Alone(bootstrap_count=1)
            outcome = Outcome()
            query = alone.core.find_node(bytes(32), on_end=lambda problem, now, outcome=outcome: outcome.ended(problem))
            alone.core.begin(query, alone.now)
            self.assertEqual(([], False), (alone.sent, query.ended))
            if end == "cancel":
                query.cancel()
            elif end is not None:
                getattr(alone.core, end)(alone.now)
                self.assertIsInstance(outcome.problem, expected)
            self.assertEqual(end is not None, query.ended)
            alone.core.bootstrap = (PEER,)
            if end in (None, "cancel"):
                alone.core.start(alone.now)
            # The node's own first question, and this one.
            self.assertEqual({None: 2, "cancel": 1}.get(end, 0), len(alone.sent))

    def test_owed(self) -> None:
        """Answers that were to be sent later are not sent when it has come back: whoever asked has given up."""
        alone = Alone()
        alone.receive(encode_request(DELAYED, b"\x01\x02", Alone.ADDRESS, None, None), PEER)
        alone.core.suspend(alone.now)
        alone.core.resume(alone.now)
        alone.run(10)
        self.assertEqual(alone.sent, [])

    def test_another_port(self) -> None:
        """When it comes back on another port, it is nobody until others have seen it there; then it is that one."""
        self.core.suspend(self.world.now)
        self.host.addresses[SERVER_SOCKET] = self.host.at(12345)
        self.core.server_port = 12345
        self.core.resume(self.world.now)
        self.assertIsNone(self.core.told_id)
        self.world.run_until(lambda: self.core.told_id == contact_at(self.host.at(12345)).id, 3600)

    def test_close(self) -> None:
        """When it is closed, whatever is under way fails, and nothing happens any more, for good."""
        outcome, answers = self.begin()
        for _ in range(2):
            self.core.close(self.world.now)
        self.assertIsInstance(outcome.problem, ClosedError)
        self.assertEqual([type(answer) for answer in answers], [ClosedError])
        self.assertQuiet(ClosedError)
        self.core.suspend(self.world.now)
        self.core.resume(self.world.now)
        self.assertQuiet(ClosedError)

    def test_at_any_time(self) -> None:
        """Whenever in its first seconds it is suspended and comes back, it joins in the end."""
        for tenths in range(12):
            host = self.world.host(ephemeral=False)
            self.world.run(tenths / 20)
            host.core.suspend(self.world.now)
            self.assertEqual((host.core.requests.under_way, host.core.queries), (0, set()))
            self.world.run(1)
            host.core.resume(self.world.now)
            self.world.run(20)
            self.assertEqual((host.core.ephemeral, host.reports.count("ready")), (False, 1), tenths)

    def test_closed_by_the_told(self) -> None:
        """Whoever is told of an end may close the node, in the middle of whatever goes on there."""

        def close(*_: object) -> None:
            self.core.close(self.world.now)

        for begin in (
            lambda: self.core.ask(PEER, PING_COMMAND, close, self.world.now),
            lambda: self.core.ask(self.nodes[0].address, PING_COMMAND, close, self.world.now),
            lambda: self.host.begin(self.core.find_node(bytes(32), on_reply=close)),
            lambda: self.host.begin(self.core.find_node(bytes(32), on_end=close)),
        ):
            self.setUp()
            request = encode_request(DELAYED, b"\x01\x02", Alone.ADDRESS, None, None)
            self.core.receive(request, PEER, SERVER_SOCKET, self.world.now)
            begin()
            self.world.run(10)
            self.assertTrue(self.core.closed)
            self.assertQuiet(ClosedError)

    def test_closed_when_address_is_known(self) -> None:
        """Whoever is told that our address is known may close the node before the answer that told it is handled."""
        alone = Alone()
        ends: list[SpaceswarmError | None] = []
        alone.core.report = lambda name: alone.core.close(alone.now)
        for address in (PEER, OTHER):
            alone.core.table.add(Entry(contact_at(address), alone.now))
        alone.core.start(alone.now)
        alone.take_sent()
        query = alone.core.find_node(
            bytes(32), on_reply=lambda *_: self.fail("it has ended"), on_end=lambda problem, now: ends.append(problem)
        )
        alone.core.begin(query, alone.now)
        alone.answer(alone.take_sent()[0])
        self.assertEqual([type(problem) for problem in ends], [ClosedError])


def _nothing(*_: object) -> None:
    """Nobody waits for it."""
