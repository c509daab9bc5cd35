"""Tests of spaceswarm_proxy.dht.tokens."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import keyed_hash32
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.tokens import ROTATION, Tokens
from tests.dht.vectors import vectors

SECRETS = vectors("tokens")["secrets"]
#: Seconds of a drain of the reference's, in which the vectors count.
DRAIN = 0.75
HOST = address_of("127.0.0.1", 4001)


def fresh(now: float = 0.0) -> Tokens:
    """Tokens with the secrets of the vectors."""
    return Tokens(bytes.fromhex(SECRETS["secret0"]), bytes.fromhex(SECRETS["secret1"]), now)


#: Eighths of seconds, so that sums are exact.
times = st.integers(0, 8 * 60).map(lambda eighths: eighths / 8)


class VectorTests(SynchronousTestCase):
    """Tokens as JavaScript issues them."""

    def test_tokens(self) -> None:
        """They are the same, of the secret that is issued with and of the one before; both are accepted."""
        for row in vectors("tokens")["tokens"]:
            tokens, address, token = fresh(), address_of(row["host"], 1), bytes.fromhex(row["token"])
            self.assertEqual(tokens.issue(address, 0.0) == token, row["key"] == SECRETS["secret1"], row["name"])
            self.assertTrue(tokens.accepts(token, address, 0.0), row["name"])
            self.assertFalse(tokens.accepts(token, address_of("9.9.9.9", 1), 0.0), row["name"])

    def test_rotation(self) -> None:
        """The secrets change when and how they do there, watched all the time or found so later."""
        watched = fresh()
        for row in vectors("tokens")["rotation"]:
            secrets = bytes.fromhex(row["secret0"]), bytes.fromhex(row["secret1"])
            now = row["drain_ticks"] * DRAIN
            self.assertEqual(watched.issue(HOST, now), keyed_hash32(secrets[1], b"127.0.0.1"))
            self.assertEqual(watched.secrets, secrets, row["drain_ticks"])


class LifetimeTests(SynchronousTestCase):
    """How long a token is good."""

    @settings(deadline=None, max_examples=150)
    @given(times, times, st.lists(times, max_size=6), st.integers(1, 0xFFFF))
    def test_bounds(self, issued: float, later: float, asked: list[float], port: int) -> None:
        """It is accepted for 7.5 seconds, from any port, and not after 15, whoever asks in between."""
        tokens = fresh()
        token = tokens.issue(HOST, issued)
        for now in sorted(issued + wait for wait in asked if wait <= later):
            tokens.issue(address_of("10.0.0.1", 1), now)
        accepted = tokens.accepts(token, address_of("127.0.0.1", port), issued + later)
        if later <= ROTATION:
            self.assertTrue(accepted)
        if later >= 2 * ROTATION:
            self.assertFalse(accepted)

    def test_both_bounds(self) -> None:
        """One issued just before a change is good for hardly more than 7.5 seconds, one from just after for 15."""
        for issued, until in ((7.375, 15.0), (7.5, 22.5)):
            for now, good in ((until - 0.125, True), (until, False)):
                tokens = fresh()
                self.assertEqual(tokens.accepts(tokens.issue(HOST, issued), HOST, now), good)

    @settings(deadline=None, max_examples=60)
    @given(times, st.lists(times, max_size=8))
    def test_missed_rotations(self, now: float, asked: list[float]) -> None:
        """Changes come at multiples of 7.5 seconds, even if nobody asks at the time."""
        tokens = fresh()
        for earlier in sorted(time for time in asked if time <= now):
            tokens.issue(HOST, earlier)
        start = now // ROTATION * ROTATION
        token = tokens.issue(HOST, now)
        self.assertEqual(tokens.issue(HOST, start + ROTATION - 0.125), token)
        self.assertNotEqual(tokens.issue(HOST, start + ROTATION), token)
        self.assertTrue(tokens.accepts(token, HOST, start + 2 * ROTATION - 0.125))
        self.assertFalse(tokens.accepts(token, HOST, start + 2 * ROTATION))

    def test_long_silence(self) -> None:
        """After years nothing from before is accepted, and it takes no longer to find that out."""
        tokens = fresh()
        old = [tokens.issue(HOST, 0.0), keyed_hash32(tokens.secrets[0], b"127.0.0.1")]
        for now in (15.0, 1e9):
            for token in old:
                self.assertFalse(tokens.accepts(token, HOST, now))
            old.append(tokens.issue(HOST, now))

    def test_garbage(self) -> None:
        """What was never a token is none."""
        for token in (b"", bytes(32), fresh().issue(HOST, 0.0)[:-1], fresh().issue(HOST, 0.0) + b"\x00"):
            self.assertFalse(fresh().accepts(token, HOST, 0.0))


class CacheTests(SynchronousTestCase):
    """Tokens that are remembered."""

    def test_bound(self) -> None:
        """Of any number of hosts only so many are remembered, and no token is another one for that."""
        tokens = fresh()
        hosts = [number.to_bytes(4, "big") + b"\x01\x00" for number in range(10000)]
        issued = {}
        for host in hosts:
            issued[host] = tokens.issue(host, 0.0)
            self.assertLessEqual(len(tokens._cache), 4096)
        self.assertEqual(len(set(issued.values())), len(hosts))
        for host in hosts[::100]:
            self.assertEqual(tokens.issue(host, 1.0), issued[host])

    def test_rotate(self) -> None:
        """A change by hand voids what is remembered too."""
        tokens = fresh()
        first = tokens.issue(HOST, 0.0)
        tokens.rotate()
        self.assertNotEqual(tokens.issue(HOST, 0.0), first)
        self.assertTrue(tokens.accepts(first, HOST, 0.0))
        tokens.rotate()
        self.assertFalse(tokens.accepts(first, HOST, 0.0))
