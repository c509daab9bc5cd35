"""Tests of spaceswarm_proxy.dht.query among real nodes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import ADDRESSES
from spaceswarm_proxy.dht.commands import DOWN_HINT
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Request, encode_response, parse_request
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.dht.upkeep import MAX_HINTS
from tests.dht.walk import TARGET
from tests.dht.world import Host, Outcome, World


class WorldTests(SynchronousTestCase):
    """Queries among real nodes."""

    def test_true_nearest(self) -> None:
        """Among 300 nodes the very nearest are found, by asking a fraction of them; of a node that begins with one."""
        world = World()
        hosts = world.population(300)
        asker = world.host(ephemeral=True, bootstrap=(hosts[0].address,))
        world.run(5)
        for _ in range(5):
            self.find(world, asker, hosts, world.chance.randbytes(32))

    def find(self, world: World, asker: Host, hosts: list[Host], target: bytes) -> None:
        result = Outcome()
        query = asker.begin(asker.operations.find_node(target, result.found, result.ended))
        world.run_until(lambda: result.over)
        origin = int.from_bytes(target, "big")
        nearest = sorted((contact_at(host.address) for host in hosts), key=lambda contact: contact.number ^ origin)
        self.assertEqual(query.closest_addresses, [contact.address for contact in nearest[:K]])
        self.assertEqual(len(result.replies), query.successes)
        self.assertLess(query.asked, 80)

    def test_loss(self) -> None:
        """
        Nearly all of them are found though every fifth datagram is lost, some come twice, and some overtake others;
        those that were too slow are not waited for when there are twenty.
        """
        world = World()
        hosts = world.population(60)
        world.loss, world.duplication, world.delay = 0.2, 0.2, (0.01, 0.9)
        asker = world.host(ephemeral=True)
        result = Outcome()
        query = asker.begin(asker.operations.find_node(TARGET, result.found, result.ended))
        world.run_until(lambda: result.over)
        nearest = sorted((host.address for host in hosts), key=lambda address: contact_at(address).id)
        self.assertEqual(len(query.closest), K)
        self.assertGreater(len(set(query.closest_addresses) & set(nearest[:K])), K * 0.8)

    def assertNothingLeft(self, host: Host) -> None:
        self.assertEqual((host.core.requests.under_way, host.core.queries), (0, set()))

    def test_dead_nodes(self) -> None:
        """Where a third is dead, the nearest of the living are found, and those who told of the dead forget them."""
        world = World()
        hosts = world.population(45)
        dead, alive = hosts[:15], hosts[15:]
        world.unplug(*dead)
        asker = world.host(ephemeral=True, bootstrap=(alive[0].address,))
        world.run(30)
        result = Outcome()
        query = asker.begin(asker.operations.find_node(TARGET, result.found, result.ended))
        world.run_until(lambda: result.over)
        nearest = sorted((host.address for host in alive), key=lambda address: contact_at(address).id)
        self.assertEqual(query.closest_addresses, nearest[:K])
        self.assertEqual(set(asker.core.table.entries) & {host.address for host in dead}, set())
        before = sum(len(host.core.table) for host in alive)
        world.run(30)
        self.assertLess(sum(len(host.core.table) for host in alive), before)

    def test_hints_are_bounded(self) -> None:
        """In one tick no more hints go out than a node may send, however many dead nodes it is told of."""
        world = World()
        asker = world.host(ephemeral=True, bootstrap=())
        liars = [address_of("10.8.0.1", port) for port in range(1, 9)]
        dead = [address_of("10.8.0.2", port) for port in range(1, 21)]

        def lie(data: bytes, source: bytes) -> list[bytes]:
            request = parse_request(data)
            if request.command == DOWN_HINT:
                hints.add(request)
                return []
            closer = ADDRESSES.build(dead)
            return [encode_response(request.tid, source, None, None, closer, 0, None)]

        hints: set[Request] = set()
        world.strangers.update(dict.fromkeys(liars, lie))
        result = Outcome()
        asker.begin(asker.operations.find_node(TARGET, result.found, result.ended), liars)
        world.run_until(lambda: result.over)
        self.assertEqual(len(hints), MAX_HINTS)

    def test_cancel(self) -> None:
        """A query that is cancelled on its way leaves no request behind."""
        world = World()
        world.population(40)
        asker = world.host(ephemeral=True)
        world.run(5)
        for number in range(30):
            result = Outcome()
            query = asker.begin(asker.operations.find_node(world.chance.randbytes(32), result.found, result.ended))
            world.run(0.005 * number)
            query.cancel()
            self.assertNothingLeft(asker)
            self.assertFalse(result.over and not query.ended)
