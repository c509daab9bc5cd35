"""
One end of a link: the shell around a :class:`~spaceswarm_proxy.proxy.mux.Mux`.

It owns the transport of the link and nothing else: bytes in, bytes out, backpressure both ways, liveness, and the end.
What the events mean is the business of its two subclasses, the server's and the client's.

*Writing.* The link is the transport's push producer; while the transport is full, the mux queues, fairly.

*Reading.* A stream whose reader stands still keeps what has arrived.  When one has more than it may (or all
together do), the link reads nothing until that is used up; after ``stall_timeout`` of that, the streams at fault
are reset.  With windows agreed, a single stuck stream never comes that far.

There is no timer for each link: whoever owns links calls :meth:`Link.tick` every second or so.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar, Protocol as Shape

import txaio
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import LinkError, LinkLostError, LinkTimeoutError, ProtocolError, StreamStalledError
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.mux import Mux, MuxStream, Opened
from spaceswarm_proxy.proxy.wire import Event, EventType
from spaceswarm_proxy.tcp import accelerate

log = txaio.make_logger()

#: Seconds of silence after which a peer without liveness is sent an empty frame, which keeps middle-boxes' memory
#: fresh.
KEEP_ALIVE = 60.0
#: Bytes up to which pieces are joined before they are written: cheaper than to hand over many.
JOIN_BELOW = 16 * 1024
#: The longest data of a PING that is answered.
MAX_PING = 64


class StreamOwner(Shape):
    """What a link asks of whoever reads and writes one of its streams."""

    def arrived(self) -> None:
        """There is news on the stream: data, the remote's end, or the stream is over."""

    def resume_source(self) -> None:
        """After ``Mux.send`` said to stop: the source may go on."""


@implementer(IPushProducer)
class Link(Protocol):
    """What the two ends of a link have in common.  One Twisted protocol for each link."""

    transport: Any
    #: Event type -> name of the method that handles it; other types are skipped, as the protocol demands.
    handlers: ClassVar[dict[int, str]] = {EventType.PING: "_on_ping"}

    def __init__(self, clock: Any, limits: Limits, *, client: bool) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param client: which end this is.
        """
        self.clock = clock
        self.limits = limits
        self.mux = Mux(
            client=client,
            max_streams=limits.max_streams,
            window=limits.window,
            max_queued=limits.max_buffered,
            max_frame=limits.max_frame,
        )
        self.features = Feature(0)
        #: Has READY been exchanged?
        self.ready = False
        self.lost = False
        self.reason: Exception | None = None
        self._blocked: set[MuxStream] = set()
        self._reading_stopped: float | None = None
        self._closing: float | None = None
        self._heard = True
        self._silent_since = clock.seconds()
        self._pinged = False
        self._gathers = False
        self._visit_due: Any = None
        self._held = 0
        # Are the streams with news about to be visited anyway?
        self._receiving = False

    # Twisted's side.

    def connectionMade(self) -> None:
        transport = self.transport
        accelerate(transport)
        self._gathers = bool(getattr(transport, "gathers", False))
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._closing is not None:
            return
        self._heard = True
        mux = self.mux
        self._receiving = True
        for event in mux.receive(data):
            self._handle(event)
        if mux.touched:
            self._visit()
        self._receiving = False
        if mux.queued or mux.stopped:
            self._pump()
        if mux.output:
            self.flush()
        held = mux.decoder.buffered
        if held != self._held:
            growth, self._held = held - self._held, held
            self.holds_more(growth)
        if mux.violation is not None:
            self._violated()

    def holds_more(self, growth: int) -> None:
        """An unfinished frame holds so many bytes more, or less; for who counts them."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        problem = self.reason or LinkLostError(f"the link was lost: {reason.getErrorMessage()}")
        self._blocked.clear()
        if self._visit_due is not None:
            self._visit_due.cancel()
        for stream in self.mux.abandon(problem):
            self._tell(stream)
        self.link_lost(problem)

    def pauseProducing(self) -> None:
        self.mux.writable = False

    def resumeProducing(self) -> None:
        self.mux.writable = True
        self._pump()
        self.flush()

    def stopProducing(self) -> None:
        """The transport is closing; ``connectionLost`` follows."""
        self.mux.writable = False

    @property
    def closing(self) -> bool:
        """Is it closed, or about to be?"""
        return self.lost or self._closing is not None

    # The mux's side.

    def _handle(self, event: Event | Opened) -> None:
        kind = event.event.type if isinstance(event, Opened) else event.type
        name = self.handlers.get(kind)
        if name is None or self._closing is not None:
            return
        try:
            getattr(self, name)(event)
        except ProtocolError as problem:
            self.mux.violation = problem
        except Exception:
            log.failure("handling {kind} failed; the link is closed", kind=EventType(kind).name)
            self.close(LinkError("internal error"))

    def _visit(self) -> None:
        """Give every stream with news to its owner."""
        touched, self.mux.touched = self.mux.touched, []
        for stream in touched:
            stream.touched = False
            self._tell(stream)
            if stream.debt > stream.consumed:
                self._blocked.add(stream)
        if self._blocked:
            self._check_blocked()
        if self.mux.touched:  # a visit can end another stream
            self._visit()

    def visit_soon(self) -> None:
        """News of a stream came about outside :meth:`dataReceived`: visit it in the next turn of the reactor."""
        if self._visit_due is None and self.mux.touched and not self.lost:
            self._visit_due = self.clock.callLater(0, self._visit_later)

    def _visit_later(self) -> None:
        self._visit_due = None
        self._visit()
        self.flush()

    def _tell(self, stream: MuxStream) -> None:
        owner: StreamOwner | None = stream.owner  # type: ignore[assignment]
        if owner is None:
            self.mux.discard(stream)
            return
        try:
            owner.arrived()
        except Exception as problem:
            log.failure("a stream's owner failed; the stream is reset")
            stream.owner = None
            self.mux.reset(stream, problem)

    def _pump(self) -> None:
        for stream in self.mux.pump():
            owner: StreamOwner | None = stream.owner  # type: ignore[assignment]
            if owner is not None:
                owner.resume_source()

    def flush(self) -> None:
        """Write what the mux has; the callers of its methods call this when they are done."""
        mux = self.mux
        while mux.output:
            size = mux.output_size
            output = mux.take_output()
            if self.lost:
                return
            if self._gathers and size > JOIN_BELOW:
                self.transport.writeSequence(output)
            else:
                self.transport.write(output[0] if len(output) == 1 else b"".join(output))
            if mux.writable and (mux.queued or mux.stopped):
                self._pump()
        if mux.touched and not self._receiving:
            self.visit_soon()

    def send(self, event: Event) -> None:
        """Send one control event now."""
        self.mux.control(event)
        self.flush()
        if self.mux.violation is not None and self._closing is None:
            self.clock.callLater(0, self._violated)

    # Readers that stand still.

    def consumed(self, stream: MuxStream) -> None:
        """A stream's owner has used some of what had arrived: the link may read again, and credit may be due."""
        if stream in self._blocked:
            if stream.debt <= stream.consumed:
                self._blocked.discard(stream)
            self._check_blocked()
        if self.mux.output:
            self.flush()

    def _over(self, stream: MuxStream) -> bool:
        return not self.mux.windows and stream.debt > self.limits.window

    def _check_blocked(self) -> None:
        stop = self.mux.unread > self.limits.max_buffered or any(map(self._over, self._blocked))
        if stop and self._reading_stopped is None:
            self._reading_stopped = self.clock.seconds()
            self.transport.pauseProducing()
        elif not stop and self._reading_stopped is not None:
            self._reading_stopped = None
            self._heard = True
            if not self.lost:
                self.transport.resumeProducing()

    def _reset_stalled(self) -> None:
        """
        Reading has been stopped for too long: end the streams that are to blame, the largest if they are so only
        together.
        """
        guilty = [stream for stream in self._blocked if self._over(stream)]
        if not guilty and self._blocked:
            guilty = [max(self._blocked, key=lambda stream: stream.debt)]
        for stream in guilty:
            log.info("a stream's reader stood still for {seconds} s", seconds=self.limits.stall_timeout)
            self._blocked.discard(stream)
            self.stalled(stream, StreamStalledError(f"nothing was read for {self.limits.stall_timeout:g} s"))
        self._visit()
        self._check_blocked()
        self.flush()

    def stalled(self, stream: MuxStream, problem: StreamStalledError) -> None:
        """End a stream whose reader stood still."""
        if not stream.closed:
            self.mux.reset(stream, problem)
            return
        stream.error = problem
        self.mux.discard(stream)
        self._tell(stream)

    # Time.

    def tick(self, now: float) -> None:
        """Look at the clock: liveness, stalls, and a close that takes too long.  Called about once a second."""
        if self._closing is not None:
            if now >= self._closing:
                self.transport.abortConnection()
            return
        if self._reading_stopped is not None and now - self._reading_stopped >= self.limits.stall_timeout:
            self._reading_stopped = now
            self._reset_stalled()
        if self._heard:
            self._heard = False
            self._pinged = False
            self._silent_since = now
        elif self.ready:
            self._silence(now, now - self._silent_since)

    def _silence(self, now: float, seconds: float) -> None:
        if Feature.LIVENESS not in self.features:
            if seconds >= KEEP_ALIVE:
                self._silent_since = now
                self.transport.write(b"\0")
        elif self._pinged and seconds >= self.limits.ping_interval + self.limits.ping_timeout:
            if self._reading_stopped is None:
                self.fail(LinkTimeoutError(f"nothing was heard for {seconds:.0f} s"))
            else:  # it is we who do not listen; show that we live, and count anew
                self._heard = True
        elif not self._pinged and seconds >= self.limits.ping_interval:
            self._pinged = True
            self.send(Event(EventType.PING, data=secrets.token_bytes(8)))

    def _on_ping(self, event: Event) -> None:
        data = event.data or b""
        if Feature.LIVENESS in self.features and len(data) <= MAX_PING:
            self.mux.control(Event(EventType.PONG, data=data))

    # The end.

    def _violated(self) -> None:
        if self._closing is None and self.mux.violation is not None:
            self.violated(self.mux.violation)

    def violated(self, problem: Exception) -> None:
        """The remote broke the protocol (or a limit of the link itself); a subclass counts, and says goodbye."""
        self.close(problem)

    def close(self, problem: Exception) -> None:
        """Close the link when what is written has gone out; it is heard no more."""
        if self.lost or self._closing is not None:
            return
        self.reason = problem
        self._closing = self.clock.seconds() + self.limits.close_timeout
        self.flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def fail(self, problem: Exception) -> None:
        """Cut the link now."""
        if self.lost:
            return
        self.reason = problem
        self._closing = self.clock.seconds()
        self.transport.abortConnection()

    def link_lost(self, problem: Exception) -> None:
        """The link is gone, and with it every stream; for subclasses."""
