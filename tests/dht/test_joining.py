"""
Tests of spaceswarm_proxy.dht.joining: finding the network, and finding out who one is in it.

What has to be so for a node to be reachable is in ``test_joining_probe.py``.
"""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.dht.contact import contact_at
from spaceswarm_proxy.dht.core import LEFT_OUT
from spaceswarm_proxy.dht.joining import MAX_RETRY, MORE_STABLE, STABLE
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.upkeep import TICK
from tests.dht.walk import NODES
from tests.dht.world import Host, World


class JoiningTestCase(SynchronousTestCase):
    """Somebody comes to a small network."""

    def setUp(self) -> None:
        self.world = World()
        self.nodes = self.world.population(8)

    def assertPersistent(self, host: Host) -> None:
        """It tells its id, which is that of its address, and others know it."""
        core = host.core
        self.assertEqual((core.ephemeral, core.firewalled, core.told_id), (False, False, contact_at(host.address).id))
        self.assertEqual(core.own_id, core.told_id)
        self.assertIsNotNone(core.store)
        self.assertEqual(core.reachable_address, host.address)
        self.assertTrue(any(host.address in node.core.table.entries for node in self.nodes))

    def assertEphemeral(self, host: Host) -> None:
        """It tells no id, and is in nobody's table."""
        core = host.core
        self.assertEqual((core.ephemeral, core.told_id, core.store), (True, None, None))
        for node in self.nodes:
            self.assertEqual(set(host.addresses.values()) & set(node.core.table.entries), set())


class FindingTests(JoiningTestCase):
    """Looking for the network."""

    def test_nobody_to_find(self) -> None:
        """Where there is nobody to begin with, a node is ready at once, and nothing is wrong."""
        host = World().host(bootstrap=())
        self.assertEqual(host.reports, ["ready"])
        host.world.run(600)
        self.assertEqual(host.reports, ["ready"])

    def test_found(self) -> None:
        """A node that finds the network is ready when it has looked around, and knows others then."""
        host = self.world.host(ephemeral=True)
        self.assertEqual(host.reports, [])
        self.world.run_until(lambda: "ready" in host.reports, 2)
        self.assertEqual(len(host.core.table), 8)

    def test_nobody_answers(self) -> None:
        """When nobody answers a node is ready all the same, says that once, and tries again, less and less often."""
        self.world.unplug(*self.nodes)
        host = self.world.host()
        reports: list[tuple[str, float]] = []
        host.core.report = lambda name: reports.append((name, self.world.now))
        self.world.run(600)
        names = [name for name, _ in reports if name in ("ready", "unreachable", "reachable")]
        self.assertEqual(names, ["unreachable", "ready"])
        tried = [when for name, when in reports if name == "beginnings_wanted"]
        # Each look takes six seconds, and a few more when something else is looked for at the same time.
        waits = [later - earlier - 6 for earlier, later in pairwise(tried)]
        self.assertTrue(all(1 <= wait <= MAX_RETRY + 6 for wait in waits), waits)
        self.assertLess(waits[0], 3)
        self.assertGreater(min(waits[5:]), MAX_RETRY / 2 - 0.001)

    def test_network_comes(self) -> None:
        """When the network comes it is found within half a minute, and that is said once."""
        self.world.unplug(*self.nodes)
        host = self.world.host(ephemeral=True)
        self.world.run(300)
        host.reports.clear()
        self.world.plug_in(*self.nodes)
        self.world.run(30)
        self.assertEqual([name for name in host.reports if name.endswith("reachable")], ["reachable"])
        self.world.run(600)
        self.assertEqual(len(host.core.table), 8)
        self.assertEqual([name for name in host.reports if name.endswith("reachable")], ["reachable"])

    def test_known_from_before(self) -> None:
        """A node finds the network by those that it knew before, without any bootstrap node."""
        host = self.world.host(bootstrap=(), ephemeral=True, start=False)
        host.core.start(self.world.now, [NODES[0], self.nodes[3].address, self.nodes[4].address])
        self.world.run(10)
        self.assertEqual(set(host.core.table.entries), {node.address for node in self.nodes})

    def test_too_much_under_way(self) -> None:
        """A node that can send nothing, as too much is under way, tries again."""
        with mock.patch.object(requests, "MAX_REQUESTS", 0):
            host = self.world.host(ephemeral=True)
            self.world.run(60)
        self.assertEqual(len(host.core.table), 0)
        self.world.run(30)
        self.assertEqual(len(host.core.table), 8)


class ForcedTests(JoiningTestCase):
    """Nodes that were told to be persistent."""

    def test_public_host(self) -> None:
        """A bootstrap node, which knows its address, is persistent at once, with nobody to tell it."""
        host = World().host(public=True)
        self.assertEqual(host.reports, ["nat_changed", "persistent", "ready"])
        self.assertEqual((host.core.told_id, host.core.ephemeral), (contact_at(host.address).id, False))

    def test_open(self) -> None:
        """One that says that it can be reached is persistent as soon as somebody has told it its address."""
        host = self.world.host(ephemeral=False, firewalled=False)
        self.world.run_until(lambda: "ready" in host.reports, 3)
        self.assertPersistent(host)
        self.assertEqual(len(host.core.table), 8)

    def test_probed(self) -> None:
        """One that does not say so finds out before it is ready."""
        host = self.world.host(ephemeral=False)
        self.world.run_until(lambda: "ready" in host.reports, 3)
        self.assertPersistent(host)

    def test_behind_nat(self) -> None:
        """One that nobody can reach stays ephemeral, however long it tries."""
        host = self.world.host(ephemeral=False, behind_nat=True)
        self.world.run(1800)
        self.assertIn("ready", host.reports)
        self.assertEphemeral(host)
        self.assertTrue(host.core.firewalled)

    def test_later(self) -> None:
        """One that finds nobody at first is persistent within a minute or so of the network's coming."""
        self.world.unplug(*self.nodes)
        host = self.world.host(ephemeral=False)
        self.world.run(100)
        self.assertEphemeral(host)
        self.world.plug_in(*self.nodes)
        self.world.run(80)
        self.assertPersistent(host)


class AdaptiveTests(JoiningTestCase):
    """Nodes that find out by themselves."""

    def test_open(self) -> None:
        """Who can be reached is persistent after twenty minutes, and not before."""
        host = self.world.host()
        self.world.run(STABLE - 1)
        self.assertEphemeral(host)
        self.world.run(2 * TICK + 1)
        self.assertPersistent(host)
        self.assertEqual(host.reports.count("persistent"), 1)

    def test_behind_nat(self) -> None:
        """Who cannot be reached is not, in hours."""
        host = self.world.host(behind_nat=True)
        self.world.run(STABLE + MORE_STABLE + 60)
        self.assertEphemeral(host)
        self.assertTrue(host.core.firewalled)
        self.assertIsNone(host.core.reachable_address)

    def test_told_to_be_ephemeral(self) -> None:
        """Who was told to be ephemeral stays so, though it can be reached."""
        host = self.world.host(ephemeral=True)
        self.world.run(STABLE + 60)
        self.assertEphemeral(host)

    def test_slept(self) -> None:
        """After a sleep it may be somewhere else: it is ephemeral, and persistent again after an hour."""
        host = self.world.host()
        self.world.run(STABLE + 60)
        self.assertPersistent(host)
        table = set(host.core.table.entries)
        host.reports.clear()
        self.world.leap(3600)
        self.world.run(TICK)
        self.assertEqual([name for name in host.reports if name != "nat_changed"], ["ephemeral", "wakeup"])
        self.assertEqual((host.core.ephemeral, host.core.told_id, set(host.core.table.entries)), (True, None, table))
        self.world.run(MORE_STABLE - 60)
        self.assertTrue(host.core.ephemeral)
        self.world.run(120)
        self.assertPersistent(host)

    def test_forced_slept(self) -> None:
        """A node that was told to be persistent is so after a sleep too."""
        host = self.world.host(ephemeral=False)
        self.world.run(10)
        self.world.leap(3600)
        self.world.run(60)
        self.assertPersistent(host)


class MovingTests(JoiningTestCase):
    """Machines that are carried to another network."""

    def setUp(self) -> None:
        # As many as it takes to be sure of another address.
        self.world = World()
        self.nodes = self.world.population(20)

    def test_open(self) -> None:
        """Where it can be reached, it is the node of its new address in minutes, if it is told that it has moved."""
        for firewalled, minutes in ((False, 2), (True, 8)):
            host = self.world.host(ephemeral=False, firewalled=firewalled)
            self.world.run(60)
            self.world.move(host)
            host.core.moved(self.world.now)
            self.world.run(60 * minutes)
            self.assertPersistent(host)

    def test_not_told(self) -> None:
        """If it is not, that takes longer: until enough others have told it their view anew."""
        host = self.world.host(ephemeral=False)
        self.world.run(60)
        self.world.move(host)
        self.world.run_until(lambda: host.core.told_id == contact_at(host.address).id, 3600)
        self.world.run(60)
        self.assertPersistent(host)

    def move_behind_nat(self, *hosts: Host) -> None:
        for host in hosts:
            self.assertPersistent(host)
            self.world.move(host)
            host.behind_nat = True

    def assertUnreachable(self, *hosts: Host) -> None:
        for host in hosts:
            self.assertEphemeral(host)
            self.assertEqual((host.core.firewalled, host.core.reachable_address), (True, None))

    def test_behind_nat(self) -> None:
        """Where nobody can reach it any more, it is ephemeral as soon as it knows of the move, and stays so."""
        adaptive, forced = self.world.host(), self.world.host(ephemeral=False)
        self.world.run(STABLE + 60)
        self.move_behind_nat(adaptive, forced)
        for host in (adaptive, forced):
            host.core.moved(self.world.now)
        self.world.run(1200)
        self.assertUnreachable(adaptive, forced)

    def test_asleep_behind_nat(self) -> None:
        """So it is when it was asleep on the way, and takes its time before it looks whether it can be reached."""
        JoiningTestCase.setUp(self)
        host = self.world.host()
        self.world.run(STABLE + 60)
        self.move_behind_nat(host)
        self.world.leap(7200)
        self.world.run(MORE_STABLE + 300)
        self.assertUnreachable(host)


class FirewallTests(JoiningTestCase):
    """Who can be reached where others see it?"""

    def test_quick(self) -> None:
        """Whoever answers first is asked to reach us; if it does, requests leave from the server socket, with no id."""
        host = self.world.host()
        self.assertEqual(host.core.request_socket, CLIENT_SOCKET)
        self.world.run(3)
        self.assertEqual((host.core.firewalled, host.core.request_socket), (False, SERVER_SOCKET))
        self.assertEqual(host.core.own_id, contact_at(host.address).id)
        self.assertEphemeral(host)

    def test_quick_behind_nat(self) -> None:
        """If it cannot, nothing changes, and the node is ready without waiting for it."""
        host = self.world.host(behind_nat=True)
        self.world.run_until(lambda: "ready" in host.reports, 2)
        self.world.run(60)
        self.assertEqual((host.core.firewalled, host.core.request_socket), (True, CLIENT_SOCKET))


class DownTests(JoiningTestCase):
    """Bootstrap nodes that are down."""

    def host(self, *bootstrap: Host) -> Host:
        """A node that begins with these, and has looked around."""
        host = self.world.host(ephemeral=True, bootstrap=tuple(node.address for node in bootstrap))
        self.world.run_until(lambda: "ready" in host.reports)
        return host

    def test_one_is_down(self) -> None:
        """It is waited for once, and then left in peace for a while; queries take no time."""
        down = self.world.host(ephemeral=False)
        self.world.unplug(down)
        host = self.host(down, self.nodes[0])
        begun, ends = self.world.now, list[float]()
        self.assertEqual([self.nodes[0].address], list(host.core.beginnings(begun)))
        host.begin(host.core.find_node(bytes(32), on_end=lambda problem, now: ends.append(now)))
        self.world.run_until(lambda: bool(ends))
        self.assertLess(ends[0] - begun, requests.TIMEOUT)
        later = host.core.beginnings(begun + LEFT_OUT)
        self.assertEqual([down.address, self.nodes[0].address], list(later))

    def test_all_are_down(self) -> None:
        """Then there is nobody else to begin with."""
        host = self.host(self.nodes[0])
        self.world.unplug(self.nodes[0])
        host.begin(host.core.find_node(bytes(32)))
        self.world.run(20)
        self.assertEqual([self.nodes[0].address], list(host.core.beginnings(self.world.now)))


class RestartTests(JoiningTestCase):
    """A network's first node, again."""

    def setUp(self) -> None:
        self.world = World()
        self.first = self.world.host(public=True)
        self.nodes = [self.first]
        for _ in range(7):
            self.nodes.append(self.world.host(ephemeral=False))
            self.world.run(3)

    def test_restart(self) -> None:
        """
        The bootstrap node of a network, which begins with nobody, forgets everything: the others find it again, and it
        them, and newcomers get in by it.
        """
        self.world.run(60)
        self.first.boot()
        self.first.start()
        self.assertEqual(len(self.first.core.table), 0)
        self.world.run(300)
        self.assertEqual(len(self.first.core.table), 7)
        newcomer = self.world.host(ephemeral=False, bootstrap=(self.first.address,))
        self.world.run(10)
        self.assertPersistent(newcomer)
        self.assertEqual(len(newcomer.core.table), 8)

    def test_long_gone(self) -> None:
        """It is found again even when the others have dropped it long ago, as they begin with it when they wonder."""
        self.world.unplug(self.first)
        self.world.run(900)
        for node in self.nodes[1:]:
            self.assertNotIn(self.first.address, node.core.table.entries)
        self.first.boot()
        self.world.plug_in(self.first)
        self.first.start()
        self.world.run(900)
        self.assertEqual(len(self.first.core.table), 7)
