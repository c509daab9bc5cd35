"""Punching: :mod:`spaceswarm_proxy.peering.puncher` and :mod:`spaceswarm_proxy.peering.punching`."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import HOST_LENGTH, address_of
from spaceswarm_proxy.peering import puncher as module
from spaceswarm_proxy.peering.holepunch_payload import HolepunchPayload
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.puncher import (
    BIRTHDAY_SOCKETS,
    LOW_TTL,
    MAX_ANSWERS,
    MAX_REOPENS,
    MAX_WAITING,
    PROBES,
    ROUNDS,
    Puncher,
)
from tests.peering.bench import THEIRS, Bench

UNKNOWN, OPEN, CONSISTENT, RANDOM = Firewall
OTHER = address_of("3.3.3.3", 3)
ANY_PORT = address_of("2.2.2.2", 0)


class PuncherCase(SynchronousTestCase):
    """One of them on a bench."""

    def setUp(self) -> None:
        self.bench = Bench()

    def judged(self, ours: Firewall, initiator: bool = True, remote: Firewall = UNKNOWN) -> Puncher:
        """:returns: one that knows its own side."""
        self.bench.alone.core.firewalled = ours != OPEN
        puncher = self.bench.puncher(initiator, remote)
        self.bench.sample(puncher, ours)
        self.assertEqual(ours, puncher.firewall)
        return puncher

    def meet(self, puncher: Puncher, firewall: Firewall, *addresses: bytes, verified: bytes | None = None) -> None:
        """The other side tells of itself."""
        payload = HolepunchPayload(firewall=firewall, punching=True, addresses=addresses or None)
        puncher.update_remote(payload, verified)


class RemoteTests(PuncherCase):
    """What is known of the other side."""

    def test_verified(self) -> None:
        """An address is verified by its host, and stays so as long as the host is named."""
        puncher = self.bench.puncher()
        self.meet(puncher, CONSISTENT, THEIRS[0], OTHER)
        self.assertEqual([(THEIRS[0], False), (OTHER, False)], list(puncher.remote_addresses))
        self.meet(puncher, CONSISTENT, THEIRS[1], OTHER, verified=THEIRS[5])
        self.assertEqual([(THEIRS[1], True), (OTHER, False)], list(puncher.remote_addresses))
        self.meet(puncher, CONSISTENT, THEIRS[2])
        self.assertEqual([(THEIRS[2], True)], list(puncher.remote_addresses))
        self.meet(puncher, CONSISTENT, OTHER)
        self.meet(puncher, CONSISTENT, THEIRS[2])
        self.assertEqual([(THEIRS[2], False)], list(puncher.remote_addresses))
        self.assertEqual((CONSISTENT, True), (puncher.remote_firewall, puncher.remote_punching))

    def test_veto(self) -> None:
        """The user is told what both sides are, and where."""
        asked = []
        puncher = self.judged(RANDOM)
        self.meet(puncher, CONSISTENT, THEIRS[0], OTHER)

        def veto(*arguments: object) -> bool:
            asked.append(arguments)
            return len(asked) > 1

        self.assertFalse(puncher.approved_by(veto))
        self.assertTrue(puncher.approved_by(veto))
        any_port = address_of("1.1.1.1", 0)
        self.assertEqual((CONSISTENT, RANDOM, (THEIRS[0], OTHER), (any_port,)), asked[0])


class AnalysisTests(PuncherCase):
    """Waiting for what our own side is."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[bool] = []

    def analyze(self, puncher: Puncher, reopen: bool = False) -> None:
        puncher.analyze(reopen, lambda stable, now: self.told.append(stable), self.bench.now)

    def test_waits(self) -> None:
        """The verdict is told as soon as it is there, to all who wait."""
        self.bench.know_somebody()
        puncher = self.bench.puncher()
        self.analyze(puncher)
        self.analyze(puncher)
        self.assertEqual([], self.told)
        self.bench.sample(puncher, CONSISTENT)
        self.assertEqual([True, True], self.told)
        self.analyze(puncher)
        self.assertEqual([True, True, True], self.told)

    def test_unstable(self) -> None:
        """It makes no sense where nothing is known, or both are random."""
        for ours, theirs, stable in (
            (UNKNOWN, CONSISTENT, False),
            (RANDOM, RANDOM, False),
            (RANDOM, CONSISTENT, True),
            (RANDOM, UNKNOWN, True),
            (CONSISTENT, RANDOM, True),
        ):
            self.told.clear()
            self.analyze(self.judged(ours, remote=theirs))
            self.assertEqual([stable], self.told, (ours, theirs))

    def test_reopen(self) -> None:
        """Other sockets are tried, three at most, and the ones before are closed."""
        self.bench.know_somebody()
        puncher = self.bench.puncher()
        first = puncher.socket
        self.bench.run(1)
        self.analyze(puncher, reopen=True)
        self.assertEqual([first + 1], self.bench.sockets)
        self.bench.sample(puncher, CONSISTENT)
        self.assertEqual(([True], first + 1), (self.told, puncher.socket))

    def test_reopen_in_vain(self) -> None:
        """Where none helps, that is told."""
        self.bench.know_somebody()
        puncher = self.bench.puncher()
        first = puncher.socket
        self.analyze(puncher, reopen=True)
        self.bench.run(1.0 * (1 + MAX_REOPENS) - 0.1)
        self.assertEqual([], self.told)
        self.bench.run(0.1)
        self.assertEqual([False], self.told)
        self.assertEqual([first + MAX_REOPENS], self.bench.sockets)
        self.analyze(puncher, reopen=True)
        self.assertEqual([False, False], self.told)

    def test_no_socket_to_reopen(self) -> None:
        """Where there are no more sockets, the one that is there has to do."""
        self.bench = Bench(max_sockets=1)
        puncher = self.bench.puncher()
        self.analyze(puncher, reopen=True)
        self.assertEqual(([False], [puncher.socket]), (self.told, self.bench.sockets))

    def test_closed(self) -> None:
        """Who is closed tells nobody; and those told first may close it."""
        self.bench.know_somebody()
        puncher = self.bench.puncher()
        puncher.analyze(False, lambda stable, now: puncher.close(now), self.bench.now)
        self.analyze(puncher)
        self.bench.sample(puncher, CONSISTENT)
        self.analyze(puncher)
        self.bench.run(10)
        self.assertEqual(([], []), (self.told, self.bench.sockets))

    def test_bounded(self) -> None:
        """However often the other side asks, so many wait."""
        self.bench.know_somebody()
        puncher = self.bench.puncher()
        for _ in range(10 * MAX_WAITING):
            self.analyze(puncher)
        self.bench.sample(puncher, CONSISTENT)
        self.assertEqual(MAX_WAITING, len(self.told))


class ConsistentTests(PuncherCase):
    """Both sides keep their ports."""

    def test_client(self) -> None:
        """Ten rounds, a second apart, at once; then it is given up, and all is closed."""
        puncher = self.judged(CONSISTENT)
        self.meet(puncher, CONSISTENT, THEIRS[0], THEIRS[1], verified=THEIRS[0])
        began, socket = self.bench.now, puncher.socket
        self.assertTrue(puncher.punch(began))
        self.assertTrue(puncher.punching)
        self.bench.run(ROUNDS - 0.5)
        expected = [(began + time, socket, to, 0) for time in range(ROUNDS) for to in THEIRS[:2]]
        self.assertEqual(expected, self.bench.punches)
        self.assertEqual((0, False), (self.bench.aborted, puncher.closed))
        self.bench.run(0.5)
        self.assertEqual((1, True, []), (self.bench.aborted, puncher.closed, self.bench.sockets))
        self.bench.run(10)
        self.assertEqual((1, 2 * ROUNDS), (self.bench.aborted, len(self.bench.punches)))

    def test_server(self) -> None:
        """A server waits a second: it may have sent a punch message a moment ago."""
        puncher = self.judged(CONSISTENT, initiator=False)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        began = self.bench.now
        self.assertTrue(puncher.punch(began))
        self.bench.run(60)
        self.assertEqual([began + time for time in range(1, 1 + ROUNDS)], [when for when, *_ in self.bench.punches])

    def test_unverified(self) -> None:
        """Who has not proved to be there gets little."""
        puncher = self.judged(CONSISTENT)
        self.meet(puncher, OPEN, THEIRS[0], OTHER)
        began = self.bench.now
        self.assertTrue(puncher.punch(began))
        self.bench.run(60)
        times = [(when - began, address) for when, _, address, _ in self.bench.punches]
        self.assertEqual([(3, THEIRS[0]), (3, OTHER), (7, THEIRS[0]), (7, OTHER)], times)

    def test_news(self) -> None:
        """What the other side tells meanwhile is taken into account, and nothing is sent to port 0."""
        puncher = self.judged(OPEN)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        puncher.punch(self.bench.now)
        self.bench.run(1.5)
        self.meet(puncher, CONSISTENT, THEIRS[1], ANY_PORT)
        self.bench.run(60)
        sent = Counter(address for _, _, address, _ in self.bench.punches)
        self.assertEqual({THEIRS[0]: 2, THEIRS[1]: ROUNDS - 2}, sent)

    def test_once(self) -> None:
        """To be asked again changes nothing."""
        puncher = self.judged(CONSISTENT)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        for _ in range(5):
            self.assertTrue(puncher.punch(self.bench.now))
        self.bench.run(60)
        self.assertEqual((ROUNDS, 1), (len(self.bench.punches), self.bench.aborted))


class RandomTests(PuncherCase):
    """One side has another port for every destination."""

    def test_theirs(self) -> None:
        """Theirs: for half a minute, ports of their host are tried."""
        puncher = self.judged(CONSISTENT)
        self.meet(puncher, RANDOM, ANY_PORT, verified=THEIRS[0])
        began = self.bench.now
        self.assertTrue(puncher.punch(began))
        self.assertFalse(self.bench.punching.random_punches.allowed(self.bench.now))
        self.bench.run(60)
        self.assertEqual((PROBES, 1), (len(self.bench.punches), self.bench.aborted))
        self.assertEqual({(puncher.socket, 0)}, {(socket, ttl) for _, socket, _, ttl in self.bench.punches})
        self.assertEqual({THEIRS[0][:HOST_LENGTH]}, {address[:HOST_LENGTH] for _, _, address, _ in self.bench.punches})
        ports = {int.from_bytes(address[HOST_LENGTH:], "little") for _, _, address, _ in self.bench.punches}
        self.assertGreater(len(ports), PROBES * 0.9)
        self.assertGreaterEqual(min(ports), module.FIRST_PORT)
        self.assertAlmostEqual(35 - 0.02, self.bench.punches[-1][0] - began)
        self.assertTrue(self.bench.punching.random_punches.allowed(self.bench.now))

    def test_ours(self) -> None:
        """Ours: many sockets open their translation, and send in turn, at first not far."""
        puncher = self.judged(RANDOM)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        began = self.bench.now
        self.assertTrue(puncher.punch(began))
        sockets = list(self.bench.sockets)
        self.assertEqual(BIRTHDAY_SOCKETS, len(sockets))
        self.assertEqual([(began, each, THEIRS[0], LOW_TTL) for each in sockets[1:]], self.bench.punches)
        self.bench.punches.clear()
        self.bench.run(60)
        self.assertEqual((PROBES, 1, []), (len(self.bench.punches), self.bench.aborted, self.bench.sockets))
        self.assertEqual(sockets, [socket for _, socket, _, ttl in self.bench.punches if ttl])
        self.assertEqual(
            sockets, [socket for _, socket, _, _ in self.bench.punches[BIRTHDAY_SOCKETS:][:BIRTHDAY_SOCKETS]]
        )
        self.assertEqual({THEIRS[0]}, {address for _, _, address, _ in self.bench.punches})
        self.assertAlmostEqual(0.1, self.bench.punches[0][0] - began)

    def test_few_sockets(self) -> None:
        """Where there can't be so many, there are fewer."""
        self.bench = Bench(max_sockets=10)
        puncher = self.judged(RANDOM)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        self.assertTrue(puncher.punch(self.bench.now))
        self.bench.run(60)
        self.assertEqual((9 + PROBES, 1), (len(self.bench.punches), self.bench.aborted))

    def test_impossible(self) -> None:
        """It takes an address, a verified one where ports are random, and at most one random side."""
        for ours, theirs, addresses, verified in (
            (RANDOM, RANDOM, THEIRS[:1], THEIRS[0]),
            (RANDOM, CONSISTENT, THEIRS[:1], None),
            (CONSISTENT, RANDOM, THEIRS[:1], OTHER),
            (CONSISTENT, CONSISTENT, [], THEIRS[0]),
            (UNKNOWN, CONSISTENT, THEIRS[:1], THEIRS[0]),
            (CONSISTENT, UNKNOWN, THEIRS[:1], THEIRS[0]),
        ):
            puncher = self.judged(ours)
            self.meet(puncher, theirs, *addresses, verified=verified)
            self.assertFalse(puncher.punch(self.bench.now), (ours, theirs))
            self.assertFalse(puncher.punching)
            puncher.close(self.bench.now)
        self.bench.run(60)
        self.assertEqual(
            ([], 0, 0), (self.bench.punches, self.bench.aborted, self.bench.punching.random_punches.under_way)
        )


class ArrivalTests(PuncherCase):
    """Something comes through."""

    def arrive(self, socket: int, source: bytes) -> bool:
        return self.bench.punching.received(source, socket, self.bench.now)

    def test_client(self) -> None:
        """The first one is taken: it stops, keeps that socket, and closes the others."""
        puncher = self.judged(RANDOM)
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        puncher.punch(self.bench.now)
        self.bench.run(1)
        chosen, sent = self.bench.sockets[100], len(self.bench.punches)
        self.assertTrue(self.arrive(chosen, THEIRS[0]))
        self.assertEqual([(chosen, THEIRS[0])], self.bench.connected)
        self.assertEqual(([chosen], chosen), (self.bench.sockets, puncher.socket))
        self.arrive(chosen, THEIRS[1])
        self.bench.run(60)
        self.assertEqual((1, sent, 0), (len(self.bench.connected), len(self.bench.punches), self.bench.aborted))
        self.assertEqual(0, self.bench.punching.random_punches.under_way)
        puncher.abort(self.bench.now)
        self.assertEqual(([], 0), (self.bench.sockets, self.bench.aborted))

    def test_before_punching(self) -> None:
        """It may be connected before it has punched; it does not any more then."""
        puncher = self.judged(CONSISTENT)
        self.arrive(puncher.socket, THEIRS[0])
        self.meet(puncher, CONSISTENT, THEIRS[0], verified=THEIRS[0])
        self.assertTrue(puncher.connected)
        self.assertFalse(puncher.punch(self.bench.now))

    def test_server(self) -> None:
        """A server answers, from the same socket, and is not connected by that; so often."""
        puncher = self.judged(CONSISTENT, initiator=False)
        self.arrive(puncher.socket, THEIRS[3])
        self.assertEqual([(self.bench.now, puncher.socket, THEIRS[3], 0)], self.bench.punches)
        for _ in range(2 * MAX_ANSWERS):
            self.arrive(puncher.socket, THEIRS[3])
        self.assertEqual((MAX_ANSWERS, False), (len(self.bench.punches), puncher.connected))

    def test_nobody(self) -> None:
        """On a socket that nobody punches with it is nobody's."""
        puncher = self.bench.puncher()
        self.assertFalse(self.arrive(puncher.socket + 1, THEIRS[0]))
        socket = puncher.socket
        puncher.close(self.bench.now)
        self.assertFalse(self.arrive(socket, THEIRS[0]))
        self.assertEqual([], self.bench.connected)

    def test_sending(self) -> None:
        """One that is to arrive has the usual TTL, one that is to open our own side a low one."""
        puncher = self.bench.puncher()
        puncher.ping(THEIRS[0])
        puncher.open_session(THEIRS[0])
        puncher.open_session(ANY_PORT)
        now, socket = self.bench.now, puncher.socket
        self.assertEqual([(now, socket, THEIRS[0], 0), (now, socket, THEIRS[0], LOW_TTL)], self.bench.punches)


class EndTests(PuncherCase):
    """It is over."""

    def test_abort(self) -> None:
        """Giving up is told once, and nothing goes on."""
        puncher = self.judged(CONSISTENT)
        self.meet(puncher, RANDOM, ANY_PORT, verified=THEIRS[0])
        puncher.punch(self.bench.now)
        puncher.abort(self.bench.now)
        puncher.abort(self.bench.now)
        puncher.close(self.bench.now)
        self.bench.run(60)
        self.assertEqual((1, []), (self.bench.aborted, self.bench.sockets))
        self.assertEqual((0, None), (self.bench.punching.random_punches.under_way, self.bench.schedule.next_deadline()))

    def test_close(self) -> None:
        """Closing is told to nobody."""
        puncher = self.judged(CONSISTENT)
        puncher.close(self.bench.now)
        puncher.close(self.bench.now)
        puncher.abort(self.bench.now)
        self.assertFalse(puncher.punch(self.bench.now))
        self.assertEqual((0, [], 0), (self.bench.aborted, self.bench.sockets, len(self.bench.punching)))

    def test_no_socket(self) -> None:
        """Where there is no socket, there is no puncher."""
        self.bench = Bench(max_sockets=0)
        self.assertRaises(OSError, self.bench.puncher)
