"""A stream inside one process."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.task import Clock
from twisted.protocols.basic import FileSender
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamAbortedError, StreamResetError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.pipe import pipe
from tests.network.support import Echo, HalfCloseRecorder, Recorder, Source, StoppedRecorder

NEAR = PeerAddress(Peer.at("near.example", 1))
FAR = PeerAddress(Peer.at("far.example", 1), initiator=False)


class PipeTests(SynchronousTestCase):
    """Two ends and what is between them."""

    def connect(self, near: Any = Recorder, far: Any = Recorder, **options: Any) -> tuple[Any, Any]:
        self.clock = Clock()
        protocols = near(), far()
        for transport, protocol in zip(pipe(self.clock, NEAR, FAR, **options), protocols, strict=True):
            transport.attach(protocol)
        return protocols

    def test_addresses(self) -> None:
        """Each end is the other's peer, as that sees it."""
        near, far = self.connect()
        self.assertEqual((near.transport.getHost(), near.transport.getPeer()), (NEAR, FAR))
        self.assertEqual((far.transport.getHost(), far.transport.getPeer()), (FAR, NEAR))
        seen = PeerAddress(Peer.at("seen.example", 1))
        near, far = self.connect(near_seen=seen, far_seen=seen)
        self.assertEqual((near.transport.getPeer(), far.transport.getPeer()), (seen, seen))

    def test_later(self) -> None:
        """What is written arrives in a later turn, all of one turn together."""
        near, far = self.connect()
        calls: list[bytes] = []
        far.dataReceived = calls.append
        near.transport.write(b"one")
        near.transport.write(b"two")
        self.assertEqual(calls, [])
        self.clock.advance(0)
        self.assertEqual(calls, [b"onetwo"])

    def test_latency(self) -> None:
        """With latency each piece takes its time, and they stay in order."""
        near, far = self.connect(latency=2)
        for piece in (b"1", b"2", b"3"):
            near.transport.write(piece)
            self.clock.advance(0.5)
        near.transport.loseConnection()
        seen = []
        for _ in range(4):
            self.clock.advance(0.5)
            seen.append((bytes(far.received), far.lost is not None))
        self.assertEqual(seen, [(b"1", False), (b"12", False), (b"123", False), (b"123", True)])

    def test_window(self) -> None:
        """A source is stopped one piece beyond the window, and goes on when half of it is used."""
        near, far = self.connect(far=StoppedRecorder, window=64 * 1024)
        source = Source(near.transport, bytes(10**6))
        self.assertEqual(source.written, 64 * 1024 + Source.PIECE)
        self.clock.advance(0)
        self.assertTrue(source.paused)
        far.transport.resumeProducing()
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertEqual((len(far.received), source.finished), (10**6, True))

    def test_slow_reader(self) -> None:
        """A reader that stops after each piece keeps its writer at its own pace: never more than a window ahead."""
        near, far = self.connect(window=1000)
        far.when(lambda: far.received and far.transport.pauseProducing())
        source = Source(near.transport, bytes(200_000))
        while len(far.received) < 200_000:
            self.clock.advance(0)
            self.assertLessEqual(source.written - len(far.received), 1000 + Source.PIECE)
            far.transport.resumeProducing()
        self.assertTrue(source.finished)

    def test_small_writes_under_the_window(self) -> None:
        """A writer that waits for each answer is never stopped."""
        near, far = self.connect(far=Echo, window=100)
        for count in range(1, 200):
            near.transport.write(b"x" * 10)
            self.clock.advance(0)
            self.assertEqual(len(near.received), 10 * count)
        self.assertFalse(near.transport._full or far.transport._full)

    def test_file_sender(self) -> None:
        """A pull producer fills it and waits for the reader."""
        near, far = self.connect(far=StoppedRecorder)
        content = bytes(range(256)) * 2048
        done = FileSender().beginFileTransfer(BytesIO(content), near.transport)
        self.clock.advance(0)
        self.assertNoResult(done)
        far.transport.resumeProducing()
        self.clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(far.received, content)

    def test_half_close_each_way(self) -> None:
        """Both ends half-close in turn; then both are done, and nothing is left."""
        near, far = self.connect(HalfCloseRecorder, HalfCloseRecorder)
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        self.clock.advance(0)
        self.assertEqual((far.received, far.read_lost, near.write_lost), (b"question", True, True))
        far.transport.write(b"answer")
        far.transport.loseWriteConnection()
        self.clock.advance(0)
        self.assertEqual((near.received, near.read_lost), (b"answer", True))
        self.assertTrue(near.clean and far.clean)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """An abort overtakes what is under way."""
        near, far = self.connect()
        near.transport.write(b"lost")
        near.transport.abortConnection()
        self.clock.advance(0)
        self.assertEqual((far.received, far.lost.type, near.lost.type), (b"", StreamResetError, StreamAbortedError))

    def test_both_abort(self) -> None:
        """Both ends may abort in the same turn."""
        near, far = self.connect()
        near.transport.abortConnection()
        far.transport.abortConnection()
        self.clock.advance(0)
        self.assertEqual([near.lost.type, far.lost.type], [StreamAbortedError] * 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """For each end there may be somebody who is told when it is over."""
        lost: list[str] = []
        near, _ = self.connect(lost=(lambda _: lost.append("near"), lambda _: lost.append("far")))
        near.transport.loseConnection()
        self.clock.advance(0)
        self.assertEqual(sorted(lost), ["far", "near"])

    def test_writing_to_nobody(self) -> None:
        """What is sent to an end that is over leaves nothing behind."""
        near, far = self.connect(far=HalfCloseRecorder, latency=1)
        near.transport.loseConnection()
        self.clock.advance(0.5)
        far.transport.write(b"too late")
        self.clock.advance(0.5)
        self.assertTrue(far.clean)
        self.assertEqual(self.clock.getDelayedCalls(), [])
