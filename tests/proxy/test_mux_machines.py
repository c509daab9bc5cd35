"""
Two state machines for spaceswarm_proxy.proxy.mux: two honest ends with a bad wire between them, and an end with a liar.

Hypothesis chooses what happens.  In the first, a model knows what each side has sent, and at the end all of it must
have arrived; in the second nothing may happen but a violation, and nothing may grow.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import LimitError, ProtocolError, StreamResetError
from spaceswarm_proxy.proxy.event import Event, EventType
from spaceswarm_proxy.proxy.mux import MAX_CONTROL_BACKLOG, MAX_PAYLOAD, Mux, MuxStream, Opened
from spaceswarm_proxy.proxy.wire import encode, encode_data
from tests.proxy import strategies
from tests.proxy.muxes import TOPIC, check_invariants, make_mux, visit

#: What streams carry, from a place of each stream's own on: a byte that is lost, doubled or misplaced is seen.
PAYLOAD = Random(4977).randbytes(1 << 16) * 17
MAX_SENT = 16 << 16
SIZES = st.sampled_from([0, 1, 2, 100, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 200 * 1024]) | st.integers(
    0, 200 * 1024
)
indices = st.integers(0, 11)


class Half:
    """One end's view of one stream: what it sent, what it read, and what it did."""

    def __init__(self, end: End, stream: MuxStream, start: int, remote_start: int) -> None:
        self.end = end
        self.stream = stream
        self.start = start
        self.remote_start = remote_start
        self.sent = 0
        self.read = 0
        #: Taken out, and not consumed yet.
        self.held = 0
        #: Every second reader does nothing at first.
        self.paused = stream.id % 2 == 1
        self.source_stopped = False
        self.ended = False
        self.closed = False
        self.was_reset = False
        stream.owner = self

    def send(self, size: int) -> None:
        """Send the next bytes of this direction, unless they are used up, or have ended."""
        size = min(size, MAX_SENT - self.sent)
        start = self.start + self.sent
        accepted = self.end.mux.send(self.stream, PAYLOAD[start : start + size])
        if self.ended or self.stream.closed:
            assert accepted
        else:
            self.sent += size
            self.source_stopped |= not accepted

    def arrived(self) -> None:
        """Read all there is, unless this reader stands still."""
        if not self.paused:
            self.check(self.end.mux.take(self.stream))

    def check(self, data: bytes) -> None:
        """What was read is what comes next."""
        start = self.remote_start + self.read
        assert data == PAYLOAD[start : start + len(data)]
        self.read += len(data)

    def stand_still(self) -> None:
        """Read nothing any more."""
        self.paused = True

    def go_on(self) -> None:
        """Read again."""
        self.paused = False
        self.arrived()

    def take_out(self) -> None:
        """As an owner with a buffer of its own does."""
        data = b"".join(self.stream.inbound)
        self.stream.inbound = []
        self.check(data)
        self.held += len(data)

    def use(self) -> None:
        """Consume what was taken out."""
        held, self.held = self.held, 0
        self.end.mux.consume(self.stream, held)

    def finish(self) -> None:
        """End this direction."""
        self.ended = True
        self.end.mux.end(self.stream)

    def close(self) -> None:
        """End both directions in good order."""
        self.ended = self.closed = True
        self.end.mux.close(self.stream)

    def reset(self) -> None:
        """End both directions now."""
        self.was_reset |= not self.stream.closed
        self.end.mux.reset(self.stream, StreamResetError("enough"))


class End:
    """One mux, and a shell for it that does just what the mux's module asks of shells."""

    def __init__(self, mux: Mux, opened: Callable[[Opened], None]) -> None:
        self.mux = mux
        self.opened = opened
        #: Bytes under way to the other end.
        self.wire = bytearray()

    def deliver(self, data: bytes) -> None:
        for event in self.mux.receive(data):
            assert isinstance(event, Opened)
            self.opened(event)
        self.settle()

    def settle(self) -> None:
        """What a shell does after it has called something."""
        for stream in visit(self.mux):
            owner: Any = stream.owner
            owner.arrived()
        self.pump()
        while self.mux.output:
            self.wire += b"".join(self.mux.take_output())
            self.pump()
        assert self.mux.violation is None

    def pump(self) -> None:
        if self.mux.writable and (self.mux.queued or self.mux.stopped):
            for stream in self.mux.pump():
                owner: Any = stream.owner
                assert owner.source_stopped
                owner.source_stopped = False


class Link(RuleBasedStateMachine):
    """A server and a client, and two pipes."""

    @initialize(
        windows=st.booleans(),
        replies=st.booleans(),
        server_window=st.sampled_from([1000, 70_000, 256 * 1024]),
        client_window=st.sampled_from([5000, 256 * 1024]),
        max_queued=st.sampled_from([1, 100_000, 1 << 22]),
        streams=st.integers(1, 4),
    )
    def begin(
        self, windows: bool, replies: bool, server_window: int, client_window: int, max_queued: int, streams: int
    ) -> None:
        common: dict[str, Any] = {"windows": windows, "replies": replies, "max_queued": max_queued, "max_streams": 6}
        server = make_mux(window=server_window, remote_window=client_window, **common)
        client = make_mux(client=True, window=client_window, remote_window=server_window, **common)
        self.server, self.client = End(server, self.no_open), End(client, self.client_opened)
        self.ends = {False: self.server, True: self.client}
        self.halves: list[Half] = []
        self.pairs: list[tuple[Half, Half | None]] = []
        for _ in range(streams):
            self.open(0)
        self.wire(False, 1 << 20)

    def no_open(self, opened: Opened) -> None:
        raise AssertionError("a client opened a stream")

    def client_opened(self, opened: Opened) -> None:
        number = opened.stream.id
        server_half = self.pairs[number][0]
        half = Half(self.client, opened.stream, server_half.remote_start, server_half.start)
        self.halves.append(half)
        self.pairs[number] = (server_half, half)

    @precondition(lambda self: len(self.server.mux.streams) < self.server.mux.max_streams)
    @rule(offset=st.integers(0, 30_000))
    def open(self, offset: int) -> None:
        mux = self.server.mux
        stream = mux.open()
        assert stream.id == len(self.pairs), "numbers count upwards, and none comes again"
        mux.control(Event(EventType.ON_STREAM_OPEN, topic=TOPIC, peer=b"peer", stream=stream.id))
        half = Half(self.server, stream, offset, offset + 17)
        self.halves.append(half)
        self.pairs.append((half, None))
        self.server.settle()

    @rule(index=indices, size=SIZES, then=st.sampled_from(["nothing", "settle", "arrive"]))
    def send(self, index: int, size: int, then: str) -> None:
        half = self.halves[index % len(self.halves)]
        half.send(size)
        if then != "nothing":
            half.end.settle()
        if then == "arrive":
            self.wire(half.end is self.client, 1 << 20)

    @rule(index=indices, what=st.sampled_from(["stand_still", "go_on", "take_out", "use"]))
    def read(self, index: int, what: str) -> None:
        half = self.halves[index % len(self.halves)]
        getattr(half, what)()
        half.end.settle()

    @rule(index=indices, what=st.sampled_from(["finish", "finish", "close", "reset"]))
    def stop(self, index: int, what: str) -> None:
        half = self.halves[index % len(self.halves)]
        getattr(half, what)()
        half.end.settle()

    @rule(end=st.booleans(), writable=st.booleans())
    def link_takes(self, end: bool, writable: bool) -> None:
        self.ends[end].mux.writable = writable
        self.ends[end].settle()

    @rule(end=st.booleans(), size=st.sampled_from([1, 2, 7, 16, 1000, 1 << 16, 1 << 20, 1 << 20]))
    def wire(self, end: bool, size: int) -> None:
        sender, receiver = self.ends[end], self.ends[not end]
        data = bytes(sender.wire[:size])
        del sender.wire[:size]
        receiver.deliver(data)

    @invariant()
    def sound(self) -> None:
        for end in self.ends.values():
            check_invariants(end.mux, [half.stream for half in self.of(end)])
            assert end.mux.unread == sum(half.held + sum(map(len, half.stream.inbound)) for half in self.of(end))

    def of(self, end: End) -> list[Half]:
        return [half for half in self.halves if half.end is end]

    def teardown(self) -> None:
        if hasattr(self, "ends"):
            self.let_go()
            self.all_arrived()
            self.end_all()
            self.nothing_left()

    def let_go(self) -> None:
        """The link takes all, the wire brings all, everybody reads."""
        for end in self.ends.values():
            end.mux.writable = True
        for _ in range(1 << 12):
            for end in self.ends.values():
                for half in self.of(end):
                    half.go_on()
                    half.use()
                end.settle()
            if not any(end.wire for end in self.ends.values()):
                break
            self.wire(False, 1 << 20)
            self.wire(True, 1 << 20)
        else:
            raise AssertionError("it never comes to rest")
        self.sound()

    def all_arrived(self) -> None:
        for one, other in self.pairs:
            assert other is not None
            for sender, receiver in ((one, other), (other, one)):
                assert not sender.source_stopped or sender.stream.closed, "a source was never told to go on"
                if one.was_reset or other.was_reset or receiver.closed:
                    assert receiver.read <= sender.sent
                    continue
                assert receiver.read == sender.sent or other.closed or one.closed
                assert receiver.stream.remote_ended == (sender.ended or sender.closed)
                if sender.closed:
                    assert receiver.read == sender.sent, "CLOSE took data with it"
            if not (one.was_reset or other.was_reset):
                assert one.stream.error is None and other.stream.error is None

    def end_all(self) -> None:
        """As the ends of a link that is in order do it: both end, then the server closes."""
        for half in self.halves:
            half.end.mux.end(half.stream)
        self.let_go()
        for half in self.of(self.server):
            assert half.stream.closed or (half.stream.ended and half.stream.remote_ended)
            self.server.mux.close(half.stream)
        self.let_go()

    def nothing_left(self) -> None:
        for end in self.ends.values():
            mux = end.mux
            assert (mux.streams, mux.queued, mux.unread, mux.touched) == ({}, 0, 0, [])
            assert not mux.stopped and not mux._ready and not mux.decoder.buffered
        assert all(half.stream.closed for half in self.halves)


small_ids = st.integers(0, 5)
lies = st.one_of(
    st.builds(
        Event,
        type=st.sampled_from([1, 2, 4, 4, 4, 5, 6, 7, 17, 17, 18, 99]),
        topic=st.just(TOPIC) | st.none(),
        data=st.none() | st.binary(max_size=20),
        stream=small_ids | st.none() | strategies.stream_ids,
        window=st.none() | st.integers(0, 1000) | st.integers(0, 2**64 - 1),
        code=st.none() | st.sampled_from(["limit", "reset", "protocol-error", "no-such-thing"]),
    ).map(encode),
    st.builds(encode_data, small_ids, st.sampled_from([0, 1, 100, 999, 5000]).map(bytes)),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Frames with a few bytes changed, or cut short."""
    data = bytearray(b"".join(draw(st.lists(lies, max_size=4))))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


class Liar(RuleBasedStateMachine):
    """One mux, and a remote that says whatever comes to its mind."""

    WINDOW = 1000
    MAX_STREAMS = 4
    MAX_FRAME = 10_000

    @initialize(client=st.booleans(), windows=st.booleans(), replies=st.booleans())
    def begin(self, client: bool, windows: bool, replies: bool) -> None:
        self.mux = make_mux(
            client=client,
            windows=windows,
            replies=replies,
            window=self.WINDOW,
            remote_window=500,
            max_streams=self.MAX_STREAMS,
            max_frame=self.MAX_FRAME,
        )
        self.known: list[MuxStream] = []
        if not client:
            self.known += [self.mux.open() for _ in range(2)]

    def some(self, index: int) -> MuxStream | None:
        return self.known[index % len(self.known)] if self.known else None

    @rule(frames=st.lists(lies, min_size=1, max_size=8))
    def lie(self, frames: list[bytes]) -> None:
        self.hear(b"".join(frames))

    @rule(data=damaged() | st.binary(max_size=20))
    def mumble(self, data: bytes) -> None:
        self.hear(data)

    def hear(self, data: bytes) -> None:
        deaf = self.mux.violation is not None
        events = self.mux.receive(data)
        assert not (deaf and events)
        self.known += [event.stream for event in events if isinstance(event, Opened)]

    @rule(index=st.integers(0, 9), size=st.sampled_from([1, 400, 600, 100_000]))
    def send(self, index: int, size: int) -> None:
        if stream := self.some(index):
            self.mux.send(stream, bytes(size))

    @rule(index=st.integers(0, 9), what=st.sampled_from(["end", "close", "take", "discard"]))
    def act(self, index: int, what: str) -> None:
        if stream := self.some(index):
            getattr(self.mux, what)(stream)

    @rule(index=st.integers(0, 9), code=st.sampled_from(["reset", "stalled"]))
    def reset(self, index: int, code: str) -> None:
        if stream := self.some(index):
            self.mux.reset(stream, StreamResetError(code))

    @precondition(lambda self: not self.mux.client and len(self.mux.streams) < self.MAX_STREAMS)
    @rule()
    def open(self) -> None:
        self.known.append(self.mux.open())

    @rule(writable=st.booleans())
    def link_takes(self, writable: bool) -> None:
        self.mux.writable = writable
        self.mux.pump()
        self.mux.take_output()

    @rule()
    def visits(self) -> None:
        visit(self.mux)

    @rule()
    def lost(self) -> None:
        self.mux.abandon(StreamResetError("gone"))
        visit(self.mux)

    @invariant()
    def sound(self) -> None:
        check_invariants(self.mux, self.known)

    @invariant()
    def bounded(self) -> None:
        mux = self.mux
        assert mux.violation is None or isinstance(mux.violation, (ProtocolError, LimitError))
        assert len(mux.streams) <= self.MAX_STREAMS
        assert mux.decoder.buffered <= self.MAX_FRAME + 5
        assert sum(map(len, mux.output)) <= 2 * MAX_CONTROL_BACKLOG
        if mux.windows:
            assert all(sum(map(len, stream.inbound)) <= self.WINDOW for stream in self.known)


class MachineTests(SynchronousTestCase):
    """The machines, run."""

    def run_machine(self, machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_two_ends(self) -> None:
        """Whatever both do and however the wire cuts it, each byte arrives once and in order, and nothing is left."""
        self.run_machine(Link, 250, 40)

    def test_a_liar(self) -> None:
        """Whatever a remote sends, the worst is a violation, and what is held for it stays within its bounds."""
        self.run_machine(Liar, 150, 30)
