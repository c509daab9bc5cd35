"""Tests of spaceswarm_proxy.proxy.mux: how streams begin and end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    EventError,
    LimitError,
    LinkLostError,
    StreamAbortedError,
    StreamResetError,
    StreamStalledError,
)
from spaceswarm_proxy.proxy.mux import MAX_STREAM_ID, Opened
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.muxes import (
    check_invariants,
    close_frame,
    data_frame,
    end_frame,
    error_frame,
    make_mux,
    open_frame,
    opened,
    sent,
    visit,
    window_frame,
)

CLOSE = Event(EventType.ON_STREAM_CLOSE, stream=0)
END = Event(EventType.ON_STREAM_DATA, stream=0)


class OpenTests(SynchronousTestCase):
    """Streams come into being."""

    def test_server(self) -> None:
        """A server numbers its streams from 0 upwards, and says nothing by itself."""
        mux = make_mux()
        self.assertEqual([mux.open().id for _ in range(3)], [0, 1, 2])
        self.assertEqual(mux.output, [])

    def test_never_again(self) -> None:
        """The number of a stream that is over is not used again, nor is one that was taken for another purpose."""
        mux = make_mux()
        mux.close(mux.open())
        self.assertEqual(mux.next_id(), 1)
        self.assertEqual(mux.open().id, 2)

    def test_last_number(self) -> None:
        """When all numbers are used up, there are no more streams."""
        mux = make_mux()
        mux._next_id = MAX_STREAM_ID
        stream = mux.open()
        mux.send(stream, b"x")
        self.assertEqual((stream.id, sent(mux)), (MAX_STREAM_ID, [(MAX_STREAM_ID, b"x")]))
        self.assertEqual(self.assertRaises(LimitError, mux.open).name, "stream_ids")
        self.assertRaises(LimitError, mux.next_id)

    def test_limit_at_the_server(self) -> None:
        """A server opens no more streams at once than it may; one that is over makes room; a refusal uses no number."""
        mux = make_mux(max_streams=2)
        first, _ = mux.open(), mux.open()
        self.assertEqual(self.assertRaises(LimitError, mux.open).name, "max_streams")
        mux.close(first)
        self.assertEqual(mux.open().id, 2)

    def test_client(self) -> None:
        """A client learns of a stream by an event that brings it, and may use it at once."""
        mux = make_mux(client=True, windows=True, remote_window=99)
        (event,) = mux.receive(open_frame(-5))
        assert isinstance(event, Opened)
        self.assertEqual((event.event.peer, event.stream.id, event.stream.credit), (b"peer", -5, 99))
        mux.send(event.stream, b"hi")
        self.assertEqual(sent(mux), [(-5, b"hi")])

    def test_data_right_behind(self) -> None:
        """What comes in the same piece as the opening is there when the event is handled."""
        mux = make_mux(client=True)
        (event,) = mux.receive(open_frame(0) + data_frame(0, b"x") + close_frame(0))
        assert isinstance(event, Opened)
        self.assertEqual((mux.touched, event.stream.closed), ([event.stream], True))
        self.assertEqual(mux.take(event.stream), b"x")

    def test_same_number(self) -> None:
        """To open a number that is open is a violation; the stream that has it is left alone."""
        mux = make_mux(client=True)
        stream = opened(mux, 3)
        self.assertEqual(mux.receive(open_frame(3)), [])
        self.assertIsInstance(mux.violation, EventError)
        self.assertIs(mux.streams[3], stream)

    def test_limit_at_the_client(self) -> None:
        """One stream too many is refused by the client: it is told of it, as one that is over, and the others go on."""
        mux = make_mux(client=True, replies=True, max_streams=2)
        events = mux.receive(b"".join(map(open_frame, range(3))))
        refused = events[2].stream
        assert not isinstance(refused, int) and refused is not None
        self.assertIsInstance(refused.error, LimitError)
        self.assertEqual((refused.closed, list(mux.streams)), (True, [0, 1]))
        (event,) = sent(mux)
        self.assertEqual((event.code, event.data, event.stream), ("limit", b"max_streams=2", 2))  # type: ignore[union-attr]
        self.assertIsNone(mux.violation)

    def test_towards_a_server(self) -> None:
        """A client opens no streams: a server ignores it, as the JavaScript one does."""
        mux = make_mux()
        self.assertEqual(mux.receive(open_frame(0)), [])
        self.assertEqual((mux.streams, mux.violation), ({}, None))


class EndTests(SynchronousTestCase):
    """One direction at a time."""

    def test_end(self) -> None:
        """The end of data is sent once, after what was sent before; the stream goes on in the other direction."""
        mux = make_mux()
        stream = opened(mux)
        mux.send(stream, b"last")
        mux.end(stream)
        mux.end(stream)
        self.assertEqual(sent(mux), [(0, b"last"), END])
        self.assertEqual((stream.ended, stream.closed, visit(mux)), (True, False, [stream]))
        mux.receive(data_frame(0, b"reply"))
        self.assertEqual(mux.take(stream), b"reply")

    def test_end_waits(self) -> None:
        """While something is queued, the end waits behind it; a visit tells when it has gone."""
        mux = make_mux(windows=True, remote_window=2)
        stream = opened(mux)
        mux.send(stream, b"abc")
        mux.end(stream)
        self.assertEqual((sent(mux), stream.ended, mux.touched), ([(0, b"ab")], False, []))
        mux.receive(window_frame(0, 1))
        mux.pump()
        self.assertEqual((sent(mux), mux.touched), ([(0, b"c"), END], [stream]))

    def test_remote_end(self) -> None:
        """After the remote's end everything before it is read, and we can still send."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(data_frame(0, b"x") + end_frame(0))
        self.assertEqual((stream.remote_ended, stream.closed, mux.take(stream)), (True, False, b"x"))
        mux.send(stream, b"y")
        self.assertEqual(sent(mux), [(0, b"y")])

    def test_after_the_end(self) -> None:
        """Data after the remote's end is ignored; a second end changes nothing."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(end_frame(0) + data_frame(0, b"x") + end_frame(0))
        self.assertEqual((stream.inbound, mux.unread, mux.touched), ([], 0, [stream]))

    def test_both(self) -> None:
        """When both directions have ended, the stream is there until one side sends CLOSE."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(end_frame(0))
        mux.end(stream)
        self.assertIn(0, mux.streams)
        mux.close(stream)
        self.assertEqual(sent(mux), [END, CLOSE])
        self.assertEqual(mux.streams, {})


class CloseTests(SynchronousTestCase):
    """Both directions in good order."""

    def test_close(self) -> None:
        """CLOSE is sent once, and the stream is over; a visit tells."""
        mux = make_mux()
        stream = opened(mux)
        mux.close(stream)
        mux.close(stream)
        self.assertEqual((sent(mux), stream.closed, stream.error), ([CLOSE], True, None))
        self.assertEqual((mux.streams, visit(mux)), ({}, [stream]))

    def test_close_waits(self) -> None:
        """CLOSE follows what is queued, and takes the place of an end that still waits."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, b"abc")
        mux.end(stream)
        mux.close(stream)
        self.assertEqual((mux.output, stream.closed), ([], False))
        check_invariants(mux)
        mux.writable = True
        mux.pump()
        self.assertEqual((sent(mux), stream.closed, mux.touched), ([(0, b"abc"), CLOSE], True, [stream]))

    def test_nothing_more_is_read(self) -> None:
        """What has arrived when we close, and what does while CLOSE waits, is used up; its sender gets its credit."""
        mux = make_mux(windows=True, window=10, remote_window=0)
        stream = opened(mux)
        mux.receive(data_frame(0, b"early"))
        mux.send(stream, b"waits")
        mux.close(stream)
        self.assertEqual((stream.inbound, mux.unread), ([], 0))
        for _ in range(5):
            mux.receive(data_frame(0, b"later"))
            self.assertEqual((stream.inbound, mux.unread), ([], 0))
            check_invariants(mux)
        self.assertEqual(sent(mux), [Event(EventType.WINDOW, stream=0, window=5)] * 6)
        self.assertFalse(stream.closed)

    def test_remote_close(self) -> None:
        """CLOSE lets everything before it be read, ends both directions, and drops what is queued."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(100_000))
        mux.receive(data_frame(0, b"last words") + close_frame(0))
        self.assertEqual((stream.closed, stream.remote_ended, stream.error), (True, True, None))
        self.assertEqual((mux.queued, mux.unread, mux.streams), (0, 10, {}))
        check_invariants(mux, [stream])
        self.assertEqual((mux.take(stream), mux.unread), (b"last words", 0))
        mux.writable = True
        self.assertEqual((mux.pump(), mux.output), ([], []))

    def test_twice(self) -> None:
        """A second CLOSE is ignored, and so is ours after theirs."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(close_frame(0) + close_frame(0) + error_frame(0))
        mux.close(stream)
        mux.reset(stream, StreamAbortedError())
        self.assertEqual((mux.output, stream.error, mux.violation), ([], None, None))


class ResetTests(SynchronousTestCase):
    """Both directions at once."""

    def test_remote_error(self) -> None:
        """ERROR throws away what was not read, and what is queued, and brings the remote's own error."""
        mux = make_mux()
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(100))
        mux.receive(data_frame(0, b"unread") + error_frame(0, b"too slow", "stalled"))
        self.assertIsInstance(stream.error, StreamStalledError)
        self.assertEqual(str(stream.error), "too slow")
        self.assertEqual((stream.inbound, mux.unread, mux.queued, stream.closed), ([], 0, 0, True))
        self.assertEqual(mux.touched, [stream])

    def test_javascript_error(self) -> None:
        """ERROR without a code, and with a text that is no text, is a reset."""
        mux = make_mux()
        stream = opened(mux)
        mux.receive(error_frame(0, b"\xff gone"))
        self.assertIsInstance(stream.error, StreamResetError)
        self.assertEqual(str(stream.error), "\ufffd gone")

    def test_reset(self) -> None:
        """A reset goes out at once, before what is queued, which is lost; the owner learns of it by a visit."""
        mux = make_mux(replies=True)
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(100_000))
        mux.receive(data_frame(0, b"unread"))
        visit(mux)
        problem = StreamStalledError("too slow")
        mux.reset(stream, problem)
        self.assertEqual(sent(mux), [Event(EventType.ON_STREAM_ERROR, data=b"too slow", stream=0, code="stalled")])
        self.assertIs(stream.error, problem)
        self.assertEqual((mux.queued, mux.unread, mux.streams, visit(mux)), (0, 0, {}, [stream]))
        check_invariants(mux, [stream])

    def test_once(self) -> None:
        """A stream is reset once; the first error stays."""
        mux = make_mux()
        stream = opened(mux)
        first = StreamResetError("first")
        mux.reset(stream, first)
        mux.take_output()
        mux.reset(stream, StreamResetError("second"))
        self.assertEqual((mux.output, stream.error), ([], first))

    def test_to_a_javascript_client(self) -> None:
        """A client without replies is sent ERROR without a code."""
        mux = make_mux()
        mux.reset(opened(mux), StreamResetError("gone"))
        self.assertEqual(sent(mux), [Event(EventType.ON_STREAM_ERROR, data=b"gone", stream=0)])

    def test_to_a_javascript_server(self) -> None:
        """A server without replies is sent CLOSE: ERROR would be the end of it."""
        mux = make_mux(client=True)
        mux.reset(opened(mux), StreamResetError("gone"))
        self.assertEqual(sent(mux), [CLOSE])

    def test_to_our_server(self) -> None:
        """A server with replies is sent ERROR."""
        mux = make_mux(client=True, replies=True)
        mux.reset(opened(mux), StreamAbortedError("stopped"))
        self.assertEqual(sent(mux), [Event(EventType.ON_STREAM_ERROR, data=b"stopped", stream=0, code="aborted")])

    def test_any_exception(self) -> None:
        """Whatever a protocol may have raised can be told, with a text that UTF-8 does not know too."""
        mux = make_mux(replies=True)
        mux.reset(opened(mux), OSError("no file \udcff"))
        self.assertEqual(sent(mux), [Event(EventType.ON_STREAM_ERROR, data=b"no file ?", stream=0, code="error")])

    def test_gives_up_its_turn(self) -> None:
        """A stream that is reset while it waits does not hold up the fast path of the others."""
        mux = make_mux()
        stream, other = opened(mux), opened(mux)
        mux.writable = False
        mux.send(stream, b"waits")
        mux.reset(stream, StreamResetError())
        mux.take_output()
        mux.writable = True
        mux.send(other, b"x")
        self.assertEqual(mux.queued, 0)
        check_invariants(mux, [stream])


class CutTests(SynchronousTestCase):
    """One direction at once."""

    def test_cut(self) -> None:
        """The end of data goes out without what is queued; what arrived is used up, and the other side has its say."""
        mux = make_mux(client=True)
        stream = opened(mux)
        mux.writable = False
        mux.send(stream, bytes(100_000))
        mux.receive(data_frame(0, b"unread"))
        mux.cut(stream)
        self.assertEqual(sent(mux), [END])
        self.assertEqual((mux.queued, mux.unread, stream.closed), (0, 0, False))
        check_invariants(mux)
        mux.receive(close_frame(0))
        self.assertTrue(stream.closed)

    def test_after_the_end(self) -> None:
        """An end that waits for what is queued waits no more; one that was sent is not sent again."""
        mux = make_mux(client=True)
        waiting, ended = opened(mux), opened(mux, 1)
        mux.end(ended)
        mux.writable = False
        mux.send(waiting, bytes(100_000))
        mux.end(waiting)
        mux.take_output()
        mux.cut(waiting)
        mux.cut(ended)
        self.assertEqual(sent(mux), [END])
        check_invariants(mux)


class AbandonTests(SynchronousTestCase):
    """The link is lost."""

    def test_all_over(self) -> None:
        """Every open stream is over with the link's error; what had arrived can still be read, nothing can be sent."""
        mux = make_mux()
        streams = [opened(mux) for _ in range(3)]
        mux.writable = False
        mux.send(streams[0], bytes(100_000))
        mux.receive(data_frame(1, b"x"))
        problem = LinkLostError()
        self.assertEqual(set(mux.abandon(problem)), set(streams))
        self.assertEqual({stream.error for stream in streams}, {problem})
        self.assertEqual((mux.streams, mux.queued, mux.stopped, mux.touched), ({}, 0, set(), []))
        check_invariants(mux, streams)
        self.assertEqual((mux.take(streams[1]), mux.unread), (b"x", 0))
        self.assertTrue(mux.send(streams[2], bytes(100_000)))
        self.assertEqual(mux.output, [])

    def test_last_visit(self) -> None:
        """A stream that was over before, and nobody has been told yet, is told of now, with its own error or none."""
        mux = make_mux()
        reset, closed, visited = (opened(mux) for _ in range(3))
        problem = StreamAbortedError()
        mux.close(visited)
        visit(mux)
        mux.reset(reset, problem)
        mux.close(closed)
        self.assertEqual(mux.abandon(LinkLostError()), [reset, closed])
        self.assertEqual((reset.error, closed.error), (problem, None))

    def test_again(self) -> None:
        """There is nothing to abandon a second time."""
        mux = make_mux()
        opened(mux)
        mux.abandon(LinkLostError())
        self.assertEqual(mux.abandon(LinkLostError()), [])
