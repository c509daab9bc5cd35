"""Tests of spaceswarm_proxy.dht.upkeep."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.dht.commands import DOWN_HINT, FIND_NODE, PING
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Command, encode_request, parse_request
from spaceswarm_proxy.dht.table import Entry, K
from spaceswarm_proxy.dht.upkeep import CHECKING, MAX_CHECKS, MAX_CONTESTS, RECENT, REFRESH, TICK
from tests.dht.world import Alone, Host, Outcome, World

ADDRESSES = [address_of("10.1.0.1", port) for port in range(1, 200)]
STRANGER = address_of("10.9.0.1", 7001)


class UpkeepTestCase(SynchronousTestCase):
    """A node that has joined, and whose network is the test."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)
        self.core = self.alone.core
        self.core.start(self.alone.now)
        row = self.core.table.row_of(contact_at(ADDRESSES[0]).id)
        #: All in one row of the table.
        self.row = [address for address in ADDRESSES if self.core.table.row_of(contact_at(address).id) == row]

    def know(self, *addresses: bytes) -> None:
        """These are in the table; just heard."""
        for address in addresses:
            self.core.table.add(Entry(contact_at(address), self.alone.now))

    def meet(self, address: bytes) -> None:
        """Somebody says who it is."""
        ping = encode_request(Command.make(True, PING), b"\x01\x02", Alone.ADDRESS, contact_at(address).id, None)
        self.assertIsNotNone(self.alone.receive(ping, address))

    def hint(self, address: bytes) -> None:
        """Somebody says that a node is down."""
        hint = Command.make(True, DOWN_HINT, None, address)
        self.assertIsNotNone(self.alone.receive(encode_request(hint, b"\x01\x02", Alone.ADDRESS, None, None), STRANGER))

    def take_asked(self, command: int = PING) -> list[tuple[int, bytes, bytes]]:
        """Requests that were sent since the last call; of others nothing is said."""
        return [sent for sent in self.alone.take_sent() if parse_request(sent[2]).command == command]

    def asked(self, command: int = PING) -> list[bytes]:
        """Who was asked since the last call."""
        return [address for _, address, _ in self.take_asked(command)]

    def assertKnown(self, *addresses: bytes) -> None:
        self.assertEqual(set(self.core.table.entries), set(addresses))


class CheckTests(UpkeepTestCase):
    """Is everybody still there?"""

    def round_of_checks(self) -> list[tuple[int, bytes, bytes]]:
        """Let time pass until nodes are asked."""
        self.alone.take_sent()
        for _ in range(100):
            self.alone.run(TICK)
            asked = self.take_asked()
            if asked:
                return asked
        self.fail("nobody is asked")

    def test_longest_unheard(self) -> None:
        """Every 40 seconds the five that were not heard for longest are asked; over the server socket, with our id."""
        for address in self.row[:8]:
            self.know(address)
            self.alone.now += 1
        asked = self.round_of_checks()
        self.assertEqual([address for _, address, _ in asked], self.row[:5])
        self.assertEqual({(socket, parse_request(data).id) for socket, _, data in asked}, {(1, self.core.own_id)})
        for request in asked:
            self.alone.answer(request)
        self.alone.run(CHECKING)
        # The three that were not asked before, and the two that were heard next.
        self.assertEqual(self.asked(), self.row[5:8] + self.row[:2])

    def test_silent(self) -> None:
        """One that does not answer goes; the others, who have, stay."""
        self.know(*self.row[:3])
        for request in self.round_of_checks()[:2]:
            self.alone.answer(request)
        self.alone.run(3.9)
        self.assertKnown(*self.row[:3])
        self.alone.run(0.2)
        self.assertKnown(*self.row[:2])

    def test_another_one(self) -> None:
        """One that answers without its id is not the one that it was, and goes."""
        self.know(*self.row[:2])
        first, second = self.round_of_checks()
        self.alone.answer(first)
        self.alone.answer(second, with_id=False)
        self.assertKnown(self.row[0])

    def test_few_when_busy(self) -> None:
        """Three are asked while others have something to do, and two when the longest unheard was tried just now."""
        self.know(*self.row[:8])
        for _ in range(3):
            self.core.ask(STRANGER, Command.make(True, FIND_NODE, bytes(32)), _nothing, self.alone.now, timeout=100)
        self.assertEqual(len(self.round_of_checks()), 3)
        self.setUp()
        self.know(*self.row[:8])
        self.alone.run(CHECKING)
        for entry in self.core.table:
            entry.pinged = self.alone.now
        self.assertEqual(len(self.round_of_checks()), 2)

    def test_no_room(self) -> None:
        """While too much is under way nobody is checked, contested or hinted at, and nothing is wrong with that."""
        self.know(*self.row[:K])
        with mock.patch.object(requests, "MAX_REQUESTS", 0):
            self.alone.run(3 * CHECKING)
            self.hint(self.row[0])
            self.meet(self.row[K])
            self.core.hint_down(self.row[0], self.row[1], self.alone.now)
        self.assertEqual(self.asked(), [])
        self.alone.run(TICK)
        self.alone.take_sent()
        self.hint(self.row[0])
        self.assertEqual(self.asked(), [self.row[0]])


class ContestTests(UpkeepTestCase):
    """Newcomers to a row that is full."""

    def setUp(self) -> None:
        super().setUp()
        for address in self.row[:K]:
            self.know(address)
            self.alone.now += 0.01
        # Not in the tick in which all these were heard.
        self.alone.run(TICK)
        self.alone.take_sent()

    def test_alive(self) -> None:
        """Who was tried least recently is asked; as it answers, it stays, and the newcomer is forgotten."""
        self.meet(self.row[K])
        [request] = self.take_asked()
        self.assertEqual(request[1], self.row[0])
        self.alone.answer(request)
        self.assertKnown(*self.row[:K])
        self.alone.run(TICK)
        self.meet(self.row[K])
        self.assertEqual(self.asked(), [self.row[1]])

    def test_gone(self) -> None:
        """If it does not answer, or without its id, the newcomer takes its place."""
        self.meet(self.row[K])
        self.alone.run(4)
        self.assertKnown(*self.row[1 : K + 1])
        self.alone.take_sent()
        self.meet(self.row[K + 1])
        [request] = self.take_asked()
        self.alone.answer(request, with_id=False)
        self.assertKnown(*self.row[2 : K + 2])

    def test_bounded(self) -> None:
        """No more than three are contested at a time, and none twice in a tick, whoever comes."""
        for address in self.row[K:]:
            self.meet(address)
        requests = self.take_asked()
        self.assertEqual([address for _, address, _ in requests], self.row[:MAX_CONTESTS])
        for request in requests:
            self.alone.answer(request)
        for address in self.row[K:]:
            self.meet(address)
        self.assertEqual(self.asked(), self.row[MAX_CONTESTS : 2 * MAX_CONTESTS])
        self.assertKnown(*self.row[:K])

    def test_old_and_recent(self) -> None:
        """One that has been there for long and was tried just now is not asked for a newcomer."""
        for entry in self.core.table:
            entry.added -= self.core.upkeep.OLD
        self.meet(self.row[K])
        self.assertEqual(self.asked(), [])
        self.alone.now += RECENT
        self.meet(self.row[K])
        self.assertEqual(self.asked(), [self.row[0]])

    def test_not_before_joined(self) -> None:
        """While the node has not joined, newcomers to a full row are let go."""
        alone = Alone(persistent=True)
        for address in self.row[:K]:
            alone.core.table.add(Entry(contact_at(address), 1.0))
        ping = encode_request(Command.make(True, PING), b"\x01\x02", Alone.ADDRESS, contact_at(self.row[K]).id, None)
        alone.receive(ping, self.row[K])
        self.assertEqual(alone.sent, [])

    def test_suspended(self) -> None:
        """A contest that ends because the node goes quiet changes nothing."""
        self.meet(self.row[K])
        self.core.suspend(self.alone.now)
        self.assertKnown(*self.row[:K])


class HintTests(UpkeepTestCase):
    """Others say that a node is down."""

    def test_down(self) -> None:
        """The node is asked, and goes if it does not answer; if it does, it stays."""
        self.know(*self.row[:2])
        self.hint(self.row[0])
        self.hint(self.row[1])
        first, second = self.take_asked()
        self.alone.answer(second)
        self.alone.run(4)
        self.assertEqual(first[1], self.row[0])
        self.assertKnown(self.row[1])

    def test_again(self) -> None:
        """It is not asked again for each who says so: once in a tick at most."""
        self.know(self.row[0])
        for _ in range(5):
            self.hint(self.row[0])
        [request] = self.take_asked()
        self.alone.answer(request)
        self.hint(self.row[0])
        self.assertEqual(self.asked(), [])
        self.alone.run(TICK)
        self.hint(self.row[0])
        self.assertEqual(self.asked(), [self.row[0]])

    def test_bounded(self) -> None:
        """No more than ten are asked at a time; when they have answered, others are."""
        self.know(*self.row[:K])
        for address in self.row[:K]:
            self.hint(address)
        requests = self.take_asked()
        self.assertEqual(len(requests), MAX_CHECKS)
        for request in requests:
            self.alone.answer(request)
        self.hint(self.row[K - 1])
        self.assertEqual(self.asked(), [self.row[K - 1]])

    def test_strangers(self) -> None:
        """Who is not in the table is not asked: nobody can be made to send to whom it does not know."""
        self.know(self.row[0])
        for address in (STRANGER, self.row[1], Alone.ADDRESS, bytes(6), b"\xff" * 6):
            self.hint(address)
        self.assertEqual(self.asked(), [])


class RefreshTests(SynchronousTestCase):
    """The table is refreshed by walking through the network now and then."""

    def test_without_queries(self) -> None:
        """A node walks every five minutes, unless it has had something to look for in that time."""
        world = World()
        quiet, busy, *_ = world.population(K + 1)
        world.run(REFRESH + TICK)
        before = quiet.core.queries_begun, busy.core.queries_begun
        for _ in range(9):
            outcome = Outcome()
            busy.begin(busy.operations.find_node(bytes(32), outcome.found, outcome.ended))
            world.run(200)
        self.assertTrue(5 <= quiet.core.queries_begun - before[0] <= 7)
        self.assertEqual(busy.core.queries_begun - before[1], 9)

    def test_small_table(self) -> None:
        """With fewer than twenty nodes it is refreshed at times anyway, and with none, at each check."""
        world = World()
        one, other = world.host(public=True), world.host(public=True)
        world.run(60)
        before = one.core.queries_begun
        world.run(3600)
        self.assertGreater(one.core.queries_begun - before, 13)
        self.assertEqual(list(one.core.table.entries), [other.address])


class NetworkTests(SynchronousTestCase):
    """A whole network."""

    def setUp(self) -> None:
        self.world = World()
        self.hosts = self.world.population(30)
        self.world.run(60)

    def known(self, host: Host) -> set[bytes]:
        return set(host.core.table.entries)

    def is_online(self) -> bool:
        """Does the first host think so?"""
        return self.hosts[0].core.upkeep.health.online

    def test_the_dead_go(self) -> None:
        """Within a few minutes nobody knows those any more that have gone without a word."""
        dead, alive = self.hosts[:10], self.hosts[10:]
        self.world.unplug(*dead)
        self.world.run(600)
        for host in alive:
            self.assertEqual(self.known(host) & {other.address for other in dead}, set())
            self.assertGreater(len(self.known(host)), 15)

    def test_own_network_gone(self) -> None:
        """A node whose own network is gone keeps its table, says so once, and is there again when it is back."""
        host = self.hosts[0]
        known = self.known(host)
        host.reports.clear()
        self.world.unplug(host)
        self.world.run(1800)
        self.assertEqual(host.reports.count("unreachable"), 1)
        # Those that it was just asking when somebody else still answered may be gone.
        self.assertGreaterEqual(len(self.known(host)), len(known) - 5)
        self.assertFalse(self.is_online())
        self.world.plug_in(host)
        self.world.run(60)
        self.assertIn("reachable", host.reports)
        self.assertTrue(self.is_online())

    def test_health(self) -> None:
        """It is told when nobody answers any more, and when somebody does; in between there is no news."""
        host = self.hosts[0]
        for online in (False, True):
            host.reports.clear()
            self.world.plug_in(host) if online else self.world.unplug(host)
            self.world.run_until(self.is_online if online else lambda: not self.is_online())
            self.assertEqual(host.reports.count("network_update"), 1)
            self.world.run(600)
            host.reports.clear()
            self.world.run(600)
            self.assertEqual(host.reports.count("network_update"), 0)

    def test_slept(self) -> None:
        """A machine that has slept notices, and sees who is still there; one that was only late does not."""
        host = self.hosts[0]
        for seconds, slept in ((14.0, False), (3600.0, True)):
            host.reports.clear()
            began = host.core.queries_begun
            self.world.leap(seconds)
            self.world.run(2 * TICK)
            self.assertEqual("wakeup" in host.reports, slept)
            self.assertEqual(host.core.queries_begun > began, slept)
        self.world.run(120)
        self.assertEqual(len(self.known(host)), 29)

    def test_slept_elsewhere(self) -> None:
        """One that wakes up where nobody is does not forget whom it knew."""
        host = self.hosts[0]
        known = self.known(host)
        self.world.unplug(host)
        self.world.leap(3600)
        self.world.run(600)
        self.assertEqual(self.known(host), known)


def _nothing(*_: object) -> None:
    """Nobody waits for it."""
