"""How many strangers a server has to do with: :mod:`spaceswarm_proxy.peering.admission`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.admission import MAX_HOSTS, Admission, AdmissionLimits

ONE, OTHER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
NOW = 100.0


def admission(**limits: float) -> Admission:
    """One with limits so high that only those that are named count."""
    generous = dict(
        max_pending=10**6, max_pending_of_host=10**6, rate_of_host=10**6, burst_of_host=10**6, rate=10**6, burst=10**6
    )
    return Admission(AdmissionLimits(**{**generous, **limits}), NOW)


def host(number: int) -> bytes:
    return number.to_bytes(4, "big")


class AdmissionTests(SynchronousTestCase):
    """Who may begin a handshake."""

    def test_pending(self) -> None:
        """Only so many are pending, of one host and of all; one that is settled makes room."""
        some = admission(max_pending=3, max_pending_of_host=2)
        self.assertEqual([True, True, False], [some.admit(ONE, NOW) for _ in range(3)])
        self.assertEqual([True, False], [some.admit(OTHER, NOW) for _ in range(2)])
        self.assertEqual((3, 2), (some.pending, some.refused))
        some.settled(ONE)
        self.assertEqual([True, False], [some.admit(OTHER, NOW) for _ in range(2)])

    def test_rate_of_host(self) -> None:
        """A host has a burst, and then so many in a second; others are not touched by that."""
        some = admission(rate_of_host=2, burst_of_host=5)
        self.assertEqual(5, sum(some.admit(ONE, NOW) for _ in range(20)))
        self.assertTrue(some.admit(OTHER, NOW))
        self.assertEqual(2, sum(some.admit(ONE, NOW + 1) for _ in range(20)))
        self.assertEqual(5, sum(some.admit(ONE, NOW + 100) for _ in range(20)))

    def test_rate_of_all(self) -> None:
        """However many hosts there are, all together have a burst and a rate as well."""
        some = admission(rate=3, burst=10)
        self.assertEqual(10, sum(some.admit(host(number), NOW) for number in range(100)))
        self.assertEqual(3, sum(some.admit(host(number), NOW + 1) for number in range(100)))

    def test_refusal_is_free(self) -> None:
        """Whoever is refused for one reason has not used up anything of another."""
        some = admission(max_pending=1, rate_of_host=0, burst_of_host=2)
        self.assertEqual([True, False, False], [some.admit(ONE, NOW) for _ in range(3)])
        some.settled(ONE)
        self.assertTrue(some.admit(ONE, NOW))

    def test_heard(self) -> None:
        """Whoever was heard has not used up anything of its host, but of what there is for all."""
        some = admission(rate_of_host=0, burst_of_host=2, rate=0, burst=10)
        for _ in range(10):
            self.assertTrue(some.admit(ONE, NOW))
            some.settled(ONE, heard=True)
        self.assertFalse(some.admit(OTHER, NOW))
        some = admission(rate_of_host=0, burst_of_host=2)
        for _ in range(5):
            some.admit(ONE, NOW)
            some.settled(ONE, heard=True)
        self.assertEqual([True, True, False], [some.admit(ONE, NOW) for _ in range(3)])

    def test_many_hosts(self) -> None:
        """However many hosts come, only so many are told apart."""
        some = admission()
        for number in range(2 * MAX_HOSTS):
            some.admit(host(number), NOW)
            some.settled(host(number))
        self.assertEqual((MAX_HOSTS, 0), (len(some._hosts), len(some._pending_of_host)))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5))))
    def test_never_more(self, steps: list[tuple[int, float]]) -> None:
        """In no time are more admitted than the burst and the rate allow."""
        some, now, admitted = admission(rate=2, burst=4), NOW, 0
        for number, pause in steps:
            now += pause
            admitted += some.admit(host(number), now)
            self.assertLessEqual(admitted, 4 + 2 * (now - NOW) + 1e-6)
        self.assertEqual(admitted, some.pending)
