"""Tests for ``spaceswarm_proxy.proxy.server`` and its parts, with clients that say just what they are told to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy import server as server_module
from spaceswarm_proxy.proxy.features import ALL, Role
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.strategies import VECTORS
from tests.proxy.test_wire import REFUSED_SENDS
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, World

OTHER = bytes(reversed(TOPIC))
READY, JOIN, LEAVE, OPEN, CLOSE, DATA, ERROR, PEER, CONNECT, UPDATED = (EventType(number) for number in range(1, 11))
EXTENDED = {"features": int(CUSTODIAL), "window": 256 * 1024}


class SetupTests(SynchronousTestCase):
    """Setting up a link."""

    def test_ready_answers_ready(self) -> None:
        """The server says nothing until READY came; then it says READY, and no more to a JavaScript client."""
        world = World()
        client = world.client(ready=False)
        self.assertEqual(client.frames, [])
        client.ready()
        world.settle()
        self.assertEqual(client.frames, [Event(READY)])

    def test_second_ready_is_ignored(self) -> None:
        """READY again has no effect."""
        world = World()
        client = world.client()
        client.ready(features=int(CUSTODIAL), window=1)
        world.settle()
        self.assertEqual(client.kinds(), [READY])

    def test_before_ready_nothing_counts(self) -> None:
        """JOIN, LEAVE and CONNECT before READY are ignored."""
        world = World()
        _, peer_id = world.peer()
        client = world.client(ready=False)
        client.join()
        client.connect(peer_id)
        world.settle()
        client.ready()
        world.settle()
        self.assertEqual(client.kinds(), [READY])

    def test_extensions_are_agreed_on(self) -> None:
        """A client that says what it can do is told what the server can, its window and the client's public key."""
        client = World().client(**EXTENDED)
        ready = client.frames[0]
        self.assertEqual(ready.features, int(ALL))
        self.assertEqual(ready.window, 256 * 1024)
        self.assertEqual(len(ready.key), 32)

    def test_identity(self) -> None:
        """The same seed gives the same public key; without one each client has its own."""
        world = World()
        keys = [world.client(**EXTENDED, key=key).frames[0].key for key in (b"s" * 32, b"s" * 32, None, None)]
        self.assertEqual(keys[0], keys[1])
        self.assertEqual(len(set(keys)), 3)

    def test_bad_identity(self) -> None:
        """A key of another length closes the link and is counted."""
        world = World()
        client = world.client(**EXTENDED, key=b"short")
        self.assertTrue(client.lost)
        self.assertEqual(world.server.stats.violations["bad-key"], 1)

    def test_token(self) -> None:
        """With tokens, only who has one of them comes in; the others are told why and closed."""
        world = World(tokens=[b"one", b"two"])
        self.assertEqual(world.client(token=b"two").kinds(), [READY])
        for wrong in ({}, {"token": b"tw"}, {"token": b""}):
            client = world.client(**wrong)
            self.assertTrue(client.lost)
            self.assertEqual(client.events(EventType.REPLY)[0].code, "unauthorized")

    def test_no_ready(self) -> None:
        """A client that never says READY is closed after ready_timeout."""
        world = World()
        client = world.client(ready=False)
        world.pass_time(13)
        self.assertFalse(client.lost)
        world.pass_time(4)
        self.assertTrue(client.lost)

    def test_idle(self) -> None:
        """A client without topic and stream is closed after idle_timeout, one with a topic is not."""
        world = World(limits=Limits(idle_timeout=30))
        idle, busy = world.client(), world.client()
        busy.join()
        world.pass_time(33)
        self.assertTrue(idle.lost)
        self.assertFalse(busy.lost)


class VectorTests(SynchronousTestCase):
    """What clients sent to the JavaScript server, sent to ours."""

    #: Where the JavaScript one falls silent or dies, ours closes the link, and counts it under this kind.
    CLOSED = REFUSED_SENDS
    #: Where ours knows better.
    OTHER_REPLIES = {
        "no READY, then JOIN": [],
        "JOIN": [PEER, UPDATED],
        "JOIN twice": [PEER, UPDATED],
        "DATA without a data field": [],
        "DATA without a data field, then DATA": [],
        "JOIN while the network reports finished lookups": [PEER, UPDATED],
        "the same with the missing number added": [PEER, UPDATED],
    }

    def test_every_vector(self) -> None:
        """Each either carries on as in JavaScript, or closes that link alone, with one count by kind."""
        names = {vector["name"] for vector in VECTORS["server"]}
        self.assertLessEqual(set(self.CLOSED) | set(self.OTHER_REPLIES), names)
        for vector in VECTORS["server"]:
            with self.subTest(vector["name"]):
                self._check(vector)

    def _check(self, vector: dict) -> None:
        world, name = World(), vector["name"]
        world.peer()
        other = world.client()
        client = world.client(ready=False)
        if vector["stream_0_is_open"]:
            client, _ = world.connected()
        elif vector["ready_sent_first"]:
            client.ready()
            world.settle()
        before = len(client.frames)
        for frame in vector["sends"]:
            client.send(bytes.fromhex(frame))
        world.settle()
        if name in self.CLOSED:
            self.assertTrue(client.lost)
            self.assertEqual(world.server.stats.violations, {self.CLOSED[name]: 1})
        else:
            self.assertFalse(client.lost)
            self.assertEqual(client.kinds()[before:], self.OTHER_REPLIES.get(name, vector["replies"]))
        self.assertFalse(other.lost)


class TopicTests(SynchronousTestCase):
    """JOIN, LEAVE and what is found."""

    def test_peers_are_reported(self) -> None:
        """JOIN is followed by ON_PEER for each peer, and ON_UPDATED."""
        world = World()
        ids = {world.peer()[1], world.peer()[1]}
        client = world.client()
        client.join()
        world.settle()
        self.assertEqual({event.peer for event in client.events(PEER)}, ids)
        self.assertEqual({event.topic for event in client.events(PEER) + client.events(UPDATED)}, {TOPIC})

    def test_join_twice(self) -> None:
        """A second JOIN starts no second lookup and repeats no peer."""
        world = World()
        world.peer()
        client = world.client()
        client.join()
        client.join()
        world.settle()
        self.assertEqual(len(client.events(PEER)), 1)
        self.assertEqual(len(world.server.lookups), 1)

    def test_join_again_later_looks_again(self) -> None:
        """A JOIN after min_refresh asks the network for another round, in which peers are reported again."""
        world = World()
        world.peer()
        client = world.client()
        client.join()
        world.pass_time(12)
        client.join()
        client.join()
        world.settle()
        self.assertEqual(len(client.events(PEER)), 2)

    def test_lookups_are_shared(self) -> None:
        """Clients share a lookup, late ones hear what is known, and the last to leave closes it."""
        world = World()
        world.peer()
        first, second = world.client(), world.client()
        for client in (first, second):
            client.join()
            world.settle()
            self.assertEqual(len(client.events(PEER)), 1)
        self.assertEqual(len(world.server.lookups), 1)
        first.send(Event(LEAVE, topic=TOPIC))
        world.settle()
        self.assertEqual(len(world.server.lookups), 1)
        second.transport.loseConnection()
        world.settle()
        self.assertEqual(len(world.server.lookups), 0)

    def test_connect_after_leave(self) -> None:
        """Peers reported before LEAVE can still be connected to."""
        world = World()
        _, peer_id = world.peer()
        client = world.client()
        client.join()
        world.settle()
        client.send(Event(LEAVE, topic=TOPIC))
        client.connect(peer_id)
        world.settle()
        self.assertEqual(len(client.events(OPEN)), 1)

    def test_topic_limit(self) -> None:
        """A client over max_topics is told so by name, and keeps what it has; others are not concerned."""
        world = World(limits=Limits(max_topics=1))
        client, other = world.client(**EXTENDED), world.client(**EXTENDED)
        for each in (client, other):
            each.join(request=1)
        client.join(OTHER, request=2)
        world.settle()
        replies = {event.request: (event.code, event.data) for event in client.events(EventType.REPLY)}
        self.assertEqual(replies, {1: (None, None), 2: ("limit", b"max_topics=1")})
        self.assertEqual([event.code for event in other.events(EventType.REPLY)], [None])
        self.assertEqual(world.server.stats.limits, {"max_topics": 1})

    def test_total_topic_limit(self) -> None:
        """All clients together have a limit of topics."""
        world = World(limits=Limits(max_topics_total=1))
        first, second = world.client(**EXTENDED), world.client(**EXTENDED)
        first.join(request=1)
        second.join(request=1)
        second.join(OTHER, request=2)
        world.settle()
        self.assertEqual([event.code for event in second.events(EventType.REPLY)], ["limit", None])

    def test_operator_announces(self) -> None:
        """With announce=True two JavaScript clients on one topic hear of each other, not of themselves."""
        world = World(announce=True)
        first, second = world.client(), world.client()
        first.join()
        second.join()
        world.settle()
        found = [{event.peer for event in client.events(PEER)} for client in (first, second)]
        self.assertEqual([len(each) for each in found], [1, 1])
        self.assertNotEqual(*found)

    def test_only_who_asks_is_announced(self) -> None:
        """Without it, a client is found when it asked for that role, and no more when it gave it up."""
        world = World()
        shy, bold, watcher = world.client(), world.client(**EXTENDED), world.client()
        shy.join()
        bold.join(roles=int(Role.ANNOUNCE))
        world.settle()
        watcher.join()
        world.settle()
        self.assertEqual([event.peer for event in watcher.events(PEER)], [bold.frames[0].key.hex().encode()])
        bold.join(roles=int(Role.LOOKUP))
        world.settle()
        late = world.client()
        late.join(topic=TOPIC)
        world.pass_time(12)
        self.assertEqual(bold.link.memberships[TOPIC].roles, Role.LOOKUP)

    def test_handle_incoming(self) -> None:
        """With handle_incoming the server is found under every topic joined, and who connects is handed over."""
        incoming = Peers()
        world = World(handle_incoming=incoming)
        client = world.client()
        client.join()
        world.settle()
        visitor = world.hub.network()
        found = []

        class Finder:
            def peer_found(self, peer: object) -> None:
                found.append(peer)

            def lookup_updated(self) -> None:
                """Not needed."""

        visitor.lookup(TOPIC, Finder())
        world.settle()
        visitor.connect(found[0], Peers())
        world.settle()
        self.assertEqual(len(incoming.built), 1)
        client.send(Event(LEAVE, topic=TOPIC))
        world.settle()
        self.assertEqual(world.server._incoming._announcements, {})

    def test_connect_clients_to(self) -> None:
        """A TCP service of the operator's is reported to those who have joined the topic, named as in JavaScript."""
        world = World()
        inside, outside = world.client(), world.client()
        inside.join()
        outside.join(OTHER)
        world.settle()
        world.server.connect_clients_to(TOPIC, 8080, "192.0.2.7")
        world.settle()
        self.assertEqual([event.peer for event in inside.events(PEER)], [b"192.0.2.7:8080:" + TOPIC.hex().encode()])
        self.assertEqual(outside.events(PEER), [])


class StreamTests(SynchronousTestCase):
    """CONNECT and what follows."""

    def test_open(self) -> None:
        """OPEN comes when the peer is connected, with topic, peer and stream 0; bytes go both ways."""
        world = World()
        client, peer = world.connected()
        opened = client.events(OPEN)[0]
        self.assertEqual((opened.topic, opened.stream), (TOPIC, 0))
        client.data(0, b"ping")
        peer.transport.write(b"pong")
        world.settle()
        self.assertEqual(peer.received, b"ping")
        self.assertEqual(client.received(0), b"pong")

    def test_connect_to_a_stranger(self) -> None:
        """
        CONNECT to an unknown id is ignored, or with replies told; an address of the client's choosing is never dialled.
        """
        world = World()
        client, modern = world.client(), world.client(**EXTENDED)
        client.connect(b"127.0.0.1:22")
        modern.connect(b"127.0.0.1:22", request=7)
        world.settle()
        self.assertEqual(client.kinds(), [READY])
        reply = modern.events(EventType.REPLY)[0]
        self.assertEqual((reply.request, reply.code), (7, "unknown-peer"))
        self.assertEqual(world.server.stats.dials, 0)

    def test_connect_by_key(self) -> None:
        """With replies, a public key needs no lookup."""
        world = World()
        peers, peer_id = world.peer()
        client = world.client(**EXTENDED)
        client.connect(peer_id, request=3)
        world.settle()
        self.assertEqual(client.events(OPEN)[0].request, 3)
        self.assertEqual(len(peers.built), 1)

    def test_connect_without_a_key(self) -> None:
        """A peer without a key is reached in the network where it was found; nobody asks for the client's identity."""
        world = World()
        asked: list[bytes] = []
        self.patch(world.server.network, "with_identity", lambda key_pair: self.fail("an identity was made"))
        self.patch(world.server.network, "connect", lambda peer, factory: asked.append(peer.id) or Deferred())
        world.hub.announce_address(TOPIC, "192.0.2.1", 1)
        client = world.client()
        client.join()
        world.settle()
        client.connect(client.events(EventType.ON_PEER)[0].peer)
        world.settle()
        self.assertEqual(asked, [b"192.0.2.1:1"])

    def test_failed_connect(self) -> None:
        """A JavaScript client gets OPEN, ERROR, CLOSE in this order; one with replies the reply alone."""
        world = World()
        peers, peer_id = world.peer()
        peers.refuse = True
        client, modern = world.client(), world.client(**EXTENDED)
        for each in (client, modern):
            each.join()
            world.settle()
        client.connect(peer_id)
        modern.connect(peer_id, request=5)
        world.settle()
        self.assertEqual(client.kinds()[-3:], [OPEN, ERROR, CLOSE])
        self.assertEqual(modern.events(OPEN), [])
        self.assertEqual(modern.events(EventType.REPLY)[-1].code, "firewalled")
        self.assertEqual(world.server.open_streams, 0)

    def test_one_connection_to_a_keyed_peer(self) -> None:
        """A JavaScript client that asks three times has one connection, and may ask again when that is over."""
        world = World()
        peers, peer_id = world.peer()
        client = world.client()
        client.join()
        world.settle()
        for _ in range(3):
            client.connect(peer_id)
        world.settle()
        client.connect(peer_id)
        world.settle()
        self.assertEqual(len(peers.built), 1)
        client.send(Event(CLOSE, stream=0))
        world.settle()
        client.connect(peer_id)
        world.settle()
        self.assertEqual([event.stream for event in client.events(OPEN)], [0, 1])

    def test_as_many_as_asked_with_replies(self) -> None:
        """With replies, two CONNECTs open two streams."""
        world = World()
        peers, peer_id = world.peer()
        client = world.client(**EXTENDED)
        client.connect(peer_id, request=1)
        client.connect(peer_id, request=2)
        world.settle()
        self.assertEqual([(event.request, event.stream) for event in client.events(OPEN)], [(1, 0), (2, 1)])

    def test_stream_limits(self) -> None:
        """max_streams of a client and of all: told by name, and a slot is free again when a stream is over."""
        for name in ("max_streams", "max_streams_total"):
            world = World(limits=Limits(**{name: 1}))
            _, peer_id = world.peer()
            client = world.client(**EXTENDED)
            client.connect(peer_id, request=1)
            world.settle()
            client.connect(peer_id, request=2)
            world.settle()
            self.assertEqual(client.events(EventType.REPLY)[0].data, b"%s=1" % name.encode())
            client.send(Event(CLOSE, stream=0))
            world.settle()
            client.connect(peer_id, request=3)
            world.settle()
            self.assertEqual(len(client.events(OPEN)), 2)

    def test_inbound(self) -> None:
        """A stream that a peer opens reaches the client that announced, as an OPEN that nobody asked for."""
        world = World()
        client = world.client(**EXTENDED)
        client.join(roles=int(Role.ANNOUNCE), request=1)
        world.settle()
        visitor, peers = world.hub.network(), Peers()
        visitor.connect(Peer.keyed(client.frames[0].key), peers)
        world.settle()
        opened = client.events(OPEN)[0]
        self.assertEqual((opened.request, opened.topic), (None, TOPIC))
        self.assertEqual(opened.peer, visitor.public_key.hex().encode())
        client.data(0, b"hello")
        world.settle()
        self.assertEqual(peers.built[0].received, b"hello")

    def test_two_javascript_clients_meet_once(self) -> None:
        """
        Two clients that cannot de-duplicate, and both connect on ON_PEER, end up with one stream each, the same one.
        """
        world = World(announce=True)
        clients = [world.client(), world.client()]
        for client in clients:
            client.join()
        world.settle()
        for client in clients:
            client.connect(client.events(PEER)[0].peer)
        world.settle()
        open_now = [
            {event.stream for event in client.events(OPEN)}
            - {event.stream or 0 for kind in (CLOSE, ERROR) for event in client.events(kind)}
            for client in clients
        ]
        self.assertEqual([len(each) for each in open_now], [1, 1])
        self.assertEqual([client.events(ERROR) for client in clients], [[], []])
        clients[0].data(open_now[0].pop(), b"over here")
        world.settle()
        self.assertEqual(clients[1].received(open_now[1].pop()), b"over here")


class EndTests(SynchronousTestCase):
    """How streams end."""

    def test_peer_ends(self) -> None:
        """
        The peer's end of data is the marker; the client goes on writing; when it has ended too, CLOSE, and nothing
        is left.
        """
        world = World()
        client, peer = world.connected()
        peer.transport.write(b"last words")
        peer.transport.loseWriteConnection()
        world.settle()
        self.assertEqual(client.kinds()[-2:], [DATA, DATA])
        self.assertTrue(client.ended(0))
        client.data(0, b"answer")
        client.end(0)
        world.settle()
        self.assertEqual(peer.received, b"answer")
        self.assertIsInstance(peer.reason.value, ConnectionDone)
        self.assertEqual(client.kinds()[-1], CLOSE)
        self.assertEqual(world.server.open_streams, 0)

    def test_client_ends(self) -> None:
        """The marker becomes a half-close; the peer's answer flows, then CLOSE."""
        world = World()
        client, peer = world.connected()
        client.data(0, b"question")
        client.end(0)
        world.settle()
        self.assertTrue(peer.read_ended)
        peer.transport.write(b"answer")
        peer.transport.loseConnection()
        world.settle()
        self.assertEqual(client.received(0), b"answer")
        self.assertEqual(client.kinds()[-1], CLOSE)
        self.assertEqual(world.server.open_streams, 0)

    def test_client_closes(self) -> None:
        """CLOSE delivers what came before it, then ends the upstream in good order."""
        world = World()
        client, peer = world.connected()
        client.data(0, b"x" * 50000)
        client.send(Event(CLOSE, stream=0))
        world.settle()
        self.assertEqual(len(peer.received), 50000)
        peer.transport.loseConnection()
        world.settle()
        self.assertIsInstance(peer.reason.value, ConnectionDone)
        self.assertEqual(world.server.open_streams, 0)

    def test_peer_that_never_reads_the_rest(self) -> None:
        """After CLOSE, a peer that takes nothing is aborted after close_timeout."""
        world = World()
        client, peer = world.connected()
        peer.transport.pauseProducing()
        client.data(0, b"x" * 200_000)
        client.send(Event(CLOSE, stream=0))
        world.pass_time(33)
        self.assertEqual(world.server.open_streams, 0)
        self.assertEqual(world.server._lingering, {})

    def test_client_error_aborts(self) -> None:
        """ERROR from the client resets the peer's connection."""
        world = World()
        client, peer = world.connected()
        client.send(Event(ERROR, stream=0, data=b"no"))
        world.settle()
        self.assertNotIsInstance(peer.reason.value, ConnectionDone)
        self.assertEqual(world.server.open_streams, 0)

    def test_peer_reset(self) -> None:
        """A reset of the peer's is ERROR to the client."""
        world = World()
        client, peer = world.connected()
        peer.transport.abortConnection()
        world.settle()
        self.assertEqual(client.kinds()[-1], ERROR)
        self.assertEqual(world.server.open_streams, 0)

    def test_javascript_client_that_never_closes(self) -> None:
        """After the peer's end, CLOSE follows in half_close_grace, counted from the client's last data."""
        world = World()
        client, peer = world.connected()
        peer.transport.loseWriteConnection()
        world.pass_time(8)
        client.data(0, b"still here")
        world.pass_time(8)
        self.assertEqual(client.events(CLOSE), [])
        world.pass_time(4)
        self.assertEqual(len(client.events(CLOSE)), 1)
        peer.transport.loseConnection()
        world.settle()
        self.assertEqual(world.server.open_streams, 0)

    def test_no_grace(self) -> None:
        """With half_close_grace=0, CLOSE comes with the peer's end, as from the JavaScript server."""
        world = World(limits=Limits(half_close_grace=0))
        client, peer = world.connected()
        peer.transport.loseConnection()
        world.settle()
        self.assertEqual(client.kinds()[-2:], [DATA, CLOSE])

    def test_link_lost(self) -> None:
        """When the link goes, upstreams are ended, lookups and announcements too."""
        world = World(announce=True)
        client, peer = world.connected()
        client.transport.abortConnection()
        world.settle()
        self.assertIsNotNone(peer.reason)
        self.assertEqual((len(world.server.links), world.server.open_streams, len(world.server.lookups)), (0, 0, 0))

    def test_link_lost_while_dialling(self) -> None:
        """The dial is cancelled."""
        world = World()
        cancelled = []
        world.server.dial = lambda link, peer, dial: Deferred(lambda _: cancelled.append(peer))
        _, peer_id = world.peer()
        client = world.client()
        client.join()
        world.settle()
        client.connect(peer_id)
        world.settle()
        client.transport.abortConnection()
        world.settle()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(world.server.open_streams, 0)

    def test_dial_timeout(self) -> None:
        """A dial that comes to nothing is given up after connect_timeout, and told as that."""
        world = World(limits=Limits(connect_timeout=5))
        world.server.dial = lambda link, peer, dial: Deferred()
        _, peer_id = world.peer()
        client = world.client(**EXTENDED)
        client.connect(peer_id, request=1)
        world.pass_time(7)
        self.assertEqual(client.events(EventType.REPLY)[0].code, "connect-timeout")


class PressureTests(SynchronousTestCase):
    """Backpressure, windows, stalls."""

    def test_client_that_does_not_read(self) -> None:
        """What a peer sends to a client that has stopped reading is taken up to a bound, then the peer is stopped."""
        world = World()
        client, peer = world.connected()
        client.transport.pauseProducing()
        producer = Endless(peer.transport)
        world.settle()
        producer.run(world)
        self.assertLess(producer.written, 1024 * 1024)
        client.transport.resumeProducing()
        world.settle()
        self.assertGreater(len(client.received(0)), 100_000)

    def test_peer_that_does_not_read(self) -> None:
        """Without windows, a stuck peer stops the link at its bound; after stall_timeout its stream alone is reset."""
        world = World()
        client, peer = world.connected()
        peers, other_id = world.peer(OTHER)
        client.join(OTHER)
        world.settle()
        client.connect(other_id)
        world.settle()
        peer.transport.pauseProducing()
        for _ in range(50):
            client.data(0, b"x" * 10_000)
            world.settle()
        client.data(1, b"behind it")
        world.settle()
        self.assertEqual(peers.built[0].received, b"")
        world.pass_time(40)
        self.assertEqual([event.stream for event in client.events(ERROR)], [0])
        self.assertEqual(peers.built[0].received, b"behind it")

    def test_windows_isolate_streams(self) -> None:
        """With windows, a stuck stream holds nobody up, and is not reset."""
        world = World()
        client, peer = world.connected(**EXTENDED)
        peers, other_id = world.peer(OTHER)
        client.connect(other_id, request=2)
        world.settle()
        peer.transport.pauseProducing()
        for _ in range(25):
            client.data(0, b"x" * 10_000)
        client.data(1, b"beside it")
        world.pass_time(40)
        self.assertEqual(peers.built[0].received, b"beside it")
        self.assertEqual(client.events(ERROR), [])

    def test_window_overrun(self) -> None:
        """Who sends more than the window loses the stream, told as window-exceeded; the link goes on."""
        world = World()
        client, peer = world.connected(**EXTENDED)
        peer.transport.pauseProducing()
        for _ in range(60):
            client.data(0, b"x" * 10_000)
        world.settle()
        self.assertEqual([event.code for event in client.events(ERROR)], ["window-exceeded"])
        self.assertFalse(client.lost)

    def test_windows_stop_the_peer(self) -> None:
        """Not more than the client's window goes to it until it grants more."""
        world = World()
        client, peer = world.connected(features=int(CUSTODIAL), window=1000)
        peer.transport.write(b"y" * 5000)
        world.settle()
        self.assertEqual(len(client.received(0)), 1000)
        client.send(Event(EventType.WINDOW, stream=0, window=500))
        world.settle()
        self.assertEqual(len(client.received(0)), 1500)

    def test_credit_follows_consumption(self) -> None:
        """The server grants when the peer has taken the bytes, not when they arrive."""
        world = World()
        client, peer = world.connected(**EXTENDED)
        client.data(0, b"x" * 200_000)
        world.settle()
        self.assertEqual(sum(event.window for event in client.events(EventType.WINDOW)), 200_000)

    def test_small_messages_pass_bulk(self) -> None:
        """While one stream sends without end, another's message comes through in a few frames."""
        world = World()
        client, bulk = world.connected()
        peers, other_id = world.peer(OTHER)
        client.join(OTHER)
        world.settle()
        client.connect(other_id)
        world.settle()
        client.transport.pauseProducing()
        Endless(bulk.transport).run(world)
        peers.built[0].transport.write(b"quick")
        world.settle()
        before = len(client.frames)
        client.transport.resumeProducing()
        world.settle()
        new = [frame for frame in client.frames[before:] if isinstance(frame, tuple)]
        position = next(index for index, frame in enumerate(new) if frame[0] == 1)
        # ahead of it: what the carrier had already taken (64 KiB), and one frame
        self.assertLess(position, 10)


class Endless:
    """A push producer that never has enough."""

    def __init__(self, transport: object) -> None:
        self.transport = transport
        self.written = 0
        self.paused = False
        transport.registerProducer(self, True)

    def run(self, world: World) -> None:
        for _ in range(2000):
            if self.paused:
                world.settle()
                if self.paused:
                    return
            self.transport.write(b"z" * 10_000)
            self.written += 10_000
            world.clock.advance(0)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = True


class LivenessTests(SynchronousTestCase):
    """Silence."""

    def test_ping_then_death(self) -> None:
        """After ping_interval of silence PING, after ping_timeout more the link is cut."""
        world = World()
        client = world.client(**EXTENDED)
        client.join()
        world.pass_time(33)
        self.assertEqual(len(client.events(EventType.PING)), 1)
        self.assertFalse(client.lost)
        world.pass_time(32)
        self.assertTrue(client.lost)

    def test_pong_keeps_it(self) -> None:
        """Any answer keeps the link."""
        world = World()
        client = world.client(**EXTENDED)
        client.join()
        for _ in range(4):
            world.pass_time(33)
            client.send(Event(EventType.PONG, data=b""))
            world.settle()
        self.assertFalse(client.lost)

    def test_ping_is_answered(self) -> None:
        """PONG repeats PING's data; a long one is not answered."""
        world = World()
        client = world.client(**EXTENDED)
        client.send(Event(EventType.PING, data=b"abc"), Event(EventType.PING, data=b"x" * 65))
        world.settle()
        self.assertEqual([event.data for event in client.events(EventType.PONG)], [b"abc"])

    def test_javascript_client_is_left_alone(self) -> None:
        """A silent JavaScript client with a topic stays; it is sent empty frames, which it does not notice."""
        world = World()
        client = world.client()
        client.join()
        world.pass_time(200)
        self.assertFalse(client.lost)
        self.assertEqual(client.kinds(), [READY, UPDATED])


class LimitTests(SynchronousTestCase):
    """Limits of the whole server."""

    def test_clients(self) -> None:
        """One client too many is told the limit and closed; the others stay; a slot that is free can be used."""
        world = World(limits=Limits(max_clients=2))
        first, second, third = (world.client() for _ in range(3))
        self.assertEqual([each.lost for each in (first, second, third)], [False, False, True])
        self.assertEqual(third.events(EventType.REPLY)[0].data, b"max_clients=2")
        first.transport.loseConnection()
        world.settle()
        self.assertFalse(world.client().lost)

    def test_clients_of_one_address(self) -> None:
        """Links from one address have a limit of their own."""
        world = World(limits=Limits(max_clients_per_address=1))
        first, second, other = world.client(), world.client(), world.client(host="203.0.113.9")
        self.assertEqual([each.lost for each in (first, second, other)], [False, True, False])

    def test_partial_frames(self) -> None:
        """Unfinished frames of all clients together are bounded; who goes over is closed."""
        world = World(limits=Limits(max_partial_total=100_000))
        first, second = world.client(), world.client()
        for client in (first, second):
            client.send(b"\x80\x80\x40" + b"x" * 60_000)
            world.settle()
        self.assertEqual([each.lost for each in (first, second)], [False, True])
        self.assertEqual(world.server.stats.limits, {"max_partial_total": 1})
        first.transport.abortConnection()
        world.settle()
        self.assertEqual(world.server.partial.held, 0)

    def test_known_peers(self) -> None:
        """A client is remembered to know max_peers peers; the oldest is forgotten."""
        world = World(limits=Limits(max_peers=2))
        ids = [world.peer()[1] for _ in range(3)]
        client = world.client()
        client.join()
        world.settle()
        order = [event.peer for event in client.events(PEER)]
        self.assertEqual(set(order), set(ids))
        client.connect(order[0])
        client.connect(order[2])
        world.settle()
        self.assertEqual([event.peer for event in client.events(OPEN)], [order[2]])


class LogTests(SynchronousTestCase):
    """What the operator sees."""

    def test_a_limit_is_no_flood(self) -> None:
        """Every time that a limit is reached is counted; what is logged is one line in a second, with its name."""
        world = World(limits=Limits(max_topics=1))
        logged: list[str] = []
        self.patch(server_module.log, "warn", lambda text, **fields: logged.append(text.format(**fields)))
        client = world.client()
        for number in range(50):
            client.join(bytes([number]) * 32)
        world.settle()
        self.assertEqual(world.server.stats.limits["max_topics"], 49)
        self.assertEqual(len(logged), 1)
        self.assertIn("max_topics", logged[0])
        world.pass_time(2)
        client.join(b"x" * 32)
        world.settle()
        self.assertEqual(len(logged), 2)


class StopTests(SynchronousTestCase):
    """Draining and closing."""

    def test_close(self) -> None:
        """close() ends every link and fires when nothing is left, not even a timer."""
        world = World()
        client, peer = world.connected()
        done = world.server.close()
        world.settle()
        self.successResultOf(done)
        self.assertTrue(client.lost)
        self.assertIsNotNone(peer.reason)
        world.hub.close()
        world.settle()
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_closed_takes_nobody(self) -> None:
        """After close(), connections are refused."""
        world = World()
        world.server.close()
        self.assertIsNone(world.server.buildProtocol(None))
        self.assertRaises(ClosedError, world.server.handle_stream, None)

    def test_drain(self) -> None:
        """
        While draining, streams go on, new clients, topics and streams are refused; it ends when the clients have gone.
        """
        world = World()
        client, peer = world.connected(**EXTENDED)
        done = world.server.drain(60)
        newcomer = world.client()
        client.join(OTHER, request=8)
        client.connect(peer.transport.getHost().peer.id, request=9)
        client.data(0, b"still")
        world.settle()
        self.assertTrue(newcomer.lost)
        codes = {event.request: event.code for event in client.events(EventType.REPLY)}
        self.assertEqual(codes, {8: "draining", 9: "draining"})
        self.assertEqual(peer.received, b"still")
        self.assertNoResult(done)
        peer.transport.loseConnection()
        world.pass_time(2)
        self.assertTrue(client.lost)
        self.successResultOf(done)

    def test_drain_lets_the_idle_go(self) -> None:
        """A client without streams that can be told why is closed at once: it loses nothing."""
        world = World()
        client = world.client(**EXTENDED)
        client.join()
        done = world.server.drain(60)
        world.settle()
        self.assertEqual(client.events(EventType.REPLY)[-1].code, "draining")
        self.successResultOf(done)

    def test_drain_grace(self) -> None:
        """Clients that stay are closed when the grace time is over."""
        world = World()
        client, _ = world.connected()
        done = world.server.drain(10)
        world.pass_time(12)
        self.successResultOf(done)
        self.assertTrue(client.lost)

    def test_handle_stream(self) -> None:
        """Any connected transport can be served."""
        world = World()
        transport = StringTransport()
        link = world.server.handle_stream(transport)
        link.dataReceived(b"\x02\x08\x01")
        self.assertEqual(transport.value(), b"\x02\x08\x01")
