"""End-to-end mode as a whole: real clients that keep their keys, and real servers that have to ask them."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectError,
    FirewallError,
    LinkError,
    NotSupportedError,
    PeerUnreachableError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import ISealedNetwork, Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import pipe
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.client_link import FAREWELL
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.secret.transport import SecretTransport
from tests.keepers import FakeKeeper
from tests.network.support import Collector, Echo, Finder, Recorder
from tests.proxy.sealed_world import SERVER, SOMEBODY, SealedTestCase
from tests.proxy.world import TOPIC

SECRET = b"what nobody else shall read"


class StreamTests(SealedTestCase):
    """Streams between all kinds of networks."""

    def both_ways(self, one: Any, other: Any) -> tuple[Any, Any]:
        """They reach each other, whoever begins.  :returns: the protocols of the stream that ``one`` opened."""
        ends = []
        for here, there in ((other, one), (one, other)):
            collector = self.listener(there)
            protocol = self.connect(here, there)
            self.talks(protocol)
            ends = [protocol, collector.built[-1]]
            self.assertEqual(here.public_key, ends[1].transport.getPeer().public_key)
            self.assertEqual(there.public_key, ends[0].transport.getPeer().public_key)
        return ends[0], ends[1]

    def listens_to_the_server(self) -> list[bytes]:
        """:returns: where all will be that goes over the links of the first server's clients."""
        heard: list[bytes] = []
        build = self.endpoint.build

        def tapped() -> Any:
            link = build()
            received = link.dataReceived
            link.dataReceived = lambda data: (heard.append(data), received(data))
            return link

        self.endpoint.build = tapped
        return heard

    def test_sealed_to_sealed(self) -> None:
        """Two that keep their keys: both ends are encrypted, and say so."""
        one, other = self.both_ways(self.client(), self.client())
        for end in (one, other):
            self.assertIsInstance(end.transport, SecretTransport)
            self.assertTrue(end.transport.getPeer().end_to_end)

    def test_server_reads_nothing(self) -> None:
        """What is said does not go over the link as it is; for a client that gives its key it does."""
        heard = self.listens_to_the_server()
        one, other = self.client(), self.client()
        custodial = self.client(end_to_end=False)
        self.listener(other)
        self.talks(self.connect(one, other), SECRET)
        self.assertNotIn(SECRET, b"".join(heard))
        self.talks(self.connect(custodial, other), SECRET)
        self.assertIn(SECRET, b"".join(heard))

    def test_key_stays(self) -> None:
        """Neither seed nor secret key goes over the link; of a client that gives it, it does."""
        heard = self.listens_to_the_server()
        one, other = self.client(key_pair=SOMEBODY), self.client()
        self.both_ways(one, other)
        self.assertNotIn(SOMEBODY.seed, b"".join(heard))
        self.client(key_pair=SOMEBODY, end_to_end=False)
        self.assertIn(SOMEBODY.seed, b"".join(heard))

    def test_sealed_to_custodial(self) -> None:
        """One that keeps its key, and one that has given it: the first is encrypted up to the other's server."""
        one, other = self.both_ways(self.client(), self.client(end_to_end=False))
        self.assertTrue(one.transport.getPeer().end_to_end)
        self.assertFalse(other.transport.getPeer().end_to_end)

    def test_sealed_to_network(self) -> None:
        """With a peer that is in the network itself, both ends are encrypted."""
        one, other = self.both_ways(self.client(), self.hub.network())
        self.assertTrue(one.transport.getPeer().end_to_end)
        self.assertTrue(other.transport.getPeer().end_to_end)

    def test_two_servers(self) -> None:
        """The clients of two servers of one network."""
        self.both_ways(self.client(), self.client(self.serve()))

    def test_oneself(self) -> None:
        """Two links with one key are one peer; it can connect to itself."""
        one, other = self.client(key_pair=SOMEBODY), self.client(key_pair=SOMEBODY)
        self.assertEqual(one.public_key, other.public_key)
        self.listener(one)
        self.talks(self.connect(other, one))

    def test_large(self) -> None:
        """Megabytes go through unharmed, under backpressure."""
        one, other = self.client(), self.client()
        self.listener(other)
        protocol = self.connect(one, other)
        text = bytes(range(256)) * 8192
        protocol.transport.write(text)
        for _ in range(40):
            self.settle()
        self.assertEqual(text, bytes(protocol.received))

    def test_found(self) -> None:
        """One that is announced is found, and reached, as any other."""
        one, other = self.client(), self.client()
        self.listener(other)
        self.assertIsNone(self.outcome(other.announce(TOPIC).flushed()))
        self.assertTrue(self.finds(one, TOPIC, other.public_key))
        self.talks(self.connect(one, other))


class RefusalTests(SealedTestCase):
    """Streams that do not come about: the reason is told, and nobody keeps anything of them."""

    def test_unknown(self) -> None:
        """A peer that nobody knows."""
        self.assertIsInstance(self.connect(self.client(), KeyPair.generate()), UnknownPeerError)

    def test_nobody_listens(self) -> None:
        """A client that does not listen."""
        one, other = self.client(), self.client()
        self.assertIsInstance(self.connect(one, other), PeerUnreachableError)

    def test_bad_key(self) -> None:
        """A public key that is no point of the curve is refused by our own keeper."""
        bad = Peer.keyed(bytes(32))
        self.hub._by_key[bytes(32)] = self.hub._by_key[self.server.network.public_key]
        self.listener(self.server.network)
        problem = self.outcome(self.client().connect(bad, Collector(Echo)))
        self.assertIsInstance(problem, ConnectError)
        del self.hub._by_key[bytes(32)]

    def test_refused_by_the_user(self) -> None:
        """Whom the listener's factory refuses hears the end, in place of a protocol."""

        def refuse() -> Any:
            raise FirewallError("not you")

        one, other = self.client(), self.client()
        self.listener(other, refuse)
        self.assertIsInstance(self.connect(one, other), ConnectError)
        self.assertEqual({}, other.link.mux.streams)

    def test_no_protocol(self) -> None:
        """Who connects may not want it any more; the peer hears that it was lost."""
        one, other = self.client(), self.client()
        collector = self.listener(other)
        self.assertIsInstance(self.connect(one, other, lambda: None), ConnectCancelledError)
        self.settle()
        self.assertEqual([], [each for each in collector.built if each.lost is None])

    def test_factory_fails(self) -> None:
        """What our own factory raises is what the caller gets."""

        def fail() -> Any:
            raise ZeroDivisionError

        one, other = self.client(), self.client()
        self.listener(other)
        self.assertIsInstance(self.connect(one, other, fail), ZeroDivisionError)

    def test_cancelled_at_every_stage(self) -> None:
        """However far a connection has come, cancelling it ends it at once, and nothing is left."""
        one, other = self.client(), self.client()
        collector = self.listener(other)
        self.pass_time(1)
        for turns in range(40):
            attempt = one.connect(Peer.keyed(other.public_key), built := Collector(Recorder))
            self.step(turns)
            if attempt.called:
                break
            attempt.cancel()
            self.assertIsInstance(self.failureResultOf(attempt).value, ConnectCancelledError)
            self.settle()
            self.assertEqual([], built.built)
            self.assertEqual((0, 0, {}), (self.handshakes(), self.server.open_streams, one.link.mux.streams))
        else:
            self.fail("it never came about")
        self.assertGreater(turns, 5)
        self.assertEqual([], [each for each in collector.built[:-1] if each.lost is None])

    def test_peer_link_lost_meanwhile(self) -> None:
        """The peer's client vanishes in mid-handshake, at whatever moment: the attempt fails, typed."""
        one = self.client()
        for turns in range(12):
            other = self.client()
            self.listener(other)
            attempt = one.connect(Peer.keyed(other.public_key), Collector(Recorder))
            self.step(turns)
            self.endpoint.pipes[-1][1].abortConnection()
            done = attempt.called
            result = self.outcome(attempt)
            if not done:
                self.assertIsInstance(result, ConnectError)
            self.outcome(other.close())
            self.assertEqual((0, 0), (self.handshakes(), self.server.open_streams))

    def test_silent_keeper(self) -> None:
        """A peer whose keeper never answers is given up in time, and nothing is left of it."""
        keeper = FakeKeeper()
        one, other = self.client(), self.client(key_pair=keeper)
        self.listener(other)
        keeper.silent.add("read")
        attempt = one.connect(Peer.keyed(other.public_key), Collector(Recorder))
        self.pass_time(11)
        self.assertIsInstance(self.failureResultOf(attempt).value, ConnectError)
        self.assertEqual(0, self.handshakes())

    def test_failing_keeper(self) -> None:
        """A keeper that fails, in whatever way, costs the attempt; what is wrong inside it is nobody's business."""
        keeper = FakeKeeper()
        one, other = self.client(key_pair=keeper), self.client()
        self.listener(other)
        for problem in (PeerUnreachableError("away"), NotSupportedError(), ZeroDivisionError("private")):
            keeper.failing["write"] = problem
            told = self.connect(one, other)
            self.assertIsInstance(told, ConnectError)
            self.assertNotIn("private", str(told))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertTrue(one.status().online)


class AgreementTests(SealedTestCase):
    """What is in force, by what client and server want and can."""

    def agreed(self, network: ProxyNetwork) -> bool | None:
        """Is a client end-to-end?  ``None``: it has no link."""
        if network.ready_link is None:
            return None
        return Feature.END_TO_END in network.ready_link.features

    def test_interface(self) -> None:
        """It is an ``ISealedNetwork``, that tells what the network behind is called."""
        network = self.client()
        verifyObject(ISealedNetwork, network)
        self.assertEqual((True, SPACESWARM), (network.seals, network.profile))
        other = self.client(self.serve(LocalHub(self.clock, profile=HYPERSWARM).network()))
        self.assertEqual((True, HYPERSWARM), (other.seals, other.profile))

    def test_wishes(self) -> None:
        """By default it is so where it can be; ``True`` does without a server that can't, ``False`` never wants it."""
        cannot = self.serve(end_to_end=False)
        for wish, here, there in ((None, True, False), (True, True, None), (False, False, False)):
            self.assertEqual(here, self.agreed(self.client(end_to_end=wish)), wish)
            self.assertEqual(there, self.agreed(self.client(cannot, end_to_end=wish)), wish)

    def test_seals(self) -> None:
        """A network seals if its server does, until another one does not; a lost link changes nothing."""
        cannot = self.serve(end_to_end=False)
        network = self.client([self.endpoint, cannot])
        self.assertTrue(network.seals)
        self.endpoint.pipes[-1][1].abortConnection()
        self.settle()
        self.assertEqual((True, False), (network.seals, network.status().online))
        self.endpoint.refuses = True
        self.pass_time(5)
        self.assertEqual((False, True), (network.seals, network.status().online))

    def test_same_name(self) -> None:
        """By whatever way it is known, a client has the same public key; with a key of its own, or a fresh one."""
        cannot = self.serve(end_to_end=False)
        for options in ({"key_pair": SOMEBODY}, {}):
            networks = [self.client(each, **options) for each in (self.endpoint, cannot)]
            for network in networks:
                self.assertEqual(network.key_pair.public_key, network.public_key)

    def test_no_identities(self) -> None:
        """Behind a server whose network has none, a client is nobody."""
        network = self.hub.network()

        def with_identity(key_pair: Any) -> Any:
            raise NotSupportedError

        network.with_identity = with_identity
        network.seals = False
        client = self.client(self.serve(network))
        self.assertEqual((None, True), (client.public_key, client.status().online))

    def test_unknown_profile(self) -> None:
        """Of a network whose names nobody knows but its server, clients can't keep their keys."""
        profile = SPACESWARM.__class__("ours", "ours/dht", ("ours",), ())
        client = self.client(self.serve(LocalHub(self.clock, profile=profile).network()))
        self.assertEqual((False, True), (self.agreed(client), client.status().online))

    def test_custom_labels(self) -> None:
        """What streams are bound to is the server's to tell."""
        hub = LocalHub(self.clock, profile=SPACESWARM.with_stream_label("something else"))
        endpoint = self.serve(hub.network())
        one, other = self.client(endpoint), self.client(endpoint)
        self.listener(other)
        self.talks(self.connect(one, other))
        self.assertEqual(("something else",), one.link.sealed.labels.all)

    def test_keeper_elsewhere(self) -> None:
        """Who has no secret key itself can do with no server that wants it."""
        keeper = FakeKeeper()
        network = self.client(self.serve(end_to_end=False), key_pair=keeper)
        self.assertFalse(network.status().online)
        with self.assertRaises(ValueError):
            ProxyNetwork(self.endpoint, key_pair=keeper, end_to_end=False, reactor=self.clock)

    def test_keeper_does_not_prove(self) -> None:
        """A keeper that does not prove its key costs the link, whatever the reason, and it is made anew."""
        for problem in (NotSupportedError(), PeerUnreachableError(), ZeroDivisionError()):
            keeper = FakeKeeper()
            keeper.failing["prove"] = problem
            network = self.client(key_pair=keeper)
            self.assertFalse(network.status().online)
            keeper.failing.clear()
            self.pass_time(2)
            self.assertTrue(network.status().online)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_keeper_silent(self) -> None:
        """One that never answers is waited for no longer than a server."""
        keeper = FakeKeeper()
        keeper.silent.add("prove")
        told: list[Exception] = []
        network = self.client(key_pair=keeper)
        network.events.on("disconnected", told.append)
        self.pass_time(20)
        self.assertIn("no READY", str(told[0]))

    def test_network_stops_sealing(self) -> None:
        """A network that can't do it any more when a client says who it is costs that its link; it may come back."""

        def with_identity(key_pair: Any) -> Any:
            raise NotSupportedError("not now")

        self.server.network.with_identity = with_identity
        client = self.client()
        self.assertFalse(client.status().online)
        del self.server.network.with_identity
        self.pass_time(2)
        self.assertTrue(client.status().online)


class ChainTests(SealedTestCase):
    """Proxies behind proxies: whoever is asked asks whom it has the question from."""

    def setUp(self) -> None:
        super().setUp()
        self.inner = [self.client()]
        self.middle = self.serve(self.inner[0])
        self.inner.append(self.client(self.middle))
        self.outer = self.serve(self.inner[1])

    def test_streams(self) -> None:
        """Through three proxies a stream is encrypted from end to end; to a client of any of them, and back."""
        one = self.client(self.outer)
        self.listener(one)
        self.assertTrue(one.seals)
        for where in (self.endpoint, self.middle, self.outer):
            other = self.client(where)
            self.listener(other)
            for here, there in ((one, other), (other, one)):
                protocol = self.connect(here, there)
                self.talks(protocol)
                self.assertTrue(protocol.transport.getPeer().end_to_end)
                self.assertIsInstance(protocol.transport, SecretTransport)

    def test_no_key_anywhere(self) -> None:
        """No server has the key: all that they know is who keeps it."""
        one = self.client(self.outer, key_pair=SOMEBODY)
        self.listener(one)
        for server in self.servers:
            identity = server.identities._by_name[SOMEBODY.public_key, True]
            self.assertEqual(SOMEBODY.public_key, identity.keeper.public_key)
        self.assertEqual([], [name for server in self.servers for name in server.identities._by_name if not name[1]])

    def test_found(self) -> None:
        """Announced through all of them, found in the network, and gone when it leaves."""
        one, visitor = self.client(self.outer), self.hub.network()
        self.listener(one)
        self.outcome(one.announce(TOPIC).flushed())
        self.assertTrue(self.finds(visitor, TOPIC, one.public_key))
        self.outcome(one.close())
        self.assertFalse(self.finds(visitor, TOPIC, one.public_key))

    def test_refused(self) -> None:
        """What goes wrong at the far end is told at the near one, and no server in between keeps anything."""
        one = self.client(self.outer)
        self.assertIsInstance(self.connect(one, KeyPair.generate()), UnknownPeerError)
        other = self.client(self.outer)
        self.assertIsInstance(self.connect(one, other), PeerUnreachableError)
        self.assertEqual(0, self.handshakes())

    def test_cancelled(self) -> None:
        """Cancelled at whatever moment, nothing is left in any of them."""
        one, other = self.client(self.outer), self.client(self.outer)
        self.listener(other)
        for turns in range(0, 100, 3):
            attempt = one.connect(Peer.keyed(other.public_key), Collector(Recorder))
            self.step(turns)
            attempt.cancel()
            attempt.addBoth(lambda _: None)
            self.settle()
            self.assertEqual(0, self.handshakes())

    def test_inner_link_lost(self) -> None:
        """Without its own link a server does not ask for keys that it could do without."""
        self.endpoint.refuses = True
        self.endpoint.pipes[0][1].abortConnection()
        self.settle()
        one = self.client(self.middle)
        self.assertEqual((True, True), (one.seals, one.status().online))
        self.endpoint.refuses = False
        self.pass_time(3)
        other = self.client()
        self.listener(other)
        self.talks(self.connect(one, other))


class OverTests(SealedTestCase):
    """A link that is there already."""

    def test_over(self) -> None:
        """It works; as there can be no other link, nobody else can be known by it."""
        near, far = pipe(self.clock, SERVER, SERVER)
        far.attach(self.server.buildProtocol(SERVER))
        network = ProxyNetwork.over(near, reactor=self.clock)
        self.settle()
        self.clients.append(network)
        self.assertTrue(network.status().online)
        self.assertIsNotNone(network.link.sealed)
        self.assertFalse(network.seals)
        other = self.client()
        self.listener(other)
        protocol = self.connect(network, other)
        self.talks(protocol)
        far.abortConnection()
        self.settle()
        self.assertIsNotNone(protocol.lost)
        self.assertIsInstance(self.connect(network, other), LinkError)


class ReturnTests(SealedTestCase):
    """Links that come and go."""

    def test_reconnect(self) -> None:
        """After a lost link it is the same peer, and all that was asked for holds."""
        one, other = self.client(), self.client()
        collector = self.listener(one)
        one.announce(TOPIC)
        self.settle()
        key = one.public_key
        self.endpoint.pipes[0][1].abortConnection()
        self.pass_time(3)
        self.assertEqual(key, one.public_key)
        self.talks(self.connect(other, one))
        self.assertEqual(1, len(collector.built))
        self.assertTrue(self.finds(other, TOPIC, key))

    def test_streams_end(self) -> None:
        """Its streams end with the link, at both ends, and are told why."""
        one, other = self.client(), self.client()
        collector = self.listener(other)
        protocol = self.connect(one, other)
        self.endpoint.pipes[0][1].abortConnection()
        self.settle()
        self.assertIsInstance(protocol.lost.value, LinkError)
        self.assertIsNotNone(collector.built[0].lost)

    def test_link_lost_before_the_peer_is_heard(self) -> None:
        """An attempt that is under way fails with the loss of the link."""
        one, other = self.client(), self.client()
        self.listener(other)
        for turns in range(0, 14, 2):
            attempt = one.connect(Peer.keyed(other.public_key), Collector(Recorder))
            self.step(turns)
            self.endpoint.pipes[0 if not turns else -1][1].abortConnection()
            self.clock.advance(0)
            if not attempt.called:
                self.settle()
            self.assertIsInstance(self.outcome(attempt), LinkError | Recorder)
            self.pass_time(3)
            self.assertTrue(one.status().online)


class GraceTests(SealedTestCase):
    """A server that keeps who may come back."""

    def serve(self, network: Any = None, **options: Any) -> Any:
        return super().serve(network, identity_grace=30.0, **options)

    def announced(self) -> ProxyNetwork:
        one = self.client(key_pair=SOMEBODY)
        self.listener(one)
        self.outcome(one.announce(TOPIC).flushed())
        return one

    def test_kept(self) -> None:
        """While its link is away it is still found; who connects then is told that it is away; then it is back."""
        one, other = self.announced(), self.client()
        self.endpoint.refuses = True
        self.endpoint.pipes[0][1].abortConnection()
        self.settle()
        self.assertTrue(self.finds(other, TOPIC, one.public_key))
        self.assertIsInstance(self.connect(other, one), PeerUnreachableError)
        self.endpoint.refuses = False
        self.pass_time(3)
        self.talks(self.connect(other, one))

    def test_over(self) -> None:
        """When the time is up it is found no more."""
        one, other = self.announced(), self.client()
        self.endpoint.refuses = True
        self.endpoint.pipes[0][1].abortConnection()
        self.pass_time(32)
        self.assertFalse(self.finds(other, TOPIC, one.public_key))
        self.assertEqual(0, self.server.identities.kept)

    def test_farewell(self) -> None:
        """Who says farewell is gone at once."""
        one, other = self.announced(), self.client()
        self.outcome(one.close())
        self.assertFalse(self.finds(other, TOPIC, one.public_key))
        self.assertEqual(0, self.server.identities.kept)

    def test_one_of_two_says_farewell(self) -> None:
        """Another link of the same peer is still found, and takes streams."""
        one, second, other = self.announced(), self.announced(), self.client()
        self.outcome(second.close())
        self.assertTrue(self.finds(other, TOPIC, one.public_key))
        self.talks(self.connect(other, one))

    def test_one_of_two_vanishes(self) -> None:
        """The other one gets what peers open, though it was not the newest."""
        one, other = self.announced(), self.client()
        self.announced()
        self.outcome(self.clients[-1].close())
        self.talks(self.connect(other, one))

    def test_another_mode(self) -> None:
        """With the same key, one that gives it and one that keeps it are two; each gets what it can read."""
        one, other = self.announced(), self.client()
        custodial = self.client(key_pair=SOMEBODY, end_to_end=False)
        self.listener(custodial)
        self.talks(self.connect(other, one))


class LeaveTests(SealedTestCase):
    """Closing, suspending and resuming, with a farewell that takes its time."""

    def never_answer(self) -> None:
        """The server of the newest link hears a farewell, and does nothing."""
        self.endpoint.server._on_farewell = lambda event: None

    def test_suspend_and_resume(self) -> None:
        """Suspended it is not there; resumed, it is the same peer, with all that it had asked for."""
        one, other = self.client(), self.client()
        self.listener(one)
        one.announce(TOPIC)
        self.settle()
        self.assertIsNone(self.outcome(one.suspend()))
        self.assertFalse(self.finds(other, TOPIC, one.public_key))
        self.assertFalse(one.status().online)
        self.assertIsNone(self.outcome(one.resume()))
        self.assertTrue(self.finds(other, TOPIC, one.public_key))
        self.talks(self.connect(other, one))

    def test_no_answer(self) -> None:
        """A server that never answers the farewell is not waited for for ever."""
        one = self.client()
        self.never_answer()
        closed = one.close()
        self.pass_time(int(FAREWELL) - 1)
        self.assertNoResult(closed)
        self.pass_time(2)
        self.assertIsNone(self.successResultOf(closed))

    def test_link_lost_meanwhile(self) -> None:
        """A link that is lost while the farewell is under way: that was it."""
        for leave in ("close", "suspend"):
            one = self.client()
            self.never_answer()
            left = getattr(one, leave)()
            self.settle()
            self.assertNoResult(left)
            self.endpoint.pipes[-1][1].abortConnection()
            self.assertIsNone(self.outcome(left))
            self.pass_time(5)
            self.assertIsNone(one.link)

    def test_quiet_while_leaving(self) -> None:
        """From the first moment, nothing more is asked of the server that is being left."""
        other, one = self.client(), self.client()
        self.listener(other)
        one.lookup(TOPIC, Finder())
        self.settle()
        self.never_answer()
        suspended = one.suspend()
        attempt = one.connect(Peer.keyed(other.public_key), Collector(Recorder))
        announced = one.announce(TOPIC).flushed()
        self.settle()
        self.assertFalse(one.status().online)
        self.assertFalse(self.finds(other, TOPIC, one.public_key))
        self.pass_time(5)
        self.successResultOf(suspended)
        self.assertIsNone(self.outcome(one.resume()))
        self.talks(self.successResultOf(attempt))
        self.assertIsNone(self.successResultOf(announced))

    def test_resume_while_leaving(self) -> None:
        """Resumed in the middle of the farewell, it is back when that is over."""
        one = self.client()
        self.never_answer()
        suspended, resumed = one.suspend(), one.resume()
        self.settle()
        self.assertNoResult(resumed)
        self.pass_time(5)
        self.assertIsNone(self.successResultOf(suspended))
        self.assertIsNone(self.successResultOf(resumed))
        self.assertTrue(one.status().online)

    def test_last_word(self) -> None:
        """What was asked for last counts, however often it has changed while the farewell was under way."""
        one = self.client()
        self.never_answer()
        asked = [one.suspend(), one.resume(), one.suspend()]
        self.pass_time(10)
        self.assertEqual([None] * 3, [self.successResultOf(each) for each in asked])
        self.assertFalse(one.status().online)
        self.assertEqual(1, len(self.endpoint.servers))

    def test_closed_while_suspending(self) -> None:
        """Closed in the middle of it, it does not come back, whoever has asked for that."""
        one = self.client()
        self.never_answer()
        asked = [one.suspend(), one.resume(), one.close()]
        waiting = one.connect(Peer.keyed(bytes(32)), Collector(Echo))
        self.assertIsInstance(self.outcome(waiting), ClosedError)
        self.pass_time(10)
        self.assertEqual([None] * 3, [self.successResultOf(each) for each in asked])
        self.assertEqual(1, len(self.endpoint.servers))


class LabelTests(SealedTestCase):
    """What streams are bound to, where that is not certain."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.client(), self.client()
        self.far = self.listener(self.other)

    def bind(self, client: ProxyNetwork, *labels: str) -> Any:
        """Have a client take its streams to be bound to these.  :returns: them."""
        client.link.sealed.labels = client.link.sealed.labels.__class__(labels)
        return client.link.sealed.labels

    def test_other_label(self) -> None:
        """A peer that calls it otherwise, and says so, is understood at the second attempt, the next at the first."""
        labels = self.bind(self.one, "a", "b", "c")
        self.bind(self.other, "c", "a")
        self.talks(self.connect(self.one, self.other))
        self.assertTrue(labels.are_certain)

    def test_one_label(self) -> None:
        """A peer that knows another one only."""
        labels = self.bind(self.one, "a", "b", "c")
        self.bind(self.other, "c")
        self.talks(self.connect(self.one, self.other))
        self.assertEqual("c", labels.all[0])
        dials = self.server.stats.dials
        self.talks(self.connect(self.one, self.other))
        self.assertEqual(dials + 1, self.server.stats.dials)

    def test_no_label(self) -> None:
        """A peer that knows none of them costs no more attempts than there are labels."""
        self.bind(self.one, "a", "b", "c")
        self.bind(self.other, "x")
        dials = self.server.stats.dials
        self.assertIsInstance(self.connect(self.one, self.other), PeerUnreachableError)
        self.assertLessEqual(self.server.stats.dials - dials, 4)

    def test_cancelled_between_labels(self) -> None:
        """Cancelled while it is tried again, it ends."""
        self.bind(self.one, "a", "b")
        self.bind(self.other, "x")
        for turns in range(0, 30, 3):
            attempt = self.one.connect(Peer.keyed(self.other.public_key), Collector(Recorder))
            self.step(turns)
            attempt.cancel()
            self.assertIsInstance(self.outcome(attempt), ConnectError)
            self.assertEqual((0, {}), (self.handshakes(), self.one.link.mux.streams))
