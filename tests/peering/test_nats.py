"""Whole attempts, client and server, through address translations of every kind: ``tests/peering/nat_world.py``."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    DoubleRandomizedError,
    HolepunchAbortedError,
    HolepunchError,
    HolepunchProbeTimeoutError,
    RemoteAbortedError,
)
from tests.peering.nat_world import KINDS, Meeting, NatWorld, PeerHost

RANDOM = {"random", "by-host"}
#: Seconds within which a consistent pair meets, and one with a random side.
SOON, LATE = 1.0, 40.0


def pair(world: NatWorld, server: str, client: str) -> tuple[PeerHost, PeerHost]:
    """:returns: two hosts that have found the network."""
    hosts = world.peer(server), world.peer(client)
    world.run(5)
    return hosts


class MeetingCase(SynchronousTestCase):
    """Two that want to meet."""

    def meet(self, server: str, client: str, seed: int = 1, loss: float = 0.0, **options: object) -> Meeting:
        """:returns: what has come of an attempt."""
        world = NatWorld(seed)
        meeting = Meeting(world, *pair(world, server, client), **options)  # type: ignore[arg-type]
        world.run_until(lambda: meeting.client is not None)
        world.loss = loss
        return self.outcome(world, meeting)

    def outcome(self, world: NatWorld, meeting: Meeting) -> Meeting:
        world.run_until(lambda: meeting.over, 100)
        world.loss = 0.0
        return meeting

    def assertClean(self, meeting: Meeting) -> None:
        """Nothing of the attempt is left: no socket, no timer, no turn."""
        meeting.world.run(30)
        for host in (meeting.client_host, meeting.server_host):
            punches = host.punching.random_punches.under_way
            self.assertEqual((0, 0, 0), (len(host.punching), len(host.schedule), punches))


class NatTests(MeetingCase):
    """Two of all kinds."""

    def test_every_pair(self) -> None:
        """Two meet unless the ports of both are random; where neither's are, it takes a few round trips."""
        for server in KINDS:
            for client in KINDS:
                meeting = self.meet(server, client)
                names = f"{client} to {server}: {meeting.problem!r}"
                if {server, client} <= RANDOM:
                    self.assertIsInstance(meeting.problem, DoubleRandomizedError, names)
                else:
                    self.assertTrue(meeting.connected, names)
                    self.assertLess(meeting.seconds, LATE if {server, client} & RANDOM else SOON, names)
                self.assertClean(meeting)

    def test_at_once(self) -> None:
        """Consistent kinds meet in the first round: the user is not even asked."""
        asked: list[object] = []

        def veto(*arguments: object) -> bool:
            asked.append(arguments)
            return True

        meeting = self.meet("consistent", "mapped", veto=veto, server_options={"veto": veto})
        self.assertEqual((True, []), (meeting.connected, asked))

    def test_without_fast_open(self) -> None:
        """They meet as well where the server is not to send before both know what they are behind."""
        for server, client in (("consistent", "mapped"), ("random", "consistent"), ("mapped", "random")):
            meeting = self.meet(server, client, fast_open=False)
            self.assertTrue(meeting.connected, (server, client))
            if server not in RANDOM and client not in RANDOM:
                self.assertLess(meeting.seconds, 3)

    def test_other_relay(self) -> None:
        """The client's relay need not be one of those that the server tells of; ports at random need its trust."""
        for server, client in (("consistent", "mapped"), ("random", "consistent"), ("mapped", "random")):
            self.assertTrue(self.meet(server, client, relay=2, listed=2).connected, (server, client))
        self.assertTrue(self.meet("consistent", "mapped", relay=6).connected)
        self.assertIsInstance(self.meet("random", "consistent", relay=6).problem, RemoteAbortedError)

    def test_loss(self) -> None:
        """Where every tenth datagram is lost, nearly all meet still."""
        pairs = [("consistent", "consistent"), ("mapped", "cone"), ("random", "mapped"), ("restricted", "by-host")]
        for server, client in pairs:
            meetings = [self.meet(server, client, seed, loss=0.1) for seed in range(12)]
            met = sum(meeting.connected for meeting in meetings)
            problems = [meeting.problem for meeting in meetings if not meeting.connected]
            self.assertGreaterEqual(met, 11, (server, client, problems))
            for meeting in meetings:
                self.assertClean(meeting)

    def test_disorder(self) -> None:
        """Where datagrams arrive twice, and overtake each other, all meet."""
        for server, client in (("consistent", "mapped"), ("random", "cone"), ("mapped", "by-host")):
            world = NatWorld()
            hosts = pair(world, server, client)
            world.delay, world.duplication = (0.01, 0.4), 0.5
            meeting = self.outcome(world, Meeting(world, *hosts))
            self.assertTrue(meeting.connected, (server, client, meeting.problem))
            self.assertClean(meeting)

    def test_nearly_everything_lost(self) -> None:
        """Whatever is lost, it comes to an end, with an error of this kind or none, and leaves nothing."""
        problems = Counter[str]()
        for seed in range(12):
            meeting = self.meet("consistent", "random", seed, loss=0.5)
            problems[type(meeting.problem).__name__] += 1
            if meeting.problem is not None:
                self.assertIsInstance(meeting.problem, HolepunchError)
                self.assertClean(meeting)
        self.assertGreater(len(problems), 1)


class RouterTests(MeetingCase):
    """What routers do besides."""

    def test_remembering(self) -> None:
        """A router that remembers what came too early is no obstacle: what opens our own side does not arrive."""
        for far, connected in ((True, True), (False, False)):
            world = NatWorld()
            server, client = pair(world, "consistent", "mapped")
            for host in (server, client):
                assert host.translation is not None
                host.translation.remembers = True
            world.far = far
            meeting = self.outcome(world, Meeting(world, server, client))
            self.assertEqual(connected, meeting.connected, far)
            self.assertClean(meeting)

    def test_behind_the_same(self) -> None:
        """Two behind the same router meet if it leads one to the other; else it is given up after ten seconds."""
        for hairpin in (True, False):
            world = NatWorld()
            server, client = pair(world, "consistent", "same")
            assert server.translation is not None
            server.translation.hairpin = hairpin
            meeting = self.outcome(world, Meeting(world, server, client))
            self.assertEqual(hairpin, meeting.connected)
            if not hairpin:
                self.assertIsInstance(meeting.problem, HolepunchAbortedError)
                self.assertGreater(meeting.seconds, 9)
            self.assertClean(meeting)


class RefusalTests(MeetingCase):
    """Somebody does not want to, or can't."""

    def test_client_veto(self) -> None:
        """Where the client's user does not let it punch, the server is told."""
        meeting = self.meet("random", "consistent", veto=lambda *_: False)
        self.assertIsInstance(meeting.problem, HolepunchAbortedError)
        self.assertTrue(meeting.server_aborted)
        self.assertClean(meeting)

    def test_server_veto(self) -> None:
        """Where the server's user does not, the client is."""
        meeting = self.meet("random", "consistent", server_options={"veto": lambda *_: False})
        self.assertIsInstance(meeting.problem, RemoteAbortedError)
        self.assertTrue(meeting.server_aborted)
        self.assertClean(meeting)

    def test_few_nodes(self) -> None:
        """Where too few nodes are there to tell what anybody is behind, it is not tried for long."""
        world = NatWorld(nodes=2)
        meeting = self.outcome(world, Meeting(world, *pair(world, "mapped", "mapped"), announced=2))
        self.assertIsInstance(meeting.problem, RemoteAbortedError | HolepunchProbeTimeoutError)
        self.assertClean(meeting)

    def test_no_socket(self) -> None:
        """Where there is no socket, there is an error."""
        world = NatWorld()
        server, client = pair(world, "mapped", "mapped")
        client.max_sockets = 0
        meeting = self.outcome(world, Meeting(world, server, client))
        self.assertIsInstance(meeting.problem, HolepunchAbortedError)
        self.assertClean(meeting)

    def test_server_gone(self) -> None:
        """A server that does not answer is given up."""
        world = NatWorld()
        server, client = pair(world, "mapped", "mapped")
        meeting = Meeting(world, server, client)
        world.run_until(lambda: meeting.client is not None)
        world.unplug(server)
        self.outcome(world, meeting)
        self.assertIsInstance(meeting.problem, HolepunchAbortedError)
        self.assertLess(meeting.seconds, 7)
        self.assertClean(meeting)

    def test_suspended(self) -> None:
        """A node that goes to sleep gives it up, with that as the reason."""
        world = NatWorld()
        server, client = pair(world, "mapped", "mapped")
        meeting = Meeting(world, server, client)
        world.run_until(lambda: meeting.client is not None)
        client.core.suspend(world.now)
        self.assertEqual("suspended", meeting.problem and meeting.problem.code)


class TurnTests(MeetingCase):
    """Random ports are punched through for one at a time."""

    def test_client_busy(self) -> None:
        """A client that punches through others already gives up, unless there is a relay."""
        world = NatWorld()
        server, client = pair(world, "random", "consistent")
        client.punching.random_punches.begin()
        meeting = self.outcome(world, Meeting(world, server, client))
        self.assertIsInstance(meeting.problem, HolepunchAbortedError)
        self.assertEqual(1, client.punching.random_punches.under_way)

    def test_client_waits(self) -> None:
        """With a relay it waits for its turn; the server is patient."""
        world = NatWorld()
        server, client = pair(world, "random", "consistent")
        client.punching.random_punches.begin()
        meeting = Meeting(world, server, client, relayed=True, server_options={"relayed": True})
        meeting.server.wait_longer()
        world.run(15)
        self.assertFalse(meeting.over)
        client.punching.random_punches.end(world.now)
        self.outcome(world, meeting)
        self.assertTrue(meeting.connected, meeting.problem)
        self.assertGreater(meeting.seconds, 20)
        self.assertClean(meeting)

    def test_server_busy(self) -> None:
        """A server that punches through others already says so; without a relay that is the end."""
        world = NatWorld()
        server, client = pair(world, "random", "consistent")
        server.punching.random_punches.begin()
        meeting = self.outcome(world, Meeting(world, server, client))
        self.assertIsInstance(meeting.problem, RemoteAbortedError)
        self.assertTrue(meeting.server_aborted)

    def test_server_waits(self) -> None:
        """With a relay the client tries again later."""
        world = NatWorld()
        server, client = pair(world, "consistent", "random")
        server.punching.random_punches.begin()
        meeting = Meeting(world, server, client, relayed=True, server_options={"relayed": True})
        world.run(5)
        self.assertFalse(meeting.over)
        server.punching.random_punches.end(world.now - 20)
        self.outcome(world, meeting)
        self.assertTrue(meeting.connected, meeting.problem)
        self.assertGreater(meeting.seconds, 10)
        self.assertClean(meeting)
