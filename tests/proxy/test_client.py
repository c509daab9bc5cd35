"""Tests for ``spaceswarm_proxy.proxy.client``: the link of a network, how it comes about, is lost and found again."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    AuthenticationError,
    ClosedError,
    ConnectCancelledError,
    ConnectTimeoutError,
    FrameError,
    LinkError,
    LinkLostError,
    LinkTimeoutError,
    NotSupportedError,
)
from spaceswarm_proxy.interfaces import INetwork, Peer, PeerAddress
from spaceswarm_proxy.network.pipe import pipe
from spaceswarm_proxy.proxy.client import CLIENT_LIMITS, REPLY_MARGIN, STABLE_AFTER, ProxyNetwork
from spaceswarm_proxy.proxy.dialler import DIAL_TIMEOUT
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.client_world import OURS, PEER, ClientWorld, Found, PipeEndpoint, RawServer
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, settle

READY, JOIN, CONNECT, REPLY = EventType.READY, EventType.JOIN, EventType.CONNECT, EventType.REPLY


class ClientTestCase(SynchronousTestCase):
    """Looks that nothing is left."""

    def closes(self, world: ClientWorld) -> None:
        """A network that is closed has nothing in the reactor."""
        self.assertEqual(world.close(), [None])
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def failed(self, results: list, kind: type[Exception]) -> Exception:
        self.assertEqual([type(each) for each in results], [kind])
        return results[0]


class SetupTests(ClientTestCase):
    """READY."""

    def test_interface(self) -> None:
        """It is an ``INetwork``."""
        world = ClientWorld()
        verifyObject(INetwork, world.network)
        self.closes(world)

    def test_ready_at_once(self) -> None:
        """READY is the first thing sent, without waiting, with all that we can do, our window, key and token."""
        key_pair = KeyPair.from_seed(b"s" * 32)
        world = ClientWorld(None, key_pair=key_pair, token=b"secret", limits=Limits(window=1000))
        expected = Event(READY, features=int(CUSTODIAL), window=1000, key=key_pair.secret_key, token=b"secret")
        self.assertEqual(world.server.frames, [expected])
        self.assertFalse(world.network.status().online)
        self.closes(world)

    def test_nothing_before_the_answer(self) -> None:
        """What is asked for before the server's READY is sent after it, and once."""
        world = ClientWorld(None)
        world.network.lookup(TOPIC, Found())
        world.network.connect(PEER, Peers()).addErrback(lambda _: None)
        world.settle()
        self.assertEqual(world.server.kinds(), [READY])
        world.server.ready(**OURS)
        world.settle()
        self.assertEqual(world.server.kinds(), [READY, JOIN, CONNECT])
        self.closes(world)

    def test_second_ready(self) -> None:
        """The server's second READY is ignored."""
        world = ClientWorld()
        world.network.lookup(TOPIC, Found())
        world.server.ready()
        world.settle()
        self.assertEqual(world.server.kinds(), [READY, JOIN])
        self.assertEqual(world.network.link.features, CUSTODIAL)
        self.closes(world)

    def test_identity(self) -> None:
        """Who we are is what the server says; our key pair stays the same from link to link."""
        world = ClientWorld()
        self.assertEqual(world.network.public_key, b"k" * 32)
        self.assertEqual(world.network.address, PeerAddress(Peer.keyed(b"k" * 32)))
        first = world.server.frames[0].key
        world.reconnect()
        self.assertEqual(world.server.frames[0].key, first)
        self.closes(world)

    def test_javascript_server_knows_no_identities(self) -> None:
        """Behind a server that knows no identities we have no public key, whatever we were given."""
        world = ClientWorld({}, key_pair=KeyPair.generate())
        self.assertIsNone(world.network.public_key)
        self.closes(world)

    def test_status(self) -> None:
        """The status says what the server can do."""
        world = ClientWorld(None)
        self.assertFalse(world.network.status().online)
        world.server.ready(**OURS)
        world.settle()
        status = world.network.status()
        self.assertEqual((status.online, status.announces, status.listens), (True, True, True))
        world.reconnect({})
        status = world.network.status()
        self.assertEqual((status.online, status.announces, status.listens), (True, False, False))
        self.assertIn("JavaScript", status.detail)
        self.closes(world)

    def test_unknown_is_skipped(self) -> None:
        """Unknown events, fields and features, and replies that nobody asked for, are ignored."""
        world = ClientWorld({**OURS, "features": int(CUSTODIAL) | 1 << 40})
        world.server.send(Event(99, data=b"?"), Event(JOIN, topic=TOPIC), b"\x05\x08\x0a\xf8\x3f\x01", b"\0\0")
        world.server.reply(77)
        world.server.reply(78, code="limit", data=b"x")
        world.server.data(5, b"nobody's")
        world.settle()
        self.assertTrue(world.network.status().online)
        self.closes(world)


class ReconnectTests(ClientTestCase):
    """Attempts, and the waits between them."""

    def test_closed_when_told(self) -> None:
        """Who closes it, or suspends it, on hearing that it is offline is not connected again."""
        for leave in ("close", "suspend"):
            world = ClientWorld(None)
            world.network.events.on("disconnected", lambda _, world=world, leave=leave: getattr(world.network, leave)())
            world.cut()
            world.pass_time(60)
            self.assertEqual(1, len(world.endpoint.attempts))
            self.closes(world)

    def test_backoff(self) -> None:
        """The n-th failure is followed by the back-off's n-th wait; a success begins anew."""
        world = ClientWorld()
        world.pass_time(STABLE_AFTER)
        world.endpoint.refuses = True
        world.endpoint.attempts.clear()
        lost_at = world.clock.seconds()
        world.cut()
        world.pass_time(20)
        self.assertEqual([when - lost_at for when in world.endpoint.attempts], [1, 3, 6, 10, 15])
        world.endpoint.refuses = False
        world.pass_time(6)
        world.server.ready(**OURS)
        world.settle()
        world.pass_time(STABLE_AFTER)
        world.endpoint.attempts.clear()
        lost_at = world.clock.seconds()
        world.cut()
        world.pass_time(2)
        self.assertEqual([when - lost_at for when in world.endpoint.attempts], [1])
        self.closes(world)

    def test_link_that_does_not_last(self) -> None:
        """A server that says READY and goes away at once is not asked again and again without a pause."""
        world = ClientWorld()
        for _ in range(3):
            world.cut()
            world.pass_time(4)
            world.server.ready(**OURS)
            world.settle()
        lost_at = [0, 4, 8]
        waits = [attempt - lost for attempt, lost in zip(world.endpoint.attempts[1:], lost_at, strict=True)]
        self.assertEqual(waits, [2, 3, 4])
        self.closes(world)

    def test_round_robin(self) -> None:
        """The next endpoint is tried when one has failed; one that worked is tried first when its link is lost."""
        clock = Clock()
        endpoints = [PipeEndpoint(clock) for _ in range(3)]
        endpoints[0].refuses = endpoints[1].refuses = True
        network = ProxyNetwork(endpoints, end_to_end=False, backoff=lambda attempt: 1.0, reactor=clock)

        def attempts() -> list[int]:
            return [len(endpoint.attempts) for endpoint in endpoints]

        for expected in ([1, 0, 0], [1, 1, 0], [1, 1, 1]):
            clock.advance(1 if expected[1] else 0)
            self.assertEqual(attempts(), expected)
        settle(clock)
        endpoints[2].server.ready(**OURS)
        settle(clock)
        endpoints[2].pipes[-1][1].abortConnection()
        settle(clock)
        clock.advance(1)
        self.assertEqual(attempts(), [1, 1, 2])
        settle(clock)
        endpoints[2].pipes[-1][1].abortConnection()
        settle(clock)
        clock.advance(1)
        self.assertEqual(attempts(), [2, 1, 2])
        network.close()

    def test_hanging_attempt(self) -> None:
        """An attempt that comes to no end is given up."""
        world = ClientWorld()
        world.endpoint.hangs = True
        world.cut()
        world.pass_time(2)
        attempts = len(world.endpoint.attempts)
        world.pass_time(DIAL_TIMEOUT + 4)
        self.assertEqual(len(world.endpoint.attempts), attempts + 1)
        self.closes(world)

    def test_endpoint_that_raises(self) -> None:
        """An endpoint that raises is one more failure."""

        @implementer(IStreamClientEndpoint)
        class Broken:
            def connect(self, factory: object) -> Deferred:
                raise ZeroDivisionError

        clock = Clock()
        network = ProxyNetwork(Broken(), backoff=lambda attempt: 1.0, reactor=clock)
        problems = []
        network.events.on("disconnected", problems.append)
        clock.pump([0, 1, 1])
        self.assertEqual([type(problem) for problem in problems], [LinkLostError] * 3)
        network.close()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_no_ready(self) -> None:
        """A server that does not say READY in time is given up, and that is told."""
        world = ClientWorld(None)
        world.pass_time(CLIENT_LIMITS.ready_timeout + 1)
        self.failed(world.told, LinkTimeoutError)
        self.assertTrue(world.endpoint.servers[0].lost)
        world.pass_time(3)
        self.assertEqual(len(world.endpoint.servers), 2)
        self.closes(world)

    def test_bad_frame(self) -> None:
        """A server that breaks the protocol loses the link, and another is made."""
        world = ClientWorld()
        world.server.send(b"\xff" * 6)
        world.settle()
        self.assertTrue(world.endpoint.servers[0].lost)
        self.assertIsInstance(world.told[-1], FrameError)
        world.pass_time(3)
        self.assertEqual(len(world.endpoint.servers), 2)
        self.closes(world)

    def test_refused(self) -> None:
        """A server's refusal, before READY or after, is what ``disconnected`` is told."""
        for ready in (None, OURS):
            world = ClientWorld(ready)
            world.server.reply(0, code="unauthorized", data=b"a token, please")
            world.server.transport.loseConnection()
            world.settle()
            self.assertEqual((type(world.told[-1]), str(world.told[-1])), (AuthenticationError, "a token, please"))
            world.pass_time(3)
            self.assertEqual(len(world.endpoint.servers), 2)
            self.closes(world)

    def test_events(self) -> None:
        """Each change is told once: connected, disconnected, connected."""
        world = ClientWorld()
        self.assertEqual(world.told, [None])
        world.reconnect()
        self.assertEqual([type(each) for each in world.told], [type(None), LinkLostError, type(None)])
        world.close()
        self.assertEqual(type(world.told[3]), ClosedError)
        self.assertEqual(len(world.told), 4)


class LivenessTests(ClientTestCase):
    """Silence."""

    def test_ping_is_answered(self) -> None:
        """PING is answered with the same data, up to 64 bytes."""
        world = ClientWorld()
        for data in (b"1", b"2" * 65, None):
            world.server.send(Event(EventType.PING, data=data))
        world.settle()
        self.assertEqual([event.data for event in world.server.events(EventType.PONG)], [b"1", b""])
        self.closes(world)

    def test_silence(self) -> None:
        """A server that is silent is sent a PING, and if it stays so, the link is cut and another made."""
        world = ClientWorld()
        world.pass_time(CLIENT_LIMITS.ping_interval + 2)
        self.assertEqual(len(world.server.events(EventType.PING)), 1)
        world.pass_time(CLIENT_LIMITS.ping_timeout + 3)
        self.assertIsInstance(world.told[1], LinkTimeoutError)
        self.assertEqual(len(world.endpoint.servers), 2)
        self.closes(world)

    def test_a_word_is_enough(self) -> None:
        """A server that answers the PING stays."""
        world = ClientWorld()
        for _ in range(4):
            world.pass_time(CLIENT_LIMITS.ping_interval + 2)
            ping = world.server.events(EventType.PING)[-1]
            world.server.send(Event(EventType.PONG, data=ping.data))
        self.assertEqual(world.told, [None])
        self.closes(world)

    def test_javascript_server_is_not_pinged(self) -> None:
        """A JavaScript server, which knows no PING, is sent empty frames, and may be silent for ever."""
        world = ClientWorld({})
        world.pass_time(600)
        self.assertEqual(world.server.kinds(), [READY])
        self.assertEqual(world.told, [None])
        self.closes(world)


class WaitingTests(ClientTestCase):
    """What is asked for while there is no link."""

    def test_connect_waits_for_the_link(self) -> None:
        """A connection that is asked for while the link is down comes about when it is up."""
        world = ClientWorld()
        world.cut()
        results, _ = world.connect()
        world.pass_time(2)
        world.server.ready(**OURS)
        world.settle()
        world.server.open(0, world.server.events(CONNECT)[0].request)
        world.settle()
        self.assertEqual(len(results), 1)
        self.closes(world)

    def test_connect_waits_not_for_ever(self) -> None:
        """It fails with ``ConnectTimeoutError`` when there is no link in time."""
        world = ClientWorld(limits=Limits(connect_timeout=20))
        world.endpoint.refuses = True
        world.cut()
        results, _ = world.connect()
        world.pass_time(20 + REPLY_MARGIN - 1)
        self.assertEqual(results, [])
        world.pass_time(1)
        self.failed(results, ConnectTimeoutError)
        self.closes(world)

    def test_cancelled(self) -> None:
        """Cancelled while it waits, it leaves nothing, and is never sent."""
        world = ClientWorld()
        world.cut()
        attempt = world.network.connect(PEER, Peers())
        results = world.outcome(attempt)
        attempt.cancel()
        self.failed(results, ConnectCancelledError)
        self.assertEqual(world.network._waiting, {})
        world.pass_time(2)
        world.server.ready(**OURS)
        world.settle()
        self.assertEqual(world.server.events(CONNECT), [])
        self.closes(world)

    def test_in_flight_when_the_link_goes(self) -> None:
        """What was sent and not answered when the link is lost fails with ``LinkLostError``."""
        world = ClientWorld()
        results, peers = world.connect()
        world.cut()
        self.failed(results, LinkLostError)
        self.assertEqual(peers.built, [])
        self.closes(world)

    def test_when_online(self) -> None:
        """``when_online`` fires when the server is ready, at once if it is; it can be cancelled; closing fails it."""
        world = ClientWorld(None)
        first, cancelled = world.network.when_online(), world.network.when_online()
        cancelled.cancel()
        self.failureResultOf(cancelled)
        self.assertNoResult(first)
        world.server.ready()
        world.settle()
        self.assertIsNone(self.successResultOf(first))
        self.assertIsNone(self.successResultOf(world.network.when_online()))
        world.cut()
        last = world.network.when_online()
        self.closes(world)
        for each in (last, world.network.when_online()):
            self.failureResultOf(each, ClosedError)


class SuspendTests(ClientTestCase):
    """Going quiet."""

    def test_suspend(self) -> None:
        """A suspended network has no link and makes none; what was asked for stays; resumed, it is asked again."""
        world = ClientWorld()
        world.network.lookup(TOPIC, Found())
        world.settle()
        suspended = world.outcome(world.network.suspend())
        world.settle()
        self.assertEqual(suspended, [None])
        self.assertTrue(world.server.lost)
        self.assertFalse(world.network.status().online)
        self.assertIsInstance(world.told[1], LinkError)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        resumed = world.outcome(world.network.resume())
        world.settle()
        self.assertEqual(resumed, [])
        world.server.ready(**OURS)
        world.settle()
        self.assertEqual(resumed, [None])
        self.assertEqual(world.server.kinds(), [READY, JOIN])
        self.closes(world)

    def test_suspend_while_connecting(self) -> None:
        """Suspending ends an attempt, and a wait for the next."""
        for hangs, refuses in ((True, False), (False, True)):
            world = ClientWorld()
            world.endpoint.hangs, world.endpoint.refuses = hangs, refuses
            world.cut()
            world.pass_time(2)
            self.assertIsNone(self.successResultOf(world.network.suspend()))
            self.assertEqual(world.clock.getDelayedCalls(), [])
            self.closes(world)

    def test_suspend_twice(self) -> None:
        """Both fire."""
        world = ClientWorld()
        both = [world.outcome(world.network.suspend()) for _ in range(2)]
        world.settle()
        self.assertEqual(both, [[None], [None]])
        self.closes(world)

    def test_resume_without_a_server(self) -> None:
        """When the server can't be reached, resume fires all the same: it goes on trying."""
        world = ClientWorld()
        world.network.suspend()
        world.settle()
        world.endpoint.refuses = True
        resumed = world.outcome(world.network.resume())
        world.settle()
        self.assertEqual(resumed, [None])
        world.pass_time(2)
        self.assertEqual(len(world.endpoint.attempts), 3)
        self.closes(world)

    def test_resume_at_once(self) -> None:
        """Resumed before the old link is gone, it makes another when it is."""
        world = ClientWorld()
        world.network.suspend()
        world.network.resume()
        world.pass_time(3)
        self.assertEqual(len(world.endpoint.servers), 2)
        self.closes(world)


class FarewellTests(ClientTestCase):
    """A server may keep what a client has announced for when it comes back: one that will not says so."""

    def setUp(self) -> None:
        self.world = ClientWorld()
        self.world.network.lookup(TOPIC, Found())
        self.world.network.announce(bytes(32))
        self.world.network.listen(Peers())
        self.let_listen()

    def let_listen(self) -> None:
        """The server says that peers can connect."""
        self.world.settle()
        self.server = self.world.server
        (listen,) = self.server.events(EventType.LISTEN)
        self.server.reply(listen.request)
        self.world.settle()

    def farewell(self) -> list[tuple[int, bytes | None]]:
        """What the client has said in the end."""
        self.world.settle()
        return [(frame.type, frame.topic) for frame in self.server.frames[-3:]]

    def test_leaves(self) -> None:
        """Before its link goes, a network that is closed or suspended leaves its topics and listens no more."""
        expected = [(EventType.LEAVE, TOPIC), (EventType.LEAVE, bytes(32)), (EventType.UNLISTEN, None)]
        self.world.network.suspend()
        self.assertEqual(expected, self.farewell())
        self.world.network.resume()
        self.world.settle()
        self.world.server.ready(**OURS)
        self.let_listen()
        self.closes(self.world)
        self.assertEqual(expected, self.farewell())

    def test_not_ready(self) -> None:
        """To a server that has not answered yet there is nothing to say."""
        world = ClientWorld(ready=None)
        world.network.lookup(TOPIC, Found())
        self.closes(world)
        self.assertEqual([READY], world.server.kinds())
        self.closes(self.world)


class CloseTests(ClientTestCase):
    """The end."""

    def test_while_connecting(self) -> None:
        """Closing ends an attempt that is under way."""
        clock = Clock()
        endpoint = PipeEndpoint(clock)
        endpoint.hangs = True
        network = ProxyNetwork(endpoint, reactor=clock)
        clock.advance(0)
        self.assertEqual(len(endpoint.attempts), 1)
        self.assertIsNone(self.successResultOf(network.close()))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_before_and_between_attempts(self) -> None:
        """Closing ends the wait for the first attempt, and for the next."""
        for seconds in ([], [0, 0]):
            clock = Clock()
            endpoint = PipeEndpoint(clock)
            endpoint.refuses = True
            network = ProxyNetwork(endpoint, backoff=lambda attempt: 5.0, reactor=clock)
            clock.pump(seconds)
            self.assertIsNone(self.successResultOf(network.close()))
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_late_connection(self) -> None:
        """An endpoint that connects though it was cancelled finds nobody there."""
        clock, factories = Clock(), []

        @implementer(IStreamClientEndpoint)
        class Stubborn:
            def connect(self, factory: object) -> Deferred:
                factories.append(factory)
                return Deferred()

        network = ProxyNetwork(Stubborn(), reactor=clock)
        clock.advance(0)
        network.close()
        self.assertIsNone(factories[0].buildProtocol(None))

    def test_everything_fails(self) -> None:
        """Whatever waits fails with ``ClosedError``: connections, lookups, announcements, listening, streams."""
        for online in (True, False):
            world = ClientWorld()
            protocol = world.opened()
            if not online:
                world.cut()
            network = world.network
            waiting = [
                network.connect(PEER, Peers()),
                network.lookup(TOPIC, Found()).flushed(),
                network.announce(TOPIC).flushed(),
                network.listen(Peers()),
            ]
            self.closes(world)
            for each in waiting:
                self.failureResultOf(each, ClosedError)
            self.assertTrue(protocol.reason.check(ClosedError if online else LinkLostError))

    def test_server_that_takes_nothing(self) -> None:
        """A server that reads no more can't hold up the close for ever."""
        clock, transport = Clock(), StringTransport()
        network = ProxyNetwork.over(transport, limits=Limits(close_timeout=5), reactor=clock)
        closing = network.close()
        clock.pump([1] * 4)
        self.assertFalse(transport.disconnected)
        clock.advance(1)
        self.assertTrue(transport.disconnected)
        self.assertNoResult(closing)
        transport.protocol.connectionLost()
        self.assertIsNone(self.successResultOf(closing))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_unread_closed_lookups(self) -> None:
        """A lookup that is being closed when the network is, fails nobody."""
        world = ClientWorld()
        closing = world.outcome(world.network.lookup(TOPIC, Found()).close())
        self.closes(world)
        self.assertEqual(closing, [None])


class IdentityTests(ClientTestCase):
    """``with_identity``."""

    def test_link_of_its_own(self) -> None:
        """Another identity has a link of its own, with its own key and the same token; both close with the parent."""
        world = ClientWorld(token=b"t")
        key_pair = KeyPair.generate()
        child = world.network.with_identity(key_pair)
        world.settle()
        self.assertEqual(len(world.endpoint.servers), 2)
        self.assertEqual((world.server.frames[0].key, world.server.frames[0].token), (key_pair.secret_key, b"t"))
        self.closes(world)
        self.assertIsNone(self.successResultOf(child.close()))
        self.assertTrue(all(server.lost for server in world.endpoint.servers))
        self.assertRaises(ClosedError, world.network.with_identity, None)

    def test_fresh(self) -> None:
        """Without a key pair it is somebody new."""
        world = ClientWorld()
        world.network.with_identity(None)
        world.settle()
        keys = [server.frames[0].key for server in world.endpoint.servers]
        self.assertEqual((len(set(keys)), [len(key) for key in keys]), (2, [64, 64]))
        self.closes(world)

    def test_child_closed(self) -> None:
        """A child that is closed leaves the parent alone, and is forgotten."""
        world = ClientWorld()
        child = world.network.with_identity(None)
        world.settle()
        child.close()
        world.settle()
        world.network.with_identity(None)
        self.assertNotIn(child, world.network._children)
        self.assertTrue(world.network.status().online)
        self.closes(world)


class OverTests(ClientTestCase):
    """A network over a transport that is there already."""

    def begin(self) -> tuple[Clock, ProxyNetwork, RawServer]:
        clock, server = Clock(), RawServer()
        near, far = pipe(clock, PeerAddress(PEER), PeerAddress(PEER))
        far.attach(server)
        network = ProxyNetwork.over(near, end_to_end=False, reactor=clock)
        settle(clock)
        return clock, network, server

    def test_works(self) -> None:
        """READY goes out at once; what the transport receives is the server's."""
        clock, network, server = self.begin()
        self.assertEqual(server.kinds(), [READY])
        server.ready(**OURS)
        settle(clock)
        self.assertTrue(network.status().online)
        self.assertRaises(NotSupportedError, network.with_identity, None)
        network.close()
        settle(clock)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_lost_for_good(self) -> None:
        """When the transport is lost, all that waits fails with its reason, and what is asked later too."""
        clock, network, server = self.begin()
        lookup, listening = network.lookup(TOPIC, Found()), network.listen(Peers())
        waiting = [network.when_online(), network.connect(PEER, Peers()), lookup.flushed(), listening]
        server.transport.abortConnection()
        settle(clock)
        later = network.lookup(TOPIC, Found()), network.announce(TOPIC)
        waiting += [network.when_online(), network.connect(PEER, Peers()), network.listen(Peers())]
        for each in (*waiting, *(entry.flushed() for entry in later)):
            self.failureResultOf(each, LinkLostError)
        for entry in (lookup, *later):
            self.assertIsNone(self.successResultOf(entry.close()))
        self.assertIsNone(self.successResultOf(network.resume()))
        self.assertIsNone(self.successResultOf(network.close()))
        self.assertEqual(clock.getDelayedCalls(), [])


class EndpointsTests(ClientTestCase):
    """What endpoints do."""

    def test_transport_that_is_lost_at_once(self) -> None:
        """A connection that is lost before ``connect`` has returned is one more failure."""
        clock = Clock()

        @implementer(IStreamClientEndpoint)
        class Fleeting:
            def connect(self, factory: object) -> Deferred:
                protocol = factory.buildProtocol(None)
                near, _ = pipe(clock, PeerAddress(PEER), PeerAddress(PEER))
                near.attach(protocol)
                near.connection_ended(Failure(ConnectionLost()))
                return succeed(protocol)

        network = ProxyNetwork(Fleeting(), backoff=lambda attempt: 1.0, reactor=clock)
        problems = []
        network.events.on("disconnected", problems.append)
        clock.advance(0)
        settle(clock)
        self.assertEqual(len(problems), 1)
        self.assertIsNone(self.successResultOf(network.close()))
        settle(clock)
        self.assertEqual([call for call in clock.getDelayedCalls() if "pipe" not in repr(call)], [])

    def test_features_one_by_one(self) -> None:
        """A server that has only some of the extensions is spoken to in those alone."""
        for feature in Feature:
            with self.subTest(feature.name):
                world = ClientWorld({"features": int(feature), "window": 1000})
                world.network.lookup(TOPIC, Found())
                world.settle()
                joined = world.server.events(JOIN)[0]
                self.assertEqual(joined.request is not None, feature is Feature.REPLIES)
                self.assertEqual(joined.roles is not None, feature is Feature.ROLES)
                self.closes(world)
