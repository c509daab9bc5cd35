"""Keepers that are slow, away, or lie, and attempts that end meanwhile: :mod:`spaceswarm_proxy.network.sealed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectTimeoutError,
    HandshakeInvalidError,
    LinkLostError,
    PeerUnreachableError,
    SpaceswarmError,
)
from spaceswarm_proxy.network.sealed import TIMEOUT
from tests.keepers import FakeKeeper
from tests.network.sealed_world import SealedTestCase


class StagesTestCase(SealedTestCase):
    """What keepers are asked for, one after the other."""

    def stages(self) -> list[tuple[FakeKeeper, str]]:
        """Whom, and what."""
        near, far = self.near_keeper, self.far_keeper
        asked = [(near, "write"), (far, "read"), (far, "write"), (near, "read")]
        return [(keeper, what) for keeper, what in asked if keeper in self.keepers]


class KeeperTests(StagesTestCase):
    """Keepers that are slow, away, or lie."""

    def test_asked_in_turn(self) -> None:
        """Each side is asked for a message, and to read one; nobody for anything else."""
        self.connected()
        for keeper in self.keepers:
            self.assertEqual([what for each, what in self.stages() if each is keeper], keeper.asked)

    def test_slow(self) -> None:
        """Answers may take their time, but not for ever."""
        for delay, opens in ((0.2 * TIMEOUT, True), (TIMEOUT, False)):
            for keeper in self.keepers:
                keeper.delay = delay
            attempt = self.connect()
            self.clock.pump([delay] * 4)
            self.turns()
            if opens:
                self.successResultOf(attempt).transport.abortConnection()
                self.turns()
                self.listening.addresses.clear()
                self.connecting.addresses.clear()
            else:
                self.fails(ConnectTimeoutError, attempt)
        self.clock.pump([TIMEOUT] * 4)  # what comes too late means nothing

    def test_silent(self) -> None:
        """Where there is no answer, the attempt is given up in the end."""
        for keeper, what in self.stages():
            keeper.silent = {what}
            attempt = self.connect()
            self.clock.advance(TIMEOUT - 0.1)
            self.assertNoResult(attempt)
            self.clock.advance(0.1)
            self.fails(ConnectTimeoutError, attempt)
            keeper.silent = set()

    def test_away(self) -> None:
        """A keeper that can't be reached fails the attempt; the reason is there to be seen."""
        for keeper, what in self.stages():
            keeper.failing = {what: LinkLostError()}
            problem = self.fails(PeerUnreachableError)
            self.assertIsInstance(problem.__cause__, LinkLostError)
            keeper.failing = {}

    def test_away_from_the_beginning(self) -> None:
        """So does one that takes no handshake at all."""
        for keeper in self.keepers:

            def refuse(*arguments: Any) -> Any:
                raise LinkLostError()

            with_handshakes, keeper.handshake = keeper.handshake, refuse  # type: ignore[method-assign]
            self.fails(PeerUnreachableError)
            keeper.handshake = with_handshakes  # type: ignore[method-assign]

    def test_fails(self) -> None:
        """One that fails with what it should not is logged, once."""
        for keeper, what in self.stages():
            keeper.failing = {what: ZeroDivisionError()}
            self.fails(PeerUnreachableError)
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
            keeper.failing = {}

    def test_wrong_messages(self) -> None:
        """Whatever a keeper says instead of its message, the attempt fails, and nothing else."""
        for keeper, what in self.stages():
            if what == "write":
                for said in (b"", bytes(48), bytes(96), bytes(1024)):
                    keeper.lies = {what: lambda truth, said=said: said}  # type: ignore[misc]
                    self.fails(HandshakeInvalidError)
                keeper.lies = {}

    def test_endless_message(self) -> None:
        """One that is far too long is not even passed on to the other side's keeper."""
        for keeper, other in ((self.near_keeper, self.far_keeper), (self.far_keeper, self.near_keeper)):
            if keeper in self.keepers:
                keeper.lies = {"write": lambda truth: bytes(1025)}
                self.fails(HandshakeInvalidError)
                self.assertNotIn("read", other.asked)
                keeper.lies = {}

    def test_payloads(self) -> None:
        """What a keeper says to have read in a message is of no interest."""
        for keeper in self.keepers:
            keeper.lies = {"read": lambda truth: b"something else"}
        self.connected()

    def test_somebody_else(self) -> None:
        """A keeper that has another key than it says comes to nothing."""
        for keeper in self.keepers:
            true, keeper._own = keeper._own, FakeKeeper()._own
            self.fails(HandshakeInvalidError)
            keeper._own = true

    def test_lies_about_the_outcome(self) -> None:
        """A keeper must have keys in the end, of this handshake and with this peer."""
        other = KeyPair.generate().public_key
        lies: list[tuple[str, Callable[[Any], Any]]] = [
            ("remote_public_key", lambda truth: None),
            ("remote_public_key", lambda truth: other),
            ("keys", lambda truth: None),
            ("keys", lambda truth: truth._replace(hash=bytes(64))),
            ("keys", lambda truth: truth._replace(remote_public_key=other)),
        ]
        for keeper in self.keepers:
            for attribute, lie in lies:
                self.lie(keeper, {attribute: lie})
                self.fails(HandshakeInvalidError)
            self.lie(keeper, {})

    def lie(self, keeper: FakeKeeper, lies: dict[str, Callable[[Any], Any]]) -> None:
        """From now on that is what is said of its handshakes."""

        def asked(what: str) -> None:
            keeper.handshakes[len(keeper.handshakes)].lies = lies

        keeper.when_asked = asked


class SealedToPlainKeeperTests(KeeperTests):
    """The same, where only who connects is sealed."""

    far_sealed = False


class PlainToSealedKeeperTests(KeeperTests):
    """The same, where only who listens is sealed."""

    near_sealed = False


class AnyMessageTests(SynchronousTestCase):
    """Messages are checked, all of them."""

    @settings(max_examples=60, deadline=None)
    @given(st.booleans(), st.integers(0, 95), st.integers(1, 255), st.sampled_from(["changed", "cut", "longer"]))
    def test_any_wrong_message(self, by_near: bool, place: int, change: int, how: str) -> None:
        """Not one byte of a message can be changed, left out or added by the keeper of either side."""
        world = SealedTestCase()
        world.setUp()

        def lie(truth: bytes) -> bytes:
            at = place % len(truth)
            if how == "cut":
                return truth[:at]
            if how == "longer":
                return truth[:at] + bytes([change]) + truth[at:]
            return truth[:at] + bytes([truth[at] ^ change]) + truth[at + 1 :]

        keeper = world.near_keeper if by_near else world.far_keeper
        keeper.lies = {"write": lie}
        world.fails(HandshakeInvalidError)
        world.nothing_left()


class GivenUpTests(StagesTestCase):
    """Attempts that end while a keeper is being asked."""

    def ends_with(self, kind: type[SpaceswarmError], end: Callable[[Any], object]) -> None:
        """Whoever is being asked for whatever, the attempt, which ``end`` is given, fails with this."""
        for number in range(len(self.stages())):
            self.begin()
            keeper, what = self.stages()[number]
            keeper.silent = {what}
            attempt = self.connect()
            self.assertNoResult(attempt)
            end(attempt)
            self.fails(kind, attempt)

    def ends_from_inside_with(self, kind: type[SpaceswarmError], end: Callable[[], object]) -> None:
        """The same when it happens in the very call that asks."""
        for number in range(len(self.stages())):
            self.begin()
            keeper, what = self.stages()[number]
            keeper.when_asked = lambda asked, what=what: asked == what and end()  # type: ignore[misc]
            self.fails(kind)

    def test_cancelled(self) -> None:
        """The caller may cancel it."""
        self.ends_with(ConnectCancelledError, lambda attempt: attempt.cancel())

    def test_own_network_closed(self) -> None:
        """The network that connects may be closed."""
        self.ends_with(ClosedError, lambda _: self.near.close())
        self.ends_from_inside_with(ClosedError, lambda: self.near.close())

    def test_peer_closed(self) -> None:
        """Or that of the peer."""
        self.ends_with(PeerUnreachableError, lambda _: self.far.close())
        self.ends_from_inside_with(PeerUnreachableError, lambda: self.far.close())

    def test_suspended(self) -> None:
        """Or either is suspended."""
        self.ends_with(PeerUnreachableError, lambda _: self.near.suspend())
        self.ends_with(PeerUnreachableError, lambda _: self.far.suspend())
        self.ends_from_inside_with(PeerUnreachableError, lambda: self.near.suspend())
        self.ends_from_inside_with(PeerUnreachableError, lambda: self.far.suspend())

    def test_stopped_listening(self) -> None:
        """Or the peer listens no more."""
        self.ends_with(PeerUnreachableError, lambda _: self.port.stopListening())
        self.ends_from_inside_with(PeerUnreachableError, lambda: self.port.stopListening())


class SealedToPlainGivenUpTests(GivenUpTests):
    """The same, where only who connects is sealed."""

    far_sealed = False


class PlainToSealedGivenUpTests(GivenUpTests):
    """The same, where only who listens is sealed."""

    near_sealed = False
