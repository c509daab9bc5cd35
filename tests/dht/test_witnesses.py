"""Whose word on our address is taken: :mod:`spaceswarm_proxy.dht.witnesses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.witnesses import MOST_HOSTS, MOST_OF_HOST, STALE, Witnesses

NOW = 1000.0


class WitnessesTests(SynchronousTestCase):
    """Whom it believes, and how often."""

    def setUp(self) -> None:
        self.witnesses = Witnesses(2)

    def believed(self, host: str, now: float, ports: int = 20) -> int:
        """How many of a host's nodes are believed."""
        return sum(self.witnesses.believes(address_of(host, port), now) for port in range(1, ports + 1))

    def test_host(self) -> None:
        """A host is believed a few times, whatever its ports, and as often again after a while."""
        self.assertEqual(MOST_OF_HOST, self.believed("10.0.0.1", NOW))
        self.assertEqual(0, self.believed("10.0.0.1", NOW + STALE - 1))
        self.assertEqual(MOST_OF_HOST, self.believed("10.0.0.2", NOW + STALE - 1))
        self.assertEqual(MOST_OF_HOST, self.believed("10.0.0.1", NOW + STALE))

    def test_bound(self) -> None:
        """No more hosts are remembered than so many: the one that was heard least recently goes."""
        for number in range(3 * MOST_HOSTS):
            self.believed(f"10.0.{number >> 8}.{number & 255}", NOW, 1)
            self.believed("10.1.0.0", NOW, 1)
        self.assertEqual(MOST_HOSTS, len(self.witnesses))
        self.assertEqual(0, self.believed("10.1.0.0", NOW))
        self.assertEqual(MOST_OF_HOST, self.believed("10.0.0.0", NOW))

    def test_unnamed(self) -> None:
        """Of those who do not tell their id the first ones are believed, once each."""
        addresses = [address_of("10.0.0.1", port) for port in (1, 1, 2, 3)]
        self.assertEqual([True, False, True, False], [*map(self.witnesses.believes_unnamed, addresses)])
        self.assertFalse(Witnesses(0).believes_unnamed(address_of("150.136.142.116", 1)))
        self.assertTrue(Witnesses(0).believes_unnamed(addresses[0]))

    def test_forget(self) -> None:
        """What is forgotten is news again: the hosts alone, or everybody."""
        unnamed = [address_of("10.0.0.9", port) for port in (1, 2)]
        for forget, again in ((self.witnesses.forget_hosts, False), (self.witnesses.forget, True)):
            self.believed("10.0.0.1", NOW)
            for address in unnamed:
                self.witnesses.believes_unnamed(address)
            forget()
            self.assertEqual(MOST_OF_HOST, self.believed("10.0.0.1", NOW))
            self.assertEqual(again, self.witnesses.believes_unnamed(unnamed[0]))
