"""Asking nodes what they see: :mod:`spaceswarm_proxy.peering.sampling`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import parse_request
from spaceswarm_proxy.dht.table import Entry
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.sampling import Sampling
from tests.dht.world import Alone

SOCKET = 7
OURS = address_of("1.1.1.1", 1)


def node(number: int) -> bytes:
    return address_of(f"10.0.0.{number}", 49737)


class SamplingTests(SynchronousTestCase):
    """A node that knows some others, the one with the highest number heard last."""

    def setUp(self) -> None:
        self.alone = Alone()
        self.alone.core.upkeep.next_tick = float("inf")
        self.ended: list[float] = []

    def sampling(self, known: int) -> Sampling:
        for number in range(1, known + 1):
            self.alone.core.table.add(Entry(contact_at(node(number)), self.alone.now - 1000 + number))
        self.alone.take_sent()
        sampling = Sampling(self.alone.core, SOCKET, self.ended.append)
        sampling.begin(self.alone.now)
        return sampling

    def asked(self) -> list[int]:
        """Whom it has asked since the last call, by their numbers; all with a PING from its socket."""
        self.requests = self.alone.take_sent()
        for socket, _, data in self.requests:
            request = parse_request(data)
            self.assertEqual((SOCKET, True, PING, None), (socket, request.internal, request.command, request.id))
        return [address[3] for _, address, _ in self.requests]

    def answer(self, *places: int, to: bytes = OURS) -> None:
        for place in places:
            self.alone.answer(self.requests[place], to=to)

    def test_few(self) -> None:
        """Where few are known, the four that were heard last are asked."""
        self.sampling(7)
        self.assertEqual([7, 6, 5, 4], self.asked())

    def test_many(self) -> None:
        """Where many are, those that have just been heard come last."""
        self.sampling(12)
        self.assertEqual([7, 6, 5, 4], self.asked())

    def test_postponed(self) -> None:
        """They are asked where there are not enough others."""
        self.sampling(8)
        self.assertEqual([3, 2, 1, 8], self.asked())
        self.alone.run(1)
        self.assertEqual([7, 6, 5, 4], self.asked())

    def test_verdict(self) -> None:
        """It ends with the verdict, and what still comes is taken all the same."""
        sampling = self.sampling(7)
        self.asked()
        self.answer(0, 1)
        self.assertEqual([], self.ended)
        self.answer(2)
        self.assertEqual([self.alone.now], self.ended)
        self.answer(3, to=address_of("1.1.1.1", 2))
        self.assertEqual((Firewall.CONSISTENT, 4), (sampling.samples.firewall, len(sampling.samples)))
        self.alone.run(5)
        self.assertEqual(([], 1), (self.asked(), len(self.ended)))

    def test_silence(self) -> None:
        """Those who do not answer are replaced once; nobody is asked twice."""
        sampling = self.sampling(12)
        self.assertEqual([7, 6, 5, 4], self.asked())
        self.answer(1)
        self.alone.run(1)
        # Number 6 is among those that have just been heard now, and number 8 is not any more.
        self.assertEqual([8, 3, 2], self.asked())
        self.alone.run(1)
        self.assertEqual(([], 1), (self.asked(), len(self.ended)))
        self.assertTrue(sampling.done)
        self.assertEqual(Firewall.UNKNOWN, sampling.samples.firewall)

    def test_nobody(self) -> None:
        """Who knows nobody ends at once, with nothing."""
        sampling = self.sampling(0)
        self.assertEqual((True, [self.alone.now]), (sampling.done, self.ended))

    def test_open(self) -> None:
        """Behind no firewall the first sample is enough."""
        self.alone.core.firewalled = False
        sampling = self.sampling(7)
        self.asked()
        self.answer(0)
        self.assertEqual((Firewall.OPEN, (OURS,)), (sampling.samples.firewall, sampling.samples.addresses))
        self.assertEqual([self.alone.now], self.ended)

    def test_others(self) -> None:
        """What others say who were not asked counts, too."""
        sampling = self.sampling(0)
        for number in range(3):
            sampling.add(OURS, node(number), self.alone.now)
        self.assertEqual((Firewall.CONSISTENT, 1), (sampling.samples.firewall, len(self.ended)))

    def test_stop(self) -> None:
        """Once it is stopped no answer counts, and the end is not told."""
        sampling = self.sampling(7)
        self.asked()
        sampling.stop()
        self.answer(0, 1, 2)
        self.alone.run(5)
        self.assertEqual((0, [], []), (len(sampling.samples), self.ended, self.asked()))

    def test_suspended(self) -> None:
        """A node that asks nobody ends it at once."""
        self.alone.core.suspend(self.alone.now)
        self.assertTrue(self.sampling(12).done)
        self.assertEqual(1, len(self.ended))
