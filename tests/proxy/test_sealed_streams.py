"""Tests for ``spaceswarm_proxy.proxy.sealed_streams``: streams that the server carries, and can't read or make up."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectError,
    ConnectTimeoutError,
    FirewallError,
    HandshakeError,
    LimitError,
    LinkLostError,
    PeerUnreachableError,
    StreamDamagedError,
    StreamResetError,
)
from spaceswarm_proxy.interfaces import Peer, SealedAddress
from spaceswarm_proxy.proxy.sealed_streams import OPENING_TIMEOUT, as_connect_error
from spaceswarm_proxy.proxy.wire import Event, EventType
from spaceswarm_proxy.secret.transport import SecretTransport
from tests.keepers import FakeKeeper
from tests.proxy.sealed_client_world import CONNECT, DROP, LABELS, OWN, FarPeer, SealedClientWorld
from tests.proxy.world import Peers

DATA, CLOSE = EventType.ON_STREAM_DATA, EventType.ON_STREAM_CLOSE
LONG = OPENING_TIMEOUT


class SealedStreamTestCase(SynchronousTestCase):
    """A client, a server that says what a test likes, and a peer that has keys."""

    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.world = SealedClientWorld(**self.options)
        self.network = self.world.network
        self.peer = FarPeer()

    def tearDown(self) -> None:
        link = self.network.link
        self.assertEqual([None], self.world.farewell())
        self.assertEqual([], self.world.clock.getDelayedCalls())
        if link is not None:
            mux = link.mux
            self.assertEqual((mux.streams, mux.queued, mux.unread), ({}, 0, 0))
            self.assertEqual((0, 0, 0), (len(link._connects), len(link.sealed), len(link.sealed.sealer)))

    def asked_for(self, number: int = 1) -> tuple[list[Any], Any, int, Any]:
        """A connection is asked for, and hands are shaken.  :returns: outcome, factory, request and the peer's keys."""
        results, peers, request = self.world.asked_for(self.peer.peer)
        return results, peers, request, self.world.shake_hands(self.peer, number)

    def listen(self) -> Peers:
        peers = Peers()
        listening = self.network.listen(peers)
        self.world.settle()
        self.world.server.reply(self.world.server.events(EventType.LISTEN)[-1].request or 0)
        self.world.settle()
        self.successResultOf(listening)
        return peers

    def failed(self, results: list[Any], kind: type[Exception] = PeerUnreachableError) -> Exception:
        self.assertEqual([kind], [type(each) for each in results])
        problem: Exception = results[0]
        return problem

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.server.send(b"\0")
            self.world.pass_time(1)


class OutgoingTests(SealedStreamTestCase):
    """Streams that we ask for."""

    def test_opened(self) -> None:
        """It is open when the peer was heard, and not when the server says so; then both read what the other says."""
        results, peers, request, keys = self.asked_for()
        self.world.open(self.peer, 1, request)
        self.assertEqual([], results)
        session = self.peer.session(keys, False)
        self.assertEqual([], self.world.carry(session))
        self.world.carry(session)
        (protocol,) = results
        self.assertEqual([protocol], peers.built)
        self.assertIsInstance(protocol.transport, SecretTransport)
        address = protocol.transport.getPeer()
        self.assertEqual((address, True, True), (protocol.address, address.end_to_end, address.initiator))
        self.assertEqual(OWN.public_key, protocol.transport.getHost().public_key)
        protocol.transport.write(b"to you")
        session.send(b"to me")
        self.assertEqual([b"to you"], self.world.carry(session))
        self.assertEqual(b"to me", protocol.received)

    def opened(self, number: int = 1, stream: int = 0) -> tuple[Any, Any]:
        """:returns: the protocol of an open stream, and the peer's session."""
        results, _, request, keys = self.asked_for(number)
        self.world.open(self.peer, number, request, stream)
        session = self.peer.session(keys, False)
        self.world.carry(session, stream)
        self.world.carry(session, stream)
        return results[0], session

    def test_end(self) -> None:
        """Its end is the end of data, as on any stream."""
        protocol, session = self.opened()
        protocol.transport.write(b"last")
        protocol.transport.loseConnection()
        self.world.settle()
        self.assertEqual([b"last"], self.world.carry(session))
        self.assertEqual([CLOSE], [event.type for event in self.world.server.events(CLOSE)])
        self.assertTrue(protocol.reason.check(ConnectionDone))

    def test_damaged(self) -> None:
        """What the server changes on the way ends the stream, and nothing of it is delivered."""
        protocol, session = self.opened()
        session.send(b"something")
        (piece, *rest) = session.data_to_send()
        self.assertEqual([], rest)
        self.world.server.data(0, piece[:-1] + bytes([piece[-1] ^ 1]))
        self.world.settle()
        self.assertEqual(b"", protocol.received)
        self.assertTrue(protocol.reason.check(StreamDamagedError))
        self.assertEqual(1, len(self.world.resets()))

    def test_repeated(self) -> None:
        """What it repeats is no message either."""
        protocol, session = self.opened()
        session.send(b"pay ten")
        piece = b"".join(session.data_to_send())
        self.world.server.data(0, piece)
        self.world.server.data(0, piece)
        self.world.settle()
        self.assertEqual(b"pay ten", protocol.received)
        self.assertTrue(protocol.reason.check(StreamDamagedError))

    def test_not_sealed(self) -> None:
        """A server that has said it, and then opens plain streams, is not believed: nothing is said on them."""
        results, peers, request, _ = self.asked_for()
        self.world.open(self.peer, None, request)
        self.assertIn("not-sealed", str(self.failed(results)))
        self.assertEqual([], peers.built)
        self.assertEqual(b"", self.world.server.received(0))
        self.assertEqual(1, len(self.world.resets()))
        self.world.server.send(Event(DROP, handshake=1))
        self.world.settle()

    def test_handshakes_of_others(self) -> None:
        """The keys must be the peer's, of a handshake that we have begun, that is complete, and has no stream yet."""
        other = FarPeer(b"x")
        self.listen()
        self.world.visited_by(self.peer, 11)
        self.world.asked_for(other.peer)
        self.world.shake_hands(other, 12)
        self.world.asked_for(self.peer.peer)
        self.world.ask(EventType.SEAL, handshake=13, key=self.peer.key_pair.public_key)
        self.opened(number=14, stream=100)
        for stream, number in enumerate((11, 12, 13, 14, 15, 2**64)):
            results, peers, request = self.world.asked_for(self.peer.peer)
            self.world.open(self.peer, number, request, stream)
            self.failed(results)
            self.assertEqual([], peers.built)
            self.assertEqual(1, len(self.world.resets(stream)))
        self.assertEqual(0, self.world.kept())
        self.assertTrue(self.network.status().online)

    def test_twice(self) -> None:
        """A second stream with the same handshake is none; the first goes on."""
        protocol, session = self.opened()
        results, _, request = self.world.asked_for(self.peer.peer)
        self.world.open(self.peer, 1, request, 1)
        self.failed(results)
        session.send(b"still here")
        self.world.carry(session)
        self.assertEqual(b"still here", protocol.received)

    def test_unknown_request(self) -> None:
        """A stream that answers nothing is none, and its handshake is forgotten."""
        results, _, _, _ = self.asked_for()
        self.world.open(self.peer, 1, 77)
        self.assertEqual((1, 0, []), (len(self.world.resets()), self.world.kept(), results))

    def test_without_a_key(self) -> None:
        """A TCP service has no keys, and so its stream is plain; one that is said to have some is none."""
        service = Peer.at("192.0.2.7", 80)
        results, peers, request = self.world.asked_for(service)
        self.world.server.open(0, request, service.id)
        self.world.settle()
        self.assertEqual(peers.built, results)
        self.assertFalse(results[0].address.end_to_end)
        results, peers, request = self.world.asked_for(service)
        self.world.asked_for(self.peer.peer)
        self.world.shake_hands(self.peer, 1)
        self.world.open(FarPeer(), 1, request, 1)
        self.failed(results)
        self.assertEqual((1, 0), (len(self.world.resets(1)), self.world.kept()))

    def test_never_heard(self) -> None:
        """A peer that is never heard is given up in time."""
        results, _, request, _ = self.asked_for()
        self.world.open(self.peer, 1, request)
        self.wait(int(LONG))
        self.failed(results, ConnectTimeoutError)
        self.assertEqual(1, len(self.world.resets()))

    def test_garbage(self) -> None:
        """A server that speaks in its place has not the keys."""
        for stream, data in enumerate((b"HTTP/1.1 200 OK\r\n\r\n", bytes(59), b"\x38\0\0" + bytes(56), b"\xff" * 100)):
            results, peers, request, _ = self.asked_for(stream)
            self.world.open(self.peer, stream, request, stream)
            self.world.server.data(stream, data)
            self.world.settle()
            self.failed(results)
            self.assertEqual([], peers.built)

    def test_own_words(self) -> None:
        """A server that sends back what we say is no peer."""
        results, _, request, _ = self.asked_for()
        self.world.open(self.peer, 1, request)
        self.world.server.data(0, self.world.server.received(0))
        self.world.settle()
        self.failed(results)

    def test_reset(self) -> None:
        """What ends a stream before the peer was heard is why there is none, and no stream's error."""
        for stream, (code, kind) in enumerate(
            (("stalled", PeerUnreachableError), ("limit", LimitError), ("firewalled", FirewallError))
        ):
            results, _, request, _ = self.asked_for(stream)
            self.world.open(self.peer, stream, request, stream)
            self.world.server.error(stream, b"max_streams", code)
            self.world.settle()
            self.failed(results, kind)

    def test_over_at_once(self) -> None:
        """Opened and ended in one breath, nothing is left of it."""
        results, _, request, _ = self.asked_for()
        self.world.server.send(self.world.opening(self.peer, 1, request), _error())
        self.world.settle()
        self.failed(results)
        self.assertEqual(0, self.world.kept())

    def test_ended(self) -> None:
        """A peer that ends the stream before it was heard does not want us."""
        results, _, request, _ = self.asked_for()
        self.world.open(self.peer, 1, request)
        self.world.server.end(0)
        self.world.settle()
        self.failed(results, ConnectError)

    def test_cancelled(self) -> None:
        """Cancelled before the peer was heard, it is reset; cancelled before it was opened, it is reset then."""
        for stream, opened in enumerate((True, False)):
            peers = Peers()
            attempt = self.network.connect(self.peer.peer, peers)
            results = self.world.outcome(attempt)
            self.world.settle()
            request = self.world.server.events(CONNECT)[-1].request
            self.world.shake_hands(self.peer, stream)
            if opened:
                self.world.open(self.peer, stream, request, stream)
            attempt.cancel()
            self.failed(results, ConnectCancelledError)
            if not opened:
                self.world.open(self.peer, stream, request, stream)
            self.world.settle()
            self.assertEqual((1, 0), (len(self.world.resets(stream)), self.world.kept()))

    def test_link_lost(self) -> None:
        """With the link an attempt is lost, and a stream."""
        protocol, _ = self.opened()
        results, _, request, _ = self.asked_for(2)
        self.world.open(self.peer, 2, request, 1)
        self.world.cut()
        self.failed(results, LinkLostError)
        self.assertTrue(protocol.reason.check(LinkLostError))

    def test_window(self) -> None:
        """More than the window on a stream that is not open yet costs that stream."""
        results, _, request, _ = self.asked_for()
        self.world.open(self.peer, 1, request)
        self.network.link.mux.streams[0].owner.pauseProducing()
        for _ in range(5):
            self.world.server.data(0, bytes(65536))
        self.world.settle()
        self.failed(results, PeerUnreachableError)


class LabelTests(SealedStreamTestCase):
    """What a stream is bound to, where that is not certain."""

    def attempt(self, number: int, *labels: str) -> int:
        """The newest CONNECT comes to a stream with a peer that knows these.  :returns: the number of CONNECTs."""
        request = self.world.server.events(CONNECT)[-1].request
        keys = self.world.shake_hands(self.peer, number)
        self.world.open(self.peer, number, request, number)
        session = self.peer.session(keys, False, *labels)
        try:
            self.world.carry(session, number)
            self.world.carry(session, number)
        except HandshakeError:  # as it does not know our label, it goes
            self.world.server.error(number, b"", "reset")
            self.world.settle()
        return len(self.world.server.events(CONNECT))

    def test_in_turn(self) -> None:
        """Where the peer says nothing, each is tried once, the likeliest first."""
        results, _, _ = self.world.asked_for(self.peer.peer)
        self.assertEqual([2, 3, 4], [self._mute(number) for number in range(3)])
        self.assertEqual([], results)
        self.assertEqual(4, self._mute(3))
        self.failed(results)

    def _mute(self, number: int) -> int:
        """A peer that only hears, and goes when it does not understand."""
        request = self.world.server.events(CONNECT)[-1].request
        self.world.shake_hands(self.peer, number)
        self.world.open(self.peer, number, request, number)
        self.world.server.error(number, b"", "reset")
        self.world.settle()
        return len(self.world.server.events(CONNECT))

    def test_told(self) -> None:
        """A peer that says its own is believed: that one is next, and the first to try from then on."""
        results, _, _ = self.world.asked_for(self.peer.peer)
        self.assertEqual(2, self.attempt(0, LABELS[2]))
        self.assertEqual(2, self.attempt(1, LABELS[2]))
        (protocol,) = results
        self.assertTrue(protocol.transport.connected)
        labels = self.network.link.sealed.labels
        self.assertEqual((LABELS[2], True), (labels.all[0], labels.are_certain))

    def test_certain(self) -> None:
        """When one was understood, a reset is a reset."""
        self.world.asked_for(self.peer.peer)
        self.attempt(0)
        results, _, _ = self.world.asked_for(self.peer.peer)
        self._mute(1)
        self.failed(results)


class IncomingTests(SealedStreamTestCase):
    """Streams that peers open."""

    def test_opened(self) -> None:
        """Who has knocked and is heard then is there; before that the listener does not hear of it."""
        peers = self.listen()
        keys = self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1)
        self.assertEqual([], peers.built)
        session = self.peer.session(keys, True)
        session.send(b"good day")
        self.assertEqual([], self.world.carry(session))
        (protocol,) = peers.built
        self.assertEqual(b"good day", protocol.received)
        self.assertEqual(
            (self.peer.peer, True, False),
            (protocol.address.peer, protocol.address.end_to_end, protocol.address.initiator),
        )
        protocol.transport.write(b"and to you")
        self.assertEqual([b"and to you"], self.world.carry(session))
        protocol.transport.abortConnection()
        self.world.settle()

    def test_lies(self) -> None:
        """Without keys, with those of another or of a handshake of ours, with none: nobody is there."""
        peers = self.listen()
        other = FarPeer(b"x")
        self.world.visited_by(other, 1)
        self.world.asked_for(self.peer.peer)
        self.world.shake_hands(self.peer, 2)
        for stream, number in enumerate((None, 1, 1, 2, 2, 3)):
            self.world.open(self.peer, number, None, stream)
            self.assertEqual(1, len(self.world.resets(stream)))
        self.assertEqual(([], 0), (peers.built, self.world.kept()))

    def test_nobody_listens(self) -> None:
        """When nobody listens any more, nobody is there."""
        self.listen()
        self.world.visited_by(self.peer, 1)
        self.network.listener.stopListening()
        self.world.settle()
        self.world.server.reply(self.world.server.events(EventType.UNLISTEN)[-1].request or 0)
        self.world.settle()
        self.world.open(self.peer, 1)
        self.assertEqual((["unreachable"], 0), (self.world.resets(), self.world.kept()))

    def test_never_heard(self) -> None:
        """Who opens a stream and says nothing is given up in time, and nobody hears of it."""
        peers = self.listen()
        self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1)
        self.wait(int(LONG))
        self.assertEqual(([], 1), (peers.built, len(self.world.resets())))

    def test_refused(self) -> None:
        """Whom the listener refuses hears the end."""
        peers = self.listen()
        peers.refuse = True
        keys = self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1)
        self.world.carry(self.peer.session(keys, True))
        self.assertEqual({}, self.network.link.mux.streams)

    def test_factory_fails(self) -> None:
        """A factory that fails costs that stream, and is in the log."""
        peers = self.listen()

        def fail(address: Any) -> Any:
            raise ZeroDivisionError

        peers.buildProtocol = fail
        keys = self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1)
        self.world.carry(self.peer.session(keys, True))
        self.assertEqual({}, self.network.link.mux.streams)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class DistantKeysTests(SealedStreamTestCase):
    """Where the secret key is not in this process: streams are handed on as they are."""

    def setUp(self) -> None:
        self.keeper = FakeKeeper(OWN)
        self.options = {"key_pair": self.keeper}
        super().setUp()

    def test_outgoing(self) -> None:
        """The protocol gets the stream at once, and with it by whom it can be read."""
        results, _, request, keys = self.asked_for()
        self.world.open(self.peer, 1, request)
        (protocol,) = results
        address = protocol.address
        self.assertIsInstance(address, SealedAddress)
        self.assertEqual(DistantKeys(keys.hash, self.peer.key_pair.public_key, 1), address.keys)
        self.world.server.data(0, b"cipher text")
        self.world.settle()
        self.assertEqual(b"cipher text", protocol.received)
        self.assertFalse(self.keeper.handshakes[1].closed)

    def test_incoming(self) -> None:
        """The same for a peer that opens one."""
        peers = self.listen()
        self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1)
        (protocol,) = peers.built
        self.assertIsInstance(protocol.address, SealedAddress)
        self.assertEqual((False, True), (protocol.address.initiator, protocol.address.end_to_end))
        self.assertFalse(self.keeper.handshakes[1].closed)

    def test_unused(self) -> None:
        """Keys that nobody takes are given back, whyever that is."""
        peers = self.listen()
        peers.refuse = True
        self.world.visited_by(self.peer, 1)
        self.world.open(self.peer, 1, stream=1)
        results, factory, request, _ = self.asked_for(2)
        factory.refuse = True
        self.world.open(self.peer, 2, request, 2)
        self.failed(results, ConnectCancelledError)
        results, _, request, _ = self.asked_for(3)
        self.world.server.send(self.world.opening(self.peer, 3, request, 3), _error(3))
        self.world.settle()
        self.failed(results)
        self.world.visited_by(self.peer, 4)
        self.world.open(FarPeer(b"x"), 4, stream=4)
        self.asked_for(5)
        self.world.cut()
        self.assertEqual([True] * 5, [each.closed for each in self.keeper.handshakes.values()])


class ErrorTests(SynchronousTestCase):
    """``as_connect_error``: what ``connect`` tells of what has ended a stream."""

    def test_table(self) -> None:
        """Refusals are told as such, a stream's error as that of a peer that can't be reached, the rest as it is."""

        def because(cause: BaseException) -> Exception:
            problem = ConnectError("lost")
            problem.__cause__ = cause
            return problem

        for problem, kind in (
            (StreamResetError("x"), PeerUnreachableError),
            (HandshakeError("x"), PeerUnreachableError),
            (because(StreamResetError()), PeerUnreachableError),
            (because(LimitError("x")), LimitError),
            (because(LinkLostError()), LinkLostError),
            (because(FirewallError()), FirewallError),
            (because(ConnectionLost()), ConnectError),
            (ConnectTimeoutError(), ConnectTimeoutError),
            (LinkLostError(), LinkLostError),
            (ClosedError(), ClosedError),
            (ZeroDivisionError(), ZeroDivisionError),
        ):
            self.assertIs(kind, type(as_connect_error(problem)))


def _error(stream: int = 0) -> Event:
    return Event(EventType.ON_STREAM_ERROR, data=b"no", stream=stream, code="reset")
