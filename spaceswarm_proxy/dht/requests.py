"""
The requests that are under way: sent, repeated, answered, given up.

A request is one datagram, sent again as it is until an answer comes or it has been sent often enough.  What it is for
is its *owner's* business, who is told of each of these.

:source: npm ``dht-rpc``; spec/dht.md, section 12.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from spaceswarm_proxy.dht.chance import Chance
from spaceswarm_proxy.dht.message import Command, Response, encode_request
from spaceswarm_proxy.dht.round_trips import RoundTrips
from spaceswarm_proxy.dht.window import CongestionWindow
from spaceswarm_proxy.errors import LimitError, RequestTimeoutError, SpaceswarmError

#: Seconds that an attempt waits for an answer.
TIMEOUT = 1.0
#: Attempts after the first one.
RETRIES = 3
#: Requests under way and waiting, together; there are only 65,536 transaction ids.
MAX_REQUESTS = 32768


class Owner(Protocol):
    """Who wants to know what becomes of a request."""

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        """The answer has come."""

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        """There is none, and will be none."""

    def slow(self, request: OutgoingRequest, now: float) -> None:
        """The first attempt had no answer; another is made."""


class OutgoingRequest:
    """A request to one node."""

    __slots__ = (
        "arrived_on", "attempts", "command", "data", "done", "first_sent", "last_sent",
        "owner", "retries", "socket", "tid", "timeout", "to", "token", "ttl",
    )  # fmt: skip

    def __init__(
        self,
        to: bytes,
        command: Command,
        owner: Owner,
        *,
        token: bytes | None = None,
        retries: int = RETRIES,
        timeout: float | None = None,
        socket: int | None = None,
        ttl: int = 0,
    ) -> None:
        """
        :param to: the node's address.
        :param timeout: seconds that an attempt waits; by default :data:`TIMEOUT`, or what is known of the node.
        :param socket: which socket to send from; by default the node's choice.
        :param ttl: of the IP packet; 0 for the system's default.
        """
        self.to = to
        self.command = command
        self.owner = owner
        self.token = token
        self.retries = retries
        self.timeout = timeout
        self.socket = socket
        self.ttl = ttl
        self.attempts = 0
        self.tid = b""
        #: The datagram, from its first attempt on.
        self.data = b""
        self.first_sent = 0.0
        self.last_sent = 0.0
        self.done = False
        #: The socket that the answer came in on.
        self.arrived_on: int | None = None


#: ``(socket, id)`` for a request: what it is to be sent from, and our id if that may be told.
Sender = Callable[[OutgoingRequest], tuple[int, bytes | None]]
#: Takes a socket, an address, a datagram and a TTL.
Transmit = Callable[[int, bytes, bytes, int], None]


class Requests:
    """All requests of a node, under one space of transaction ids."""

    def __init__(
        self, chance: Chance, sender: Sender, transmit: Transmit, now: float, adaptive_timeouts: bool = False
    ) -> None:
        """
        :param sender: decides where a request is sent from, at its first attempt.
        :param transmit: sends a datagram.
        :param adaptive_timeouts: wait as long as a node's answers take, not a fixed second.
        """
        self.window = CongestionWindow(now)
        #: Datagrams with requests that were sent, and requests that had no answer.
        self.sent = 0
        self.timed_out = 0
        self._sender = sender
        self._transmit = transmit
        self._round_trips = RoundTrips(chance) if adaptive_timeouts else None
        self._next_tid = chance.randrange(1 << 16)
        self._by_tid: dict[bytes, OutgoingRequest] = {}
        self._waiting: deque[OutgoingRequest] = deque()
        # (deadline, sequence number, request); the number keeps requests from being compared.
        self._deadlines: list[tuple[float, int, OutgoingRequest]] = []
        self._sequence = 0

    @property
    def under_way(self) -> int:
        """Requests that were sent, and have no answer yet."""
        return len(self._by_tid)

    def send(self, request: OutgoingRequest, now: float, forced: bool = False) -> None:
        """
        Send a request, or keep it until the window has room.

        :param forced: do not wait for room.
        :raises LimitError: there are :data:`MAX_REQUESTS` already.
        """
        if len(self._by_tid) + len(self._waiting) >= MAX_REQUESTS:
            raise LimitError("max_requests", MAX_REQUESTS)
        if not forced and (self._waiting or self.window.is_full(now)):
            self._waiting.append(request)
        else:
            self._begin(request, now)

    def received(self, source: bytes, response: Response, socket: int, now: float) -> OutgoingRequest | None:
        """
        A response has come.

        :param source: where it came from.
        :returns: the request that it answers, which its owner is still to be told; ``None`` if there is none, or it
            was sent to somebody else: transaction ids can be guessed.
        """
        request = self._by_tid.get(response.tid)
        if request is None or request.to != source:
            return None
        self._end(request)
        request.arrived_on = socket
        if self._round_trips is not None and request.attempts <= 2:
            self._round_trips.measured(source, now - request.last_sent, now)
        self._send_waiting(now)
        return request

    def cancel(self, request: OutgoingRequest) -> None:
        """Forget a request; its owner is told nothing."""
        if not request.done:
            self._end(request)

    def fail_all(self, problem: SpaceswarmError, now: float) -> None:
        """Give all requests up."""
        for request in [*self._by_tid.values(), *self._waiting]:
            if not request.done:
                self._end(request)
                request.owner.failed(request, problem, now)

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].done:
            heappop(deadlines)
        due = self.window.due if self._waiting else None
        if deadlines and (due is None or deadlines[0][0] < due):
            return deadlines[0][0]
        return due

    def advance(self, now: float) -> None:
        """Repeat what had no answer, or give it up; send what has waited for room."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            request = heappop(deadlines)[2]
            if not request.done:
                self._missed(request, now)
        self._send_waiting(now)

    def _send_waiting(self, now: float) -> None:
        while self._waiting and not self.window.is_full(now):
            request = self._waiting.popleft()
            if not request.done:
                self._begin(request, now)

    def _begin(self, request: OutgoingRequest, now: float) -> None:
        request.tid = tid = self._free_tid()
        request.socket, id = self._sender(request)
        request.data = encode_request(request.command, tid, request.to, id, request.token)
        request.first_sent = now
        self._by_tid[tid] = request
        self._attempt(request, now)

    def _attempt(self, request: OutgoingRequest, now: float) -> None:
        request.attempts += 1
        request.last_sent = now
        self.sent += 1
        self.window.sent()
        self._sequence += 1
        heappush(self._deadlines, (now + self._timeout(request, now), self._sequence, request))
        assert request.socket is not None
        self._transmit(request.socket, request.to, request.data, request.ttl)

    def _timeout(self, request: OutgoingRequest, now: float) -> float:
        if request.timeout is not None:
            return request.timeout
        if self._round_trips is not None:
            return self._round_trips.timeout(request.to, request.attempts, now)
        return TIMEOUT

    def _missed(self, request: OutgoingRequest, now: float) -> None:
        if request.attempts <= request.retries:
            self._attempt(request, now)
            if request.attempts == 2:
                request.owner.slow(request, now)
            return
        self._end(request)
        self.timed_out += 1
        request.owner.failed(request, RequestTimeoutError(), now)

    def _end(self, request: OutgoingRequest) -> None:
        request.done = True
        if request.attempts:
            del self._by_tid[request.tid]
            self.window.finished()

    def _free_tid(self) -> bytes:
        while True:
            tid = self._next_tid.to_bytes(2, "little")
            self._next_tid = (self._next_tid + 1) & 0xFFFF
            if tid not in self._by_tid:
                return tid


class Once:
    """The owner of a single request: tells one function how it ended."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[Response | SpaceswarmError, float], None]) -> None:
        """:param done: called with the response, or the problem, and the time."""
        self._done = done

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        self._done(response, now)

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        self._done(problem, now)

    def slow(self, request: OutgoingRequest, now: float) -> None:
        """Nobody asks."""
