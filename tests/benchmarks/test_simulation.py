"""Tests of a whole network on a virtual clock; ``benchmarks/simulation.py`` is the long form."""

from __future__ import annotations

from dataclasses import fields, replace

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.liars import LIES, Conspiracy, Crowd, Liar, keep_nothing, say_garbage
from benchmarks.simulated_life import Life, Outcome, Scenario, quantiles
from benchmarks.simulated_network import NAT_MEMORY, Conditions, SimulatedHost, SimulatedNetwork
from benchmarks.simulation import OPTIONS, Cost, parsed, table
from spaceswarm_proxy.dht.commands import LOOKUP, PING
from spaceswarm_proxy.dht.contact import Contact
from spaceswarm_proxy.dht.message import Command, Response, encode_request, parse_response
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.errors import MessageError, RequestTimeoutError, SpaceswarmError

#: Nothing is lost, and everything takes its time.
GOOD = Conditions(loss=0.0)
PING_COMMAND = Command.make(True, PING)
#: A few nodes, for a short while.
SMALL = Scenario(nodes=40, lookups=40, records=10, minutes=2, growth=0.1, life=10)


def grown(size: int, seed: int = 1) -> SimulatedNetwork:
    """A network of persistent nodes, none of which is busy any more."""
    network = SimulatedNetwork(GOOD, seed)
    for _ in range(size):
        network.join()
        network.run(network.now + 5)
    return network


class NetworkTests(SynchronousTestCase):
    """What is between the nodes."""

    def ask(self, network: SimulatedNetwork, host: SimulatedHost, address: bytes) -> Response | SpaceswarmError:
        """What comes of a PING."""
        answers: list[tuple[Response | SpaceswarmError, float]] = []
        host.core.ask(address, PING_COMMAND, lambda answer, now: answers.append((answer, now)), network.now)
        host.plan()
        network.run(network.now + 5)
        ((answer, self.answered_at),) = answers
        return answer

    def test_members(self) -> None:
        """Nodes that join one after the other are persistent, and know each other."""
        network = grown(10)
        self.assertTrue(all(host.is_persistent for host in network.hosts))
        self.assertEqual({9}, {len(host.core.table) for host in network.hosts})

    def test_delay(self) -> None:
        """An answer takes as long as two datagrams are on their way."""
        network = grown(2)
        begun = network.now
        answer = self.ask(network, *self.ends(network))
        assert isinstance(answer, Response)
        self.assertEqual(answer.id, network.hosts[1].core.own_id)
        self.assertEqual(answer.to, network.hosts[0].addresses[SERVER_SOCKET])
        self.assertGreater(self.answered_at - begun, 2 * GOOD.shortest)
        self.assertLess(self.answered_at - begun, 2 * GOOD.longest)

    def ends(self, network: SimulatedNetwork) -> tuple[SimulatedHost, bytes]:
        return network.hosts[0], network.hosts[1].addresses[SERVER_SOCKET]

    def test_left(self) -> None:
        """Who has left does not answer any more, and does not wake up; the others are still found in their places."""
        network = grown(4)
        gone, stays = network.hosts[1], network.hosts[3]
        network.leave(gone)
        sent = gone.sent
        self.assertIsInstance(self.ask(network, stays, gone.addresses[SERVER_SOCKET]), RequestTimeoutError)
        network.run(network.now + 100)
        self.assertEqual(gone.sent, sent)
        self.assertGreater(network.misdirected, 0)
        self.assertEqual([host.place for host in network.hosts], [0, 1, 2])
        self.assertNotIn(gone.addresses[SERVER_SOCKET], stays.core.table.entries)

    def test_loss(self) -> None:
        """The share of datagrams that is to be lost is lost."""
        network = SimulatedNetwork(Conditions(loss=0.25))
        for _ in range(4000):
            network.carry(b"", b"123456", b"654321")
        network.run(1.0)
        self.assertEqual(network.sent, network.lost + network.misdirected)
        self.assertTrue(900 < network.lost < 1100, network.lost)

    def test_order(self) -> None:
        """What is due earlier happens earlier; of what is due at the same time, what was planned first."""
        network = SimulatedNetwork(GOOD)
        seen: list[tuple[str, float]] = []
        for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "late")):
            network.call_at(when, lambda name: seen.append((name, network.now)), name)
        network.run(5.0)
        self.assertEqual(seen, [("a", 1.0), ("b", 1.0), ("c", 2.0)])
        self.assertEqual(network.now, 5.0)

    def test_nat(self) -> None:
        """Behind an address translation a socket hears only from whom it has sent to, for as long as that is kept."""
        network = grown(3)
        hidden = network.join(None, True, behind_nat=True)
        network.run(network.now + 10)
        stranger = network.join()
        network.run(network.now + 5)
        before = network.filtered
        for address in hidden.addresses:
            self.assertIsInstance(self.ask(network, stranger, address), RequestTimeoutError)
        self.assertEqual(network.filtered - before, 8)
        self.ask(network, hidden, stranger.addresses[SERVER_SOCKET])
        self.assertIsInstance(self.ask(network, stranger, hidden.addresses[CLIENT_SOCKET]), Response)
        self.assertIsInstance(self.ask(network, stranger, hidden.addresses[SERVER_SOCKET]), RequestTimeoutError)
        nat = hidden.nat
        assert nat is not None
        nat.opened(CLIENT_SOCKET, b"far off", 0.0)
        self.assertTrue(nat.lets_in(CLIENT_SOCKET, b"far off", NAT_MEMORY - 1))
        self.assertFalse(nat.lets_in(CLIENT_SOCKET, b"far off", NAT_MEMORY))

    def test_nat_forgets(self) -> None:
        """A translation that has had many destinations remembers the latest only."""
        network = grown(1)
        nat = network.join(None, True, behind_nat=True).nat
        assert nat is not None
        for number in range(2000):
            nat.opened(CLIENT_SOCKET, number.to_bytes(6, "big"), float(number))
        self.assertTrue(nat.lets_in(CLIENT_SOCKET, (1990).to_bytes(6, "big"), 2000.0))
        self.assertLess(len(nat._sent[CLIENT_SOCKET]), 300)

    def test_behind_nat_is_ephemeral(self) -> None:
        """A node that others can't reach finds that out, also when it looks again; one that they can reach, too."""
        network = grown(8)
        hidden = [network.join(None, True, behind_nat=True) for _ in range(4)]
        open = [network.join(None, True) for _ in range(4)]
        network.run(network.now + 1300)
        self.assertEqual([False] * 4, [host.is_persistent for host in hidden])
        self.assertEqual([True] * 4, [host.core.firewalled for host in hidden])
        self.assertEqual([True] * 4, [host.is_persistent for host in open])


class LifeTests(SynchronousTestCase):
    """What happens in such a network."""

    def test_lookups(self) -> None:
        """Of 500 nodes, one in five behind an address translation, all find what is there, at a moderate price."""
        outcome = Life(Scenario(nodes=500, lookups=200, records=20, minutes=1.25, growth=0.1)).play()
        self.assertEqual((outcome.nodes, outcome.announces, outcome.failed_announces), (500, 20, 0))
        self.assertTrue(340 < outcome.persistent < 420, outcome.persistent)
        self.assertEqual(outcome.copies, K)
        self.assertEqual(outcome.stuck, 0)
        self.assertGreater(outcome.lookups, 190)
        self.assertEqual(outcome.found, outcome.lookups, outcome.holders_of_missed)
        self.assertGreater(outcome.recall, 0.9)
        self.assertLess(outcome.requests[0], 50)
        self.assertLess(outcome.messages[1], 150)
        self.assertLess(outcome.seconds_until_found[0], 1.0)
        self.assertLess(outcome.seconds[1], 6.0)
        self.assertLess(outcome.load[1], 5 * outcome.load[0])

    def test_reproducible(self) -> None:
        """The same scenario gives the same figures; another seed gives others."""
        first = Life(SMALL).play()
        self.assertGreater(first.lookups, 20)
        self.assertEqual(first, Life(SMALL).play())
        self.assertNotEqual(first, Life(replace(SMALL, seed=2)).play())

    def test_announced_again(self) -> None:
        """Records are found for as long as they are announced again, though most nodes are others by then."""
        outcome = Life(Scenario(nodes=40, lookups=100, records=5, minutes=25, growth=0.1, life=15)).play()
        self.assertGreater(outcome.left, 25)
        self.assertGreater(outcome.announces, 10)
        self.assertEqual((outcome.failed_announces, outcome.stuck), (0, 0))
        self.assertGreater(outcome.lookups, 80)
        self.assertEqual(outcome.found, outcome.lookups, outcome.holders_of_missed)

    def test_nobody_leaves(self) -> None:
        """In a network that stays as it is every lookup counts."""
        outcome = Life(replace(SMALL, life=0)).play()
        self.assertEqual((outcome.left, outcome.abandoned, outcome.lookups), (0, 0, SMALL.lookups))

    def test_liars(self) -> None:
        """When a third of the nodes lie, each in its own way, the others find what is there all the same."""
        life = Life(Scenario(nodes=120, lookups=60, records=10, minutes=1.25, growth=0.1, liars=0.33))
        outcome = life.play()
        self.assertGreater(sum(not host.honest for host in life.network.hosts), 25)
        self.assertEqual((outcome.failed_announces, outcome.stuck), (0, 0))
        self.assertGreater(outcome.lookups, 50)
        self.assertEqual(outcome.found, outcome.lookups, outcome.holders_of_missed)
        self.assertLess(outcome.requests[1], 150)
        self.assertLess(outcome.seconds[1], 15.0)

    def test_missed(self) -> None:
        """A record that nobody holds is not found, and that is told."""
        life = Life(replace(SMALL, life=0, loss=0))
        life.populate()
        life.schedule(life.network.now)
        life.network.run(life.network.now + 60)
        for host in life.network.hosts:
            host.core.store = None
        life.network.run(life.network.now + 120)
        outcome = life.conclude()
        self.assertEqual((outcome.lookups, outcome.found, outcome.success), (SMALL.lookups, 0, 0.0))
        self.assertEqual(outcome.holders_of_missed, [0] * SMALL.lookups)


class LiarTests(SynchronousTestCase):
    """Each of the lies is one."""

    def test_lies(self) -> None:
        """None of them is the honest answer, and each that can be read names 20 nodes at most."""
        network = grown(30)
        conspiracy = Conspiracy(network)
        liar = network.join(kind=Liar)
        assert isinstance(liar, Liar)
        liar.conspiracy = conspiracy
        network.run(network.now + 10)
        asker, target = network.hosts[0].addresses[SERVER_SOCKET], bytes(range(32))
        request = encode_request(Command.make(False, LOOKUP, target), b"ab", asker, None, None)
        honest = liar.respond(request, asker, SERVER_SOCKET, network.now)
        assert honest is not None
        self.assertEqual(parse_response(honest).id, liar.core.own_id)
        conspiracy.begin()
        for lie in LIES:
            liar.lie = lie
            said = liar.respond(request, asker, SERVER_SOCKET, network.now)
            # The last one is only seen where something was stored.
            self.assertEqual(said == honest, lie is keep_nothing, lie)
            try:
                self.assertLessEqual(len(parse_response(said).closer) if said else 0, 20)
            except MessageError:
                self.assertIs(lie, say_garbage)
        self.assertEqual(conspiracy.lies, len(LIES))

    def test_crowd(self) -> None:
        """Those who are near to an id by its first bits are found at once, at both ends too."""
        addresses = [bytes((10, 0, 0, number, 1, 1)) for number in range(100)]
        crowd = Crowd(addresses)
        ids = sorted(Contact(address).id for address in addresses)
        for target in (bytes(32), b"\xff" * 32, ids[50]):
            self.assertEqual(20, len(set(crowd.near(target))))
        self.assertIn(ids[50], {Contact(address).id for address in crowd.near(ids[50])})
        self.assertEqual(crowd.near(bytes(32)), [Contact(address).address for address in crowd.near(bytes(32))])
        self.assertEqual([], Crowd([]).near(bytes(32)))


class ProgramTests(SynchronousTestCase):
    """What is written about it."""

    def test_options(self) -> None:
        """Everything in a scenario is an option, and the defaults are the large one."""
        self.assertEqual(list(OPTIONS), [item.name for item in fields(Scenario)])
        self.assertEqual(parsed([]), Scenario())
        self.assertEqual(parsed(["--nodes", "7", "--longest-ms", "9.5"]), Scenario(nodes=7, longest_ms=9.5))

    def test_table(self) -> None:
        """The figures are a table in Markdown, even when there are none."""
        outcome = Outcome(nodes=10, datagrams=1000, lookups=200, found=199, holders_of_missed=[3], load=(2.0, 5.0))
        lines = table(Scenario(), outcome, Cost(0.03, 10 * 2**20, 50 * 2**20)).splitlines()
        self.assertTrue(lines[0].startswith("nodes 10000, lookups 30000, "), lines[0])
        self.assertEqual(lines[2:4], ["| figure | |", "| --- | --- |"])
        for line in (
            "| lookups; that found the live record | 200; 199 (99.500%) |",
            "| holders that there were when a lookup missed | 3 |",
            "| busiest node to median | 2.5 |",
            "| memory of a node | 1024.0 KiB |",
            "| CPU time of a datagram | 30.0 us |",
        ):
            self.assertIn(line, lines)
        self.assertIn("| - |", table(Scenario(), replace(outcome, holders_of_missed=[]), Cost(1, 1, 1)))

    def test_quantiles(self) -> None:
        """The median, and what all but one in a hundred are below."""
        self.assertEqual(quantiles([]), (0.0, 0.0))
        self.assertEqual(quantiles([3]), (3, 3))
        self.assertEqual(quantiles(list(range(1000, 0, -1))), (500.5, 991))
