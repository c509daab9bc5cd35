"""Tests for ``spaceswarm_proxy.proxy.introduction``: how a client tells its server who it is, and what it keeps."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair, verify
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.errors import LinkError, NotSupportedError
from spaceswarm_proxy.proxy.features import ALL, Feature
from spaceswarm_proxy.proxy.introduction import MAX_LABEL, MAX_LABELS
from spaceswarm_proxy.proxy.wire import EventType
from tests.keepers import FakeKeeper
from tests.proxy.client_world import ClientWorld
from tests.proxy.sealed_client_world import CHALLENGE, OWN, SEALED, SealedClientWorld
from tests.proxy.world import CUSTODIAL

IDENTIFY, JOIN, READY = EventType.IDENTIFY, EventType.JOIN, EventType.READY
NOT_SEALED = {"features": int(CUSTODIAL), "window": 1000}


class IntroductionTestCase(SynchronousTestCase):
    def world(self, ready: dict[str, Any] | None = SEALED, **options: Any) -> SealedClientWorld:
        world = SealedClientWorld(ready, **options)
        self.addCleanup(self.closes, world)
        return world

    def closes(self, world: ClientWorld) -> None:
        world.network.close()
        world.pass_time(5)
        self.assertEqual([], world.clock.getDelayedCalls())

    def identifies(self, world: ClientWorld) -> list[Any]:
        return world.server.events(IDENTIFY)

    def refuses(self, ready: dict[str, Any], **options: Any) -> Exception:
        """With such a server nothing is begun, and nothing told.  :returns: why."""
        world = self.world(ready, **options)
        self.assertEqual([READY], world.server.kinds())
        self.assertIsNone(world.network.link)
        (problem,) = world.told
        self.assertIsInstance(problem, LinkError)
        assert problem is not None
        return problem


class SealedTests(IntroductionTestCase):
    """To a server that lets its clients keep their keys."""

    def test_ready(self) -> None:
        """READY has no key, but says what the client can do."""
        (ready,) = self.world(None).server.events(READY)
        self.assertEqual((None, int(ALL)), (ready.key, ready.features))

    def test_proof(self) -> None:
        """The public key, and a signature under what the server has made up, before anything else."""
        world = self.world(None)
        world.network.announce(bytes(32))
        world.server.ready(**SEALED)
        world.settle()
        self.assertEqual([READY, IDENTIFY, JOIN], world.server.kinds())
        (event,) = self.identifies(world)
        self.assertEqual((OWN.public_key, None), (event.key, event.request))
        self.assertTrue(verify(event.data, proof_signable(CHALLENGE), OWN.public_key))
        self.assertEqual(OWN.public_key, world.network.public_key)

    def test_each_link(self) -> None:
        """It proves it anew on every link."""
        world = self.world()
        world.reconnect({**SEALED, "token": b"d" * 32})
        (event,) = self.identifies(world)
        self.assertTrue(verify(event.data, proof_signable(b"d" * 32), OWN.public_key))

    def test_bad_challenge(self) -> None:
        """What is not 32 bytes is not signed, as it could be something else."""
        for token in (None, b"", b"c" * 31, b"c" * 33, b"c" * 64):
            self.assertIn("what is to be signed", str(self.refuses({**SEALED, "token": token})))

    def test_unknown_network(self) -> None:
        """On a network whose names are not known, nothing can be signed; its name is told in one line at most."""
        for profile in (None, "", "elsewhere", "x" * 100_000):
            problem = str(self.refuses({**SEALED, "profile": profile}))
            self.assertIn("not known here", problem)
            self.assertLess(len(problem), 200)

    def test_labels(self) -> None:
        """What streams are bound to is what the server says, if that makes sense; else what is known of the network."""
        for told, labels in (
            (b"one", ("one",)),
            (b"one\ntwo\none", ("one", "two")),
            (b"\n\none\n", ("one",)),
            (None, SPACESWARM.stream_labels),
            (b"", SPACESWARM.stream_labels),
            (b"\n\n", SPACESWARM.stream_labels),
            (b"x" * (MAX_LABEL + 1), SPACESWARM.stream_labels),
            (b"\n".join(b"%d" % number for number in range(1000)), tuple(map(str, range(MAX_LABELS)))),
            (b"\xff", ("\N{REPLACEMENT CHARACTER}",)),
        ):
            world = self.world({**SEALED, "data": told})
            self.assertEqual(labels, world.network.link.sealed.labels.all)

    def test_slow_keeper(self) -> None:
        """The link is ready when the keeper has answered, and not before; if it is lost by then, that's that."""
        for lost in (False, True):
            keeper = FakeKeeper()
            answer: Deferred[bytes] = Deferred()
            keeper.prove = lambda challenge, answer=answer: answer
            world = self.world(key_pair=keeper)
            self.assertFalse(world.network.status().online)
            if lost:
                world.cut()
            answer.callback(b"s" * 64)
            world.settle()
            self.assertEqual(not lost, world.network.status().online)


class GivingTests(IntroductionTestCase):
    """To a server that can't do without the key."""

    def answered(self, **fields: Any) -> SealedClientWorld:
        world = self.world(NOT_SEALED)
        (event,) = self.identifies(world)
        self.assertEqual((OWN.secret_key, None), (event.key, event.data))
        self.assertFalse(world.network.status().online)
        world.server.reply(event.request or 0, **fields)
        world.settle()
        return world

    def test_given(self) -> None:
        """It gets the key, and the link is ready when it says so."""
        world = self.answered()
        self.assertEqual((True, OWN.public_key), (world.network.status().online, world.network.public_key))

    def test_no_identities(self) -> None:
        """Where nobody can be told from others, we are nobody."""
        world = self.answered(code="not-supported")
        self.assertEqual((True, None), (world.network.status().online, world.network.public_key))

    def test_refused(self) -> None:
        """Any other answer is the end of the link."""
        world = self.answered(code="limit", data=b"max_clients")
        self.assertFalse(world.network.status().online)
        self.assertIn("max_clients", str(world.told[0]))

    def test_never_answered(self) -> None:
        """A server that does not answer is given up."""
        world = self.world(NOT_SEALED)
        world.pass_time(20)
        self.assertIn("no READY", str(world.told[0]))

    def test_not_given(self) -> None:
        """Who insists gives it to nobody: not to one that can't do it, or does not say the rest, or is older."""
        for features in (0, Feature.END_TO_END, ALL & ~Feature.REPLIES, ALL & ~Feature.IDENTITY, CUSTODIAL):
            ready = {**SEALED, "features": int(features)}
            self.assertIn("keep their secret keys", str(self.refuses(ready, end_to_end=True)))

    def test_elsewhere(self) -> None:
        """A key that is elsewhere can't be given."""
        self.assertIn("elsewhere", str(self.refuses(NOT_SEALED, key_pair=FakeKeeper())))

    def test_javascript(self) -> None:
        """To a server that knows nothing of all this, nothing is told."""
        world = self.world({})
        self.assertEqual([READY], world.server.kinds())
        self.assertEqual((True, None), (world.network.status().online, world.network.public_key))

    def test_with_ready(self) -> None:
        """Who does not want to keep it says so by giving it with READY, and waits for nothing."""
        world = self.world({**NOT_SEALED, "key": OWN.public_key}, end_to_end=False)
        (ready,) = world.server.events(READY)
        self.assertEqual((OWN.secret_key, int(CUSTODIAL)), (ready.key, ready.features))
        self.assertEqual(OWN.public_key, world.network.public_key)
        self.assertIsNone(world.network.link.sealed)

    def test_says_it_all_the_same(self) -> None:
        """What was not wanted is not in force, though the server says it."""
        world = self.world({**SEALED, "key": OWN.public_key}, end_to_end=False)
        self.assertEqual([READY], world.server.kinds())
        self.assertIsNone(world.network.link.sealed)


class SecretKeyTests(IntroductionTestCase):
    """What a network says of its secret key."""

    def test_secret_key(self) -> None:
        """It is there where it is in this process."""
        self.assertEqual(OWN.secret_key, self.world().network.secret_key)
        network = self.world(key_pair=FakeKeeper(KeyPair.generate())).network
        self.assertRaises(NotSupportedError, lambda: network.secret_key)
