"""What samples say of an address translation: :mod:`spaceswarm_proxy.peering.samples`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.samples import ENOUGH, MOST, NatSamples

#: Of one host, of another.
A, B, C, D, E = (address_of("1.1.1.1", port) for port in range(1, 6))
X, Y = (address_of("2.2.2.2", port) for port in (1, 2))
ANY_A = address_of("1.1.1.1", 0)


def responder(number: int) -> bytes:
    return address_of("9.9.9.9", 1 + number)


def samples_of(*addresses: bytes, firewalled: bool = True) -> NatSamples:
    """What as many nodes say."""
    samples = NatSamples(lambda: firewalled)
    for number, address in enumerate(addresses):
        samples.add(address, responder(number))
    return samples


class VerdictTests(SynchronousTestCase):
    """From samples to a verdict."""

    def test_table(self) -> None:
        """Whatever three, four and five nodes may say means what the reference takes it for."""
        unknown, consistent, random = Firewall.UNKNOWN, Firewall.CONSISTENT, Firewall.RANDOM
        for addresses, verdict in (
            ((), unknown),
            ((A, A), unknown),
            ((A, A, A), consistent),
            ((A, B, A, A), consistent),
            ((A, B, C), random),
            ((A, B, X), random),
            ((A, A, B), unknown),
            ((A, A, X), unknown),
            ((A, A, B, C), random),
            ((A, A, B, B), random),
            ((A, A, X, X), consistent),
            ((A, X, A, X), consistent),
            ((A, A, X, Y), unknown),
            ((A, A, X, Y, B), random),
            ((A, A, X, B, X), consistent),
            ((A, B, C, A, A), consistent),
        ):
            self.assertEqual(verdict, samples_of(*addresses).firewall, addresses)

    def test_analysed(self) -> None:
        """It is analysed when it is consistent, or there are four samples, whatever they say."""
        for addresses, analysed in (((A, A), False), ((A, A, A), True), ((A, B, C), False), ((A, A, X, Y), True)):
            self.assertEqual(analysed, samples_of(*addresses).analysed, addresses)
        self.assertTrue(samples_of(firewalled=False).analysed)

    def test_once(self) -> None:
        """Who says the same again, or something else, counts once."""
        samples = NatSamples(lambda: True)
        for _ in range(5):
            samples.add(A, responder(1))
        samples.add(B, responder(1))
        self.assertEqual((1, Firewall.UNKNOWN), (len(samples), samples.firewall))

    def test_open(self) -> None:
        """Behind no firewall it is open, from the first sample on, until the node finds out that it is not so."""
        firewalled = False
        samples = NatSamples(lambda: firewalled)
        self.assertEqual((Firewall.OPEN, None), (samples.firewall, samples.addresses))
        samples.add(A, responder(1))
        self.assertEqual((Firewall.OPEN, (A,)), (samples.firewall, samples.addresses))
        firewalled = True
        samples.add(A, responder(2))
        self.assertEqual(Firewall.UNKNOWN, samples.firewall)
        samples.add(A, responder(3))
        self.assertEqual(Firewall.CONSISTENT, samples.firewall)

    def test_frozen(self) -> None:
        """What was told to the other side stays so."""
        samples = samples_of(A, A, A)
        samples.freeze()
        for number, address in enumerate((B, C, D, E), 3):
            samples.add(address, responder(number))
        self.assertEqual((Firewall.CONSISTENT, (A,)), (samples.firewall, samples.addresses))

    def test_bounded(self) -> None:
        """However many there are, so many are kept."""
        samples = samples_of(*(address_of("1.1.1.1", 1 + port) for port in range(10 * MOST)))
        self.assertEqual(MOST, len(samples))


class AddressTests(SynchronousTestCase):
    """What is published."""

    def test_published(self) -> None:
        """The host alone where ports are random; else what was seen twice, and two at least if there are two."""
        for addresses, published in (
            ((A, A), None),
            ((A, B, C), (ANY_A,)),
            ((X, A, B), (ANY_A,)),
            ((A, A, A), (A,)),
            ((B, A, A, A), (A, B)),
            ((A, A, A, B, C), (A, B)),
            ((A, A, X, X), (A, X)),
            ((A, A, A, B, B, X, X), (A, B, X)),
        ):
            self.assertEqual(published, samples_of(*addresses).addresses, addresses)

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([A, B, C, D, E, X, Y]), max_size=12), st.booleans())
    def test_anything(self, addresses: list[bytes], firewalled: bool) -> None:
        """Whatever is said, what is published was seen, or its host was; and with five there is a verdict."""
        samples = samples_of(*addresses, firewalled=firewalled)
        hosts = {address[:4] for address in addresses}
        self.assertLessEqual({address[:4] for address in samples.addresses or ()}, hosts)
        if samples.firewall == Firewall.CONSISTENT:
            self.assertLessEqual(set(samples.addresses or ()), set(addresses))
        if len(addresses) > ENOUGH:
            self.assertNotEqual(Firewall.UNKNOWN, samples.firewall)
