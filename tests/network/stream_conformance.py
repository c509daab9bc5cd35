"""What every network promises of streams."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IConsumer, IListeningPort, IPushProducer, ITransport

from spaceswarm_proxy.errors import ConnectError, DuplicateConnectionError, SpaceswarmError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from tests.network.support import Collector, Echo, HalfCloseRecorder, NetworkTests, Source, StoppedRecorder

MEBI = 1024 * 1024


class StreamConformance(NetworkTests):
    """Opening streams, what goes over them, and how they end."""

    #: Bytes that may be accepted for a reader that has stopped, on the whole way.
    backpressure_limit = 4 * MEBI

    async def test_text_both_ways(self) -> None:
        """What one end writes, the other reads, whichever of them opened the stream."""
        near, far = await self.connected()
        near.transport.write(b"knock ")
        near.transport.writeSequence([b"knock", b"!"])
        await far.receives(b"knock knock!")
        far.transport.write(b"who is there?")
        await near.receives(b"who is there?")

    async def test_addresses(self) -> None:
        """Each end is told who the other is, and which of them opened the stream."""
        one, two = await self.networks(2)
        listening, connecting = await self.listening(two), Collector()
        near = await one.connect(Peer.keyed(two.public_key), connecting)
        far = await listening.connected()
        for protocol, collector, other, initiator in (
            (near, connecting, two, True),
            (far, listening, one, False),
        ):
            for address in (protocol.transport.getPeer(), collector.addresses[0]):
                self.assertIsInstance(address, PeerAddress)
                self.assertEqual((address.public_key, address.initiator), (other.public_key, initiator))
        self.assertEqual(near.transport.getHost().public_key, one.public_key)
        self.assertEqual(far.transport.getHost().public_key, two.public_key)

    async def test_transport(self) -> None:
        """The transport is one as Twisted's protocols expect it."""
        for protocol in await self.connected():
            for interface in (ITransport, IConsumer, IPushProducer):
                self.assertTrue(interface.providedBy(protocol.transport), interface)

    async def test_connected_when_it_fires(self) -> None:
        """``connect`` gives the protocol that the factory built, connected."""
        one, two = await self.networks(2)
        await self.listening(two)
        collector = Collector()
        protocol = await one.connect(Peer.keyed(two.public_key), collector)
        self.assertEqual(collector.built, [protocol])
        self.assertTrue(protocol.made)

    async def test_two_streams(self) -> None:
        """Two calls open two streams to the same peer, and each has its own data."""
        one, two = await self.networks(2)
        await self.listening(two, Echo)
        streams = [await one.connect(Peer.keyed(two.public_key), Collector()) for _ in range(2)]
        for stream, text in zip(streams, (b"first", b"second"), strict=True):
            stream.transport.write(text)
        for stream, text in zip(streams, (b"first", b"second"), strict=True):
            await stream.receives(text)

    async def test_both_connect(self) -> None:
        """Two who listen can each open a stream to the other."""
        networks = await self.networks(2)
        for network in networks:
            await self.listening(network, Echo)
        for one, two in (networks, reversed(networks)):
            stream = await one.connect(Peer.keyed(two.public_key), Collector())
            stream.transport.write(b"hello")
            await stream.receives(b"hello")

    async def test_megabytes_both_ways(self) -> None:
        """Five megabytes each way at once arrive as they were sent, then the end of each direction."""
        ends = await self.connected(HalfCloseRecorder, HalfCloseRecorder)
        blobs = [Random(seed).randbytes(5_000_000) for seed in (1, 2)]
        for end, blob in zip(ends, blobs, strict=True):
            Source(end.transport, blob)
            end.transport.loseWriteConnection()
        for end, blob in zip(ends, reversed(blobs), strict=True):
            await end.when(lambda end=end: end.read_lost)
            self.assertEqual((len(end.received), end.digest), (len(blob), sha256(blob).digest()))
        for end in ends:
            end.transport.loseConnection()
        for end in ends:
            await end.loses()
            self.assertTrue(end.clean, end.lost)

    async def test_backpressure(self) -> None:
        """A reader that stops stops its writer, does not hold up another stream, and loses nothing."""
        one, two = await self.networks(2)
        builds = iter([StoppedRecorder, Echo])
        listening = await self.listening(two, lambda: next(builds)())
        peer = Peer.keyed(two.public_key)
        near = await one.connect(peer, Collector())
        far = await listening.connected()
        neighbour = await one.connect(peer, Collector())
        source = Source(near.transport, bytes(16 * MEBI))
        await source.when(lambda: source.paused)
        for count in range(1, 51):
            neighbour.transport.write(b".")
            await neighbour.receives(b"." * count)
        self.assertTrue(source.paused)
        self.assertLessEqual(source.written, self.backpressure_limit)
        far.transport.resumeProducing()
        await far.when(lambda: len(far.received) == 16 * MEBI)
        self.assertTrue(source.finished)

    async def test_backpressure_towards_the_opener(self) -> None:
        """The opener's end can stop its writer too."""
        near, far = await self.connected(StoppedRecorder)
        source = Source(far.transport, bytes(16 * MEBI))
        await source.when(lambda: source.paused)
        self.assertLessEqual(source.written, self.backpressure_limit)
        near.transport.resumeProducing()
        await near.when(lambda: len(near.received) == 16 * MEBI)

    async def test_half_close(self) -> None:
        """When one end has said all, the other reads it all and the end, and its answer still arrives."""
        near, far = await self.connected(HalfCloseRecorder, HalfCloseRecorder)
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        await far.when(lambda: far.read_lost)
        self.assertEqual(far.received, b"question")
        far.transport.write(b"answer")
        far.transport.loseConnection()
        await near.when(lambda: near.read_lost)
        self.assertEqual(near.received, b"answer")
        near.transport.loseConnection()
        for end in (near, far):
            await end.loses()
            self.assertTrue(end.clean, end.lost)

    async def test_half_close_by_the_listener(self) -> None:
        """Who took the stream may be the first to have said all."""
        near, far = await self.connected(HalfCloseRecorder, HalfCloseRecorder)
        far.transport.write(b"welcome")
        far.transport.loseWriteConnection()
        await near.when(lambda: near.read_lost)
        self.assertEqual(near.received, b"welcome")
        near.transport.write(b"thanks")
        near.transport.loseConnection()
        await far.when(lambda: far.read_lost)
        self.assertEqual(far.received, b"thanks")
        far.transport.loseConnection()
        for end in (near, far):
            await end.loses()

    async def test_end_of_one_who_cannot_half_close(self) -> None:
        """A protocol that knows no half-close loses its connection, cleanly, when the other end has said all."""
        near, far = await self.connected(HalfCloseRecorder)
        near.transport.write(b"bye")
        near.transport.loseWriteConnection()
        await far.loses()
        self.assertEqual((bytes(far.received), far.clean), (b"bye", True))
        await near.when(lambda: near.read_lost)
        near.transport.loseConnection()
        await near.loses()

    async def test_clean_close(self) -> None:
        """``loseConnection`` ends a stream after everything is written; both ends see ``ConnectionDone``."""
        near, far = await self.connected()
        blob = Random(3).randbytes(MEBI)
        near.transport.write(blob)
        near.transport.loseConnection()
        await far.loses()
        await near.loses()
        self.assertEqual(far.digest, sha256(blob).digest())
        self.assertTrue(near.clean and far.clean, (near.lost, far.lost))

    async def test_clean_close_by_the_listener(self) -> None:
        """Who took the stream may close it, too."""
        near, far = await self.connected()
        far.transport.write(b"go away")
        far.transport.loseConnection()
        await near.loses()
        await far.loses()
        self.assertEqual(near.received, b"go away")
        self.assertTrue(near.clean and far.clean, (near.lost, far.lost))

    async def test_read_after_the_close(self) -> None:
        """A slow reader gets all that was sent before the other end closed."""
        near, far = await self.connected(build_far=StoppedRecorder)
        near.transport.write(b"x" * 10_000)
        near.transport.loseConnection()
        await near.loses()
        self.assertIsNone(far.lost)
        far.transport.resumeProducing()
        await far.loses()
        self.assertEqual((len(far.received), far.clean), (10_000, True))

    async def test_abort(self) -> None:
        """A stream that one end aborts is lost at both, and not in good order."""
        near, far = await self.connected()
        near.transport.abortConnection()
        for end in (near, far):
            await end.loses()
            self.assertFalse(end.clean, end.lost)

    async def test_abort_by_the_listener(self) -> None:
        """Who took the stream may abort it, too."""
        near, far = await self.connected()
        far.transport.abortConnection()
        for end in (near, far):
            await end.loses()
            self.assertFalse(end.clean, end.lost)

    async def test_abort_while_stuck(self) -> None:
        """A stream whose reader has stopped can still be aborted by its writer; the source is stopped."""
        near, _ = await self.connected(build_far=StoppedRecorder)
        source = Source(near.transport, bytes(16 * MEBI))
        await source.when(lambda: source.paused)
        near.transport.abortConnection()
        await near.loses()
        self.assertTrue(source.finished)

    # Who cannot be reached.

    async def test_unknown_peer(self) -> None:
        """A stream to a key that nobody has does not come about."""
        (one,) = await self.networks(1)
        collector = Collector()
        with self.assertRaises(ConnectError):
            await one.connect(Peer.keyed(bytes(range(32))), collector)
        self.assertEqual(collector.addresses, [])

    async def test_not_listening(self) -> None:
        """A stream to a peer that does not listen does not come about."""
        one, two = await self.networks(2)
        await two.announce(bytes(32)).flushed()
        await self.turned_away(one, Peer.keyed(two.public_key))

    async def test_refused(self) -> None:
        """A stream for which the listener's factory builds no protocol does not come about; another may."""
        one, two = await self.networks(2)
        answers = iter([lambda: None, Echo])
        await self.listening(two, lambda: next(answers)())
        peer = Peer.keyed(two.public_key)
        await self.turned_away(one, peer)
        stream = await one.connect(peer, Collector())
        stream.transport.write(b"now")
        await stream.receives(b"now")

    async def test_refused_with_a_reason(self) -> None:
        """A listener's factory may refuse by raising one of our errors; that is not logged as a failure."""

        def refuse() -> None:
            raise DuplicateConnectionError()

        one, two = await self.networks(2)
        await self.listening(two, refuse)
        await self.turned_away(one, Peer.keyed(two.public_key))

    async def test_cancel(self) -> None:
        """An attempt that is cancelled builds no protocol, and leaves no stream at the other end."""
        one, two = await self.networks(2)
        listening = await self.listening(two, Echo)
        peer, cancelled = Peer.keyed(two.public_key), Collector()
        attempt = one.connect(peer, cancelled)
        attempt.cancel()
        with self.assertRaises((CancelledError, SpaceswarmError)):
            await attempt
        stream = await one.connect(peer, Collector())
        stream.transport.write(b"after it")
        await stream.receives(b"after it")
        self.assertEqual(cancelled.addresses, [])
        for protocol in listening.built:
            if protocol.received != b"after it":
                await protocol.loses()

    # Listening.

    async def test_listening_port(self) -> None:
        """``listen`` gives a listening port, and its address is our own."""
        (one,) = await self.networks(1)
        port = await one.listen(Collector())
        self.assertTrue(IListeningPort.providedBy(port))
        self.assertIsInstance(port.getHost(), PeerAddress)
        self.assertEqual(port.getHost().public_key, one.public_key)

    async def test_listen_twice(self) -> None:
        """One listener at a time: the second fails, and the first goes on."""
        one, two = await self.networks(2)
        await self.listening(two, Echo)
        with self.assertRaises(CannotListenError):
            await two.listen(Collector())
        stream = await one.connect(Peer.keyed(two.public_key), Collector())
        stream.transport.write(b"still here")
        await stream.receives(b"still here")

    async def test_listen_again(self) -> None:
        """After a listener has stopped nobody is let in, its streams stay, and the next may begin."""
        one, two = await self.networks(2)
        peer = Peer.keyed(two.public_key)
        port = await two.listen(Collector(Echo))
        old = await one.connect(peer, Collector())
        await port.stopListening()
        await self.turned_away(one, peer)
        await two.listen(Collector(Echo))
        new = await one.connect(peer, Collector())
        for stream in (old, new):
            stream.transport.write(b"hello")
            await stream.receives(b"hello")

    async def test_stop_listening_twice(self) -> None:
        """A listener that is stopped twice does not stop its successor."""
        one, two = await self.networks(2)
        port = await two.listen(Collector())
        await port.stopListening()
        await self.listening(two, Echo)
        await port.stopListening()
        stream = await one.connect(Peer.keyed(two.public_key), Collector())
        stream.transport.write(b"hello")
        await stream.receives(b"hello")
