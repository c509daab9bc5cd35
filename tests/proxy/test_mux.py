"""Tests of spaceswarm_proxy.proxy.mux: what is sent, and what is received."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import EventError, FrameError, LimitError, WindowError
from spaceswarm_proxy.proxy.mux import (
    MAX_CONTROL_BACKLOG,
    MAX_CREDIT,
    MAX_PAYLOAD,
    MAX_PIECES,
    OUTPUT_HIGH_WATER,
    STREAM_HIGH_WATER,
    STREAM_LOW_WATER,
)
from spaceswarm_proxy.proxy.wire import Event, EventType, encode, encode_data
from tests.proxy.muxes import (
    check_invariants,
    close_frame,
    data_frame,
    end_frame,
    make_mux,
    open_frame,
    opened,
    payload as joined,
    sent,
    sizes,
    window_frame,
)


class SendTests(SynchronousTestCase):
    """Payload on its way out, without windows."""

    def test_fast_path(self) -> None:
        """While the link takes data and nobody waits, a payload goes to the output; a large one is not copied."""
        mux = make_mux()
        stream = opened(mux)
        payload = b"payload" * 1000
        self.assertTrue(mux.send(stream, payload))
        self.assertIs(mux.output[1], payload)
        self.assertEqual(b"".join(mux.output), encode_data(stream.id, payload))
        self.assertEqual(mux.queued, 0)
        self.assertIsNone(stream.queue)

    def test_nothing(self) -> None:
        """To send nothing sends nothing."""
        mux = make_mux()
        self.assertTrue(mux.send(opened(mux), b""))
        self.assertEqual(mux.output, [])

    def test_largest_frame(self) -> None:
        """What is longer than a frame may be becomes several, in order, the last one shorter."""
        mux = make_mux()
        stream = opened(mux)
        payload = bytes(range(256)) * (2 * MAX_PAYLOAD // 256) + b"tail"
        mux.send(stream, payload)
        frames = sent(mux)
        mux.pump()
        frames += sent(mux)
        self.assertEqual(sizes(frames), [(0, MAX_PAYLOAD), (0, MAX_PAYLOAD), (0, 4)])
        self.assertEqual(joined(frames), payload)

    def test_full_link(self) -> None:
        """While the link takes nothing, payload waits; when it does again, small pieces share a frame."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        for piece in (b"one ", b"two ", b"three"):
            self.assertTrue(mux.send(stream, piece))
            check_invariants(mux)
        self.assertEqual((mux.output, mux.queued, stream.queued), ([], 13, 13))
        mux.writable = True
        mux.pump()
        self.assertEqual(sent(mux), [(stream.id, b"one two three")])
        check_invariants(mux)

    def test_output_is_bounded(self) -> None:
        """What the shell has not yet taken is two frames and a bit, however much is sent; the rest waits."""
        mux = make_mux()
        stream = opened(mux)
        for _ in range(100):
            mux.send(stream, bytes(MAX_PAYLOAD))
            check_invariants(mux)
        self.assertLessEqual(mux.output_size, OUTPUT_HIGH_WATER + MAX_PAYLOAD)
        self.assertEqual(len(sizes(sent(mux))) * MAX_PAYLOAD + mux.queued, 100 * MAX_PAYLOAD)

    def test_order_with_what_waits(self) -> None:
        """Nothing of a stream overtakes what waits of the same stream."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, b"first")
        mux.writable = True
        mux.send(stream, b"second")
        self.assertEqual(joined(sent(mux)), b"firstsecond")

    def test_turns(self) -> None:
        """A small message waits for one frame of each other stream, not for their backlogs."""
        mux = make_mux()
        mux.writable = False
        bulk = [opened(mux) for _ in range(3)]
        small = opened(mux)
        for stream in bulk:
            mux.send(stream, bytes(10 * MAX_PAYLOAD))
        mux.send(small, b"hello")
        mux.writable = True
        order: list[int] = []
        while mux.queued:
            mux.pump()
            check_invariants(mux)
            order += [stream_id for stream_id, _ in sizes(sent(mux))]
        self.assertEqual(order[:7], [0, 1, 2, small.id, 0, 1, 2])
        self.assertEqual(len(order), 31)

    def test_newcomer_takes_its_turn(self) -> None:
        """Who comes while another's backlog is being sent waits for at most the frame that is under way."""
        mux = make_mux()
        bulk, small = opened(mux), opened(mux)
        mux.send(bulk, bytes(20 * MAX_PAYLOAD))
        sent(mux)
        mux.pump()
        mux.send(small, b"hello")
        frames = sizes(sent(mux))
        mux.pump()
        frames += sizes(sent(mux))
        after = [stream_id for stream_id, _ in frames][OUTPUT_HIGH_WATER // MAX_PAYLOAD :]
        self.assertIn(small.id, after[:2])

    def test_closed_or_ended(self) -> None:
        """What is sent after the end, or when the stream is over, is dropped, and stops nobody."""
        for finish in ("end", "close"):
            mux = make_mux()
            stream = opened(mux)
            getattr(mux, finish)(stream)
            mux.take_output()
            self.assertTrue(mux.send(stream, bytes(10 * STREAM_HIGH_WATER)))
            self.assertEqual((mux.output, mux.queued), ([], 0))

    def test_understood(self) -> None:
        """What one end sends is what the other reads, whatever its stream's number."""
        server, client = make_mux(), make_mux(client=True)
        for _ in range(130):
            server.next_id()
        stream = opened(server)
        server.control(Event(EventType.ON_STREAM_OPEN, stream=stream.id))
        server.send(stream, b"hello")
        server.end(stream)
        (event,) = client.receive(b"".join(server.take_output()))
        other = event.stream
        assert other is not None and not isinstance(other, int)
        self.assertEqual((other.id, client.take(other), other.remote_ended), (130, b"hello", True))


class SourceTests(SynchronousTestCase):
    """When sources are told to stop, and to go on."""

    def test_high_water(self) -> None:
        """A source is told to stop by the write that fills its queue, and by every further one."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        self.assertTrue(mux.send(stream, bytes(STREAM_HIGH_WATER - 1)))
        self.assertFalse(mux.send(stream, b"x"))
        self.assertFalse(mux.send(stream, b"x"))
        check_invariants(mux)
        self.assertEqual(mux.pump(), [])

    def test_not_when_it_went_out(self) -> None:
        """A write of any size that the output took whole stops nobody."""
        mux = make_mux()
        self.assertTrue(mux.send(opened(mux), bytes(MAX_PAYLOAD + 1)))

    def test_low_water(self) -> None:
        """A stopped source is told to go on once, when little of its stream waits."""
        mux = make_mux(windows=True, remote_window=0)
        stream = opened(mux)
        self.assertFalse(mux.send(stream, bytes(STREAM_HIGH_WATER)))
        mux.receive(window_frame(stream.id, STREAM_HIGH_WATER - STREAM_LOW_WATER - 1))
        self.assertEqual(mux.pump(), [])
        mux.receive(window_frame(stream.id, 1))
        self.assertEqual(mux.pump(), [stream])
        self.assertEqual(stream.queued, STREAM_LOW_WATER)
        self.assertEqual(mux.pump(), [])
        check_invariants(mux)

    def test_max_queued(self) -> None:
        """When all streams together have queued their limit, whoever sends next is stopped, until there is room."""
        mux = make_mux(max_queued=1000)
        many = [opened(mux) for _ in range(5)]
        mux.writable = False
        self.assertEqual([mux.send(stream, bytes(300)) for stream in many], [True, True, True, False, False])
        mux.writable = True
        self.assertEqual(set(mux.pump()), set(many[3:]))
        check_invariants(mux)

    def test_not_alone(self) -> None:
        """A source that the common limit stopped goes on when the stream that had filled it is over."""
        mux = make_mux(windows=True, remote_window=0, max_queued=1000)
        greedy, small = opened(mux), opened(mux)
        mux.send(greedy, bytes(1000))
        self.assertFalse(mux.send(small, b"x"))
        self.assertEqual(mux.pump(), [])
        mux.receive(close_frame(greedy.id))
        self.assertEqual(mux.pump(), [small])

    def test_stuck_neighbours(self) -> None:
        """Streams that are stuck with all that may be queued do not stop the source of one that is not."""
        mux = make_mux(windows=True, remote_window=0, max_queued=1000)
        stuck = opened(mux)
        self.assertFalse(mux.send(stuck, bytes(1000)))
        mux.remote_window = 1 << 20
        free = opened(mux)
        self.assertTrue(mux.send(free, bytes(MAX_PAYLOAD + 1)))
        mux.writable = False
        self.assertFalse(mux.send(free, b"x"))
        mux.writable = True
        sent(mux)
        self.assertEqual(mux.pump(), [free])
        check_invariants(mux)

    def test_drained_by_another(self) -> None:
        """A stopped source is there for pump to find also when it was another's send that emptied its queue."""
        mux = make_mux(windows=True, remote_window=0)
        stream = opened(mux)
        self.assertFalse(mux.send(stream, bytes(STREAM_HIGH_WATER)))
        mux.remote_window = 1000
        other = opened(mux)
        mux.receive(window_frame(stream.id, STREAM_HIGH_WATER))
        mux.send(other, b"x")
        self.assertEqual((mux.queued, mux.stopped), (0, {stream}))
        self.assertEqual(mux.pump(), [stream])

    def test_over(self) -> None:
        """The source of a stream that is over is not told to go on."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(STREAM_HIGH_WATER))
        mux.reset(stream, WindowError("x"))
        check_invariants(mux, [stream])
        self.assertEqual((mux.queued, mux.stopped, mux.pump()), (0, set(), []))

    def test_full_link_frees_nobody(self) -> None:
        """While the link takes nothing, pump sends nothing."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(STREAM_HIGH_WATER))
        self.assertEqual((mux.pump(), mux.output), ([], []))


class ControlTests(SynchronousTestCase):
    """Frames that are not payload."""

    def test_at_once(self) -> None:
        """A control frame waits for no payload, and is written even when the link is full."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, b"waits")
        mux.control(Event(EventType.PONG, data=b"x"))
        self.assertEqual(sent(mux), [Event(EventType.PONG, data=b"x")])

    def test_backlog(self) -> None:
        """A remote that makes us send control frames, and reads none of them, has broken a limit."""
        mux = make_mux()
        mux.writable = False
        event = Event(EventType.PONG, data=bytes(60))
        while mux.violation is None:
            mux.control(event)
            held = mux.output_size
            self.assertLessEqual(held, MAX_CONTROL_BACKLOG + 100)
        self.assertGreater(held, MAX_CONTROL_BACKLOG)
        self.assertEqual(str(mux.violation), str(LimitError("max_control_backlog", MAX_CONTROL_BACKLOG)))

    def test_backlog_is_forgotten(self) -> None:
        """What went out when the link took data again is not counted any more."""
        mux = make_mux()
        event = Event(EventType.PONG, data=bytes(MAX_CONTROL_BACKLOG // 2 + 100))
        for _ in range(4):
            mux.writable = False
            mux.control(event)
            mux.take_output()
            mux.writable = True
            mux.pump()
        self.assertIsNone(mux.violation)

    def test_healthy_link(self) -> None:
        """While the link takes data, control frames are not counted."""
        mux = make_mux()
        for _ in range(20):
            mux.control(Event(EventType.PONG, data=bytes(MAX_CONTROL_BACKLOG // 10)))
        self.assertIsNone(mux.violation)


class ReceiveTests(SynchronousTestCase):
    """Bytes on their way in."""

    def test_data(self) -> None:
        """Payload waits on its stream, which is touched once, and is no event."""
        mux = make_mux()
        stream = opened(mux)
        self.assertEqual(mux.receive(data_frame(0, b"one") + data_frame(0, b"two")), [])
        self.assertEqual(mux.touched, [stream])
        self.assertEqual((stream.inbound, stream.debt, mux.unread), ([b"one", b"two"], 6, 6))
        check_invariants(mux)

    def test_any_pieces(self) -> None:
        """It does not matter how the link cuts the bytes."""
        mux = make_mux()
        stream = opened(mux)
        for byte in data_frame(0, b"payload") + end_frame(0):
            mux.receive(bytes([byte]))
        self.assertEqual((mux.take(stream), stream.remote_ended), (b"payload", True))

    def test_take(self) -> None:
        """To take is to consume: nothing is owed afterwards."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(data_frame(0, b"one") + data_frame(0, b"two"))
        self.assertEqual(mux.take(stream), b"onetwo")
        self.assertEqual(mux.take(stream), b"")
        self.assertEqual((stream.debt, mux.unread), (0, 0))

    def test_consume_later(self) -> None:
        """What an owner has taken out but not used counts as unread until it says that it has."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(data_frame(0, bytes(100)))
        stream.inbound = []
        self.assertEqual(mux.unread, 100)
        mux.receive(data_frame(0, bytes(50)))
        mux.consume(stream, 60)
        self.assertEqual((mux.unread, stream.debt), (90, 90))
        mux.discard(stream)
        self.assertEqual((mux.unread, stream.debt, stream.inbound), (40, 40, []))
        check_invariants(mux)

    def test_small_pieces(self) -> None:
        """Many small pieces that nobody reads become few: a byte of payload does not cost fifty of memory."""
        mux = make_mux()
        stream = opened(mux)
        for number in range(3):
            mux.receive(data_frame(0, b"ab") * MAX_PIECES)
            self.assertLessEqual(len(stream.inbound), MAX_PIECES, number)
        self.assertEqual(mux.take(stream), b"ab" * 3 * MAX_PIECES)

    def test_unknown_stream(self) -> None:
        """Whatever is about a stream that there is not, or not any more, is ignored."""
        mux = make_mux()
        for frame in (data_frame(7, b"x"), end_frame(7), window_frame(7, 2**60)):
            self.assertEqual(mux.receive(frame), [])
        for kind in (EventType.ON_STREAM_CLOSE, EventType.ON_STREAM_ERROR):
            self.assertEqual(mux.receive(encode(Event(kind, data=b"x", stream=7))), [])
        self.assertEqual((mux.touched, mux.output, mux.unread, mux.violation), ([], [], 0, None))

    def test_no_number(self) -> None:
        """A stream that is not named is stream 0."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(encode(Event(EventType.ON_STREAM_DATA, data=b"x")) + encode(Event(EventType.ON_STREAM_DATA)))
        self.assertEqual((mux.take(stream), stream.remote_ended), (b"x", True))

    def test_other_events(self) -> None:
        """All else is handed to the shell, in order, types that nobody knows included."""
        mux = make_mux()
        events = [Event(EventType.READY), Event(99, data=b"?"), Event(EventType.PING, data=b"x")]
        self.assertEqual(mux.receive(b"".join(map(encode, events))), events)

    def test_violation(self) -> None:
        """Bytes that are no frame are a violation; what came before is still there, what comes after is not heard."""
        mux = make_mux(max_frame=1000)
        stream = opened(mux)
        ready = Event(EventType.READY)
        self.assertEqual(mux.receive(encode(ready) + data_frame(0, b"x") + b"\xff\xff\x03"), [ready])
        self.assertIsInstance(mux.violation, FrameError)
        self.assertEqual(mux.take(stream), b"x")
        self.assertEqual(mux.receive(encode(ready)), [])

    def test_meaningless(self) -> None:
        """An event that says nothing that can be meant is a violation too, and nothing after it is heard."""
        mux = make_mux()
        frames = encode(Event(EventType.READY)) + encode(Event(EventType.JOIN)) + encode(Event(EventType.READY))
        self.assertEqual(mux.receive(frames), [Event(EventType.READY)])
        self.assertIsInstance(mux.violation, EventError)

    def test_first_violation_counts(self) -> None:
        """Of two violations in one piece, the first is told of."""
        mux = make_mux(client=True)
        mux.receive(open_frame(1) + open_frame(1) + b"\xff" * 6)
        self.assertEqual(mux.violation.kind, "stream-id-reused")  # type: ignore[union-attr]


class WindowTests(SynchronousTestCase):
    """Flow control of each stream."""

    def test_stops_at_zero(self) -> None:
        """A sender sends what it has credit for, to the byte, and then waits; it delays nobody else."""
        mux = make_mux(windows=True, remote_window=10)
        stream, other = opened(mux), opened(mux)
        mux.send(stream, b"0123456")
        mux.send(stream, b"789abc")
        self.assertEqual(sent(mux), [(0, b"0123456"), (0, b"789")])
        self.assertEqual((stream.credit, stream.queued, stream.ready), (0, 3, False))
        mux.send(other, b"free")
        self.assertEqual(sent(mux), [(1, b"free")])
        check_invariants(mux)

    def test_goes_on(self) -> None:
        """Credit that arrives is used by the next pump, frame by frame as far as it goes."""
        mux = make_mux(windows=True, remote_window=0)
        stream = opened(mux)
        mux.send(stream, b"0123456789")
        self.assertEqual(mux.output, [])
        for amount, expected in ((3, b"012"), (1, b"3"), (100, b"456789")):
            mux.receive(window_frame(0, amount))
            mux.pump()
            self.assertEqual(sent(mux), [(0, expected)])
            check_invariants(mux)
        self.assertEqual(stream.credit, 94)

    def test_exact_credit(self) -> None:
        """A payload for which there is just enough credit goes straight out."""
        mux = make_mux(windows=True, remote_window=5)
        mux.send(opened(mux), b"12345")
        self.assertEqual((sent(mux), mux.queued), ([(0, b"12345")], 0))

    def test_on_consumption(self) -> None:
        """Credit is given back when half a window has been used, not when it has arrived."""
        mux = make_mux(windows=True, window=100)
        stream = opened(mux)
        mux.receive(data_frame(0, bytes(100)))
        self.assertEqual((mux.output, stream.debt), ([], 100))
        stream.inbound = []
        mux.consume(stream, 49)
        self.assertEqual((mux.output, stream.debt, mux.unread), ([], 100, 51))
        mux.consume(stream, 1)
        self.assertEqual(sent(mux), [Event(EventType.WINDOW, stream=0, window=50)])
        self.assertEqual((stream.debt, stream.consumed, mux.unread), (50, 0, 50))
        check_invariants(mux)

    def test_full_use(self) -> None:
        """A sender that uses all its credit is never in the wrong, and never stuck before a reader that reads."""
        mux = make_mux(windows=True, window=10)
        stream = opened(mux)
        credit = 10
        for _ in range(50):
            self.assertGreater(credit, 0)
            mux.receive(data_frame(0, bytes(credit)))
            credit = 0
            self.assertEqual(len(mux.take(stream)), stream.debt or 10)
            credit += sum(event.window or 0 for event in sent(mux) if isinstance(event, Event))
        self.assertFalse(stream.closed)

    def test_overrun(self) -> None:
        """A sender that ignores its credit loses that stream, with all that waits in it, and no other."""
        mux = make_mux(windows=True, replies=True, window=100)
        stream, other = opened(mux), opened(mux)
        mux.receive(data_frame(0, bytes(100)))
        self.assertFalse(stream.closed)
        mux.receive(data_frame(0, b"!") + data_frame(1, b"ok") + data_frame(0, bytes(50)))
        self.assertIsInstance(stream.error, WindowError)
        self.assertEqual((stream.inbound, stream.closed, other.closed), ([], True, False))
        (event,) = sent(mux)
        self.assertEqual((event.type, event.stream, event.code), (EventType.ON_STREAM_ERROR, 0, "window-exceeded"))  # type: ignore[union-attr]
        self.assertEqual((mux.take(other), mux.unread, mux.violation), (b"ok", 0, None))
        check_invariants(mux, [stream])

    def test_consumed_is_not_granted(self) -> None:
        """What was used but for which no credit went back still counts against the sender."""
        mux = make_mux(windows=True, window=100)
        stream = opened(mux)
        mux.receive(data_frame(0, bytes(40)))
        mux.take(stream)
        mux.receive(data_frame(0, bytes(61)))
        self.assertTrue(stream.closed)
        self.assertEqual(mux.unread, 0)

    def test_no_credit_after_the_end(self) -> None:
        """A remote that sends nothing more needs no credit."""
        for last in (end_frame(0), close_frame(0)):
            mux = make_mux(windows=True, window=100)
            stream = opened(mux)
            mux.receive(data_frame(0, bytes(90)) + last)
            self.assertEqual(len(mux.take(stream)), 90)
            self.assertEqual((mux.output, mux.unread), ([], 0))

    def test_overflow(self) -> None:
        """Credit beyond all measure is a violation of the protocol."""
        mux = make_mux(windows=True, remote_window=1)
        opened(mux)
        mux.receive(window_frame(0, MAX_CREDIT - 1))
        self.assertIsNone(mux.violation)
        mux.receive(window_frame(0, 1))
        self.assertEqual(mux.violation.kind, "window-overflow")  # type: ignore[union-attr]

    def test_without_windows(self) -> None:
        """Where windows were not agreed, WINDOW means nothing, none is sent, and no sender is in the wrong."""
        mux = make_mux(window=10)
        stream = opened(mux)
        mux.receive(window_frame(0, 2**60) + data_frame(0, bytes(1000)))
        self.assertEqual((stream.credit, stream.closed, stream.debt), (None, False, 1000))
        mux.take(stream)
        self.assertEqual((mux.output, stream.debt, mux.violation), ([], 0, None))
