"""Tests of ``spaceswarm_proxy.swarm.relaying``, through a swarm."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    CannotHolepunchError,
    ConnectError,
    DoubleRandomizedError,
    HolepunchAbortedError,
    HolepunchProbeTimeoutError,
    NotSupportedError,
    PeerNotFoundError,
    RemoteNotHolepunchableError,
)
from spaceswarm_proxy.swarm.retry import BEAT
from tests.swarm.fake import FakePeeringNetwork, Scene, key, keyed

PEER = keyed(1)
RELAY, OTHER_RELAY = key(7), key(8)
#: How long a peer waits that was never connected and has failed once.
MEDIUM = 2 * BEAT * 5 + 0.001


class RelayCase(SynchronousTestCase):
    """A swarm that has been told of relays."""

    def setUp(self) -> None:
        self.network = FakePeeringNetwork()

    def scene(self, relay_through: Any, **options: Any) -> Scene:
        scene = Scene(network=self.network, relay_through=relay_through, **options)
        scene.join()
        return scene

    def fail(self, scene: Scene, problem: ConnectError) -> None:  # type: ignore[override]
        """The attempt fails, and its next one is made."""
        self.network.attempts[0].fail(problem)
        scene.advance(MEDIUM)


class ValueTests(RelayCase):
    """Relays for those who need one."""

    def test_not_needed(self) -> None:
        """At first, no relay is used."""
        scene = self.scene(RELAY)
        scene.lookup.find(PEER)
        self.assertEqual(([()], ()), (self.network.relays, self.network.relay_rule()))

    def test_randomized(self) -> None:
        """While our own ports are at random, everybody needs one, peers who connect to us too."""
        self.network.randomized = True
        scene = self.scene([RELAY, OTHER_RELAY])
        scene.lookup.find(PEER)
        both = (RELAY, OTHER_RELAY)
        self.assertEqual(([both], both), (self.network.relays, self.network.relay_rule()))

    def test_no_hole(self) -> None:
        """A peer to whom no hole could be punched is tried again soon, and this time with a relay."""
        for error in (CannotHolepunchError, DoubleRandomizedError, HolepunchAbortedError, RemoteNotHolepunchableError):
            self.setUp()
            scene = self.scene(RELAY)
            scene.lookup.find(PEER)
            info = scene.swarm.peers[PEER.id]
            info.attempts = 2
            self.fail(scene, error())
            self.assertEqual(([(), (RELAY,)], True), (self.network.relays, info.force_relaying), error)
            self.assertEqual((1, ()), (info.attempts, self.network.relay_rule()))

    def test_other_problems(self) -> None:
        """Whatever else goes wrong has nothing to do with relays."""
        for error in (HolepunchProbeTimeoutError, PeerNotFoundError):
            self.setUp()
            scene = self.scene(RELAY)
            scene.lookup.find(PEER)
            self.fail(scene, error())
            self.assertEqual(self.network.relays, [(), ()])

    def test_stays_so(self) -> None:
        """Such a peer goes on to need one, also when it is found anew."""
        scene = self.scene(RELAY)
        scene.lookup.find(PEER)
        self.fail(scene, CannotHolepunchError())
        transport = self.network.attempt_to(PEER).open()
        transport.end()
        scene.swarm.peers[PEER.id].reset()
        scene.advance(MEDIUM)
        self.assertEqual(self.network.relays, [(), (RELAY,), (RELAY,)])


class RuleTests(RelayCase):
    """The user's own rule."""

    def test_rule(self) -> None:
        """It is asked for every connection, whether a relay is needed or not, and may name one, several, or none."""
        asked: list[bool] = []
        answers = iter((None, RELAY, [RELAY, OTHER_RELAY]))
        scene = self.scene(lambda force: asked.append(force) or next(answers))
        scene.lookup.find(PEER)
        self.fail(scene, CannotHolepunchError())
        self.assertEqual(self.network.relays, [(), (RELAY,)])
        self.assertEqual(self.network.relay_rule(), (RELAY, OTHER_RELAY))
        self.assertEqual(asked, [False, True, False])

    def test_broken(self) -> None:
        """One that fails, or names what is no key, is logged; there is no relay then, and that is all."""
        for rule, error in ((lambda force: 1 / 0, ZeroDivisionError), (lambda force: [b"short"], ValueError)):
            self.setUp()
            scene = self.scene(rule)
            scene.lookup.find(PEER)
            self.assertEqual(self.network.relays, [()])
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)


class WithoutTests(RelayCase):
    """No word of relays."""

    def test_left_to_the_network(self) -> None:
        """Then it is the network's own settings that hold, whatever fails."""
        scene = self.scene(None)
        scene.lookup.find(PEER)
        info = scene.swarm.peers[PEER.id]
        self.fail(scene, CannotHolepunchError())
        self.assertEqual(([None, None], None), (self.network.relays, self.network.relay_rule))
        self.assertFalse(info.force_relaying)

    def test_not_supported(self) -> None:
        """A network that leaves no choice says so at once, and what is no key is a mistake."""
        self.assertRaises(NotSupportedError, Scene, relay_through=RELAY)
        self.assertRaises(ValueError, self.scene, b"short")
