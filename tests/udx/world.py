"""
A path between two ends, on a virtual clock.

::

    net = Net(loss=0.01)
    ours, theirs = net.couple()                     # two streams that know each other
    ours.write(b"hello")
    net.run(1)                                      # seconds
    theirs.data

The ends are real ones (``UDXCore``), and bytes pass between them.  Each has one socket, at an address of its own.  The
same seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, inf
from random import Random

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.udx.core import UDXCore
from spaceswarm_proxy.udx.owner import Firewall
from spaceswarm_proxy.udx.packet import Packet, parse
from spaceswarm_proxy.udx.stream import RECEIVE_WINDOW, Stream

SOCKET = 1
#: Where the two ends are.
HERE, THERE = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)
#: Seconds that a packet is late by when another one shall overtake it.
LATE = 0.005
#: Steps after which two ends that do not come to rest are taken to run in circles.
MAX_STEPS = 1_000_000


class Path:
    """What lies between the ends; tests change it as they like."""

    def __init__(
        self,
        delay: float = 0.01,
        loss: float = 0.0,
        late: float = 0.0,
        twice: float = 0.0,
        rate: float = 0.0,
        queue: int = 256 << 10,
        largest: int = 65536,
    ) -> None:
        """
        :param delay: seconds, one way.
        :param loss, late, twice: shares of the packets that are lost, overtaken, and doubled.
        :param rate: bytes per second; 0 for any.
        :param queue: bytes that wait in front of it.
        :param largest: bytes of a datagram.
        """
        self.delay = delay
        self.loss = loss
        self.late = late
        self.twice = twice
        self.rate = rate
        self.queue = queue
        self.largest = largest
        #: Does nothing arrive at all?
        self.dead = False
        # When each direction has carried all that it was given so far.
        self._free: dict[bytes, float] = {}

    def arrivals(self, data: bytes, to: bytes, now: float, chance: Random) -> list[float]:
        """:returns: when a datagram arrives, as often as it does."""
        if self.dead or len(data) > self.largest or chance.random() < self.loss:
            return []
        queued = self._queue(len(data), to, now) if self.rate else now
        if queued is None:
            return []
        due = queued + self.delay + (LATE if chance.random() < self.late else 0.0)
        return [due, due] if chance.random() < self.twice else [due]

    def _queue(self, length: int, to: bytes, now: float) -> float | None:
        free = max(self._free.get(to, now), now)
        if (free - now) * self.rate > self.queue:
            return None
        self._free[to] = free + length / self.rate
        return self._free[to]


class Net:
    """The clock, the two ends, and the packets on their way."""

    def __init__(self, seed: int = 1, **path: float) -> None:
        """:param path: as for :class:`Path`."""
        self.now = 1000.0
        self.chance = Random(seed)
        self.path = Path(**path)  # type: ignore[arg-type]
        #: Every packet that was sent, and those that did not arrive: when, from where, what.
        self.sent: list[tuple[float, bytes, bytes]] = []
        self.lost = 0
        #: Seconds between the moments at which anything is looked after: a busy process has few of them.
        self.tick = 0.0
        #: Other ends, by address.
        self.places: dict[bytes, Place] = {}
        self.here, self.there = Place(self, HERE, 1), Place(self, THERE, 2)
        self._on_the_way: list[tuple[float, int, bytes, bytes, bytes]] = []
        self._count = 0

    def couple(
        self, number: int = 0, first: int = 0, remote_first: int = 0, window: int = RECEIVE_WINDOW
    ) -> tuple[End, End]:
        """:returns: both ends of a stream, connected."""
        ours = self.here.create(number * 2 + 1, first, remote_first, window)
        theirs = self.there.create(number * 2 + 2, remote_first, first, window)
        ours.connect(THERE, theirs.stream.id)
        theirs.connect(HERE, ours.stream.id)
        return ours, theirs

    def put(self, source: bytes, to: bytes, data: bytes) -> None:
        """A datagram leaves."""
        self.sent.append((self.now, source, data))
        arrivals = self.path.arrivals(data, to, self.now, self.chance)
        self.lost += not arrivals
        for due in arrivals:
            self._count += 1
            heappush(self._on_the_way, (due, self._count, source, to, data))

    def packets(self, source: bytes | None = None, since: float = 0.0) -> list[Packet]:
        """:returns: what was sent."""
        chosen = [data for at, place, data in self.sent if source in (None, place) and at >= since]
        return [packet for packet in map(parse, chosen) if packet is not None]

    def step(self) -> bool:
        """Go on to when something happens next.  :returns: whether anything will."""
        due = self.next_event()
        if due == inf:
            return False
        self.now = max(self.now, due)
        if self.tick:
            self.now = ceil(self.now / self.tick) * self.tick
        while self._on_the_way and self._on_the_way[0][0] <= self.now:
            _, _, source, to, data = heappop(self._on_the_way)
            if to in self.places:
                self.places[to].receive(data, source)
        for place in self.places.values():
            place.look_after()
        return True

    def next_event(self) -> float:
        """:returns: when that is."""
        dues = [place.next_event() for place in self.places.values()]
        return min(*dues, self._on_the_way[0][0] if self._on_the_way else inf)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(MAX_STEPS):
            if self.next_event() > end or not self.step():
                self.now = end
                return
        raise AssertionError("the ends run in circles")

    def run_until(self, over: Callable[[], bool], seconds: float = 60.0) -> float:
        """
        Let time pass until something is the case.

        :param seconds: for which to wait for that at most.
        :returns: how long it took.
        """
        began = self.now
        while not over():
            if self.now - began > seconds or not self.step():
                raise AssertionError(f"it never came, in {self.now - began:.1f} s")
        return self.now - began

    def is_at_rest(self) -> bool:
        """Is nothing left: no stream, no deadline, nothing to be looked after, no packet on its way?"""
        return self.next_event() == inf and all(not len(place.core) for place in self.places.values())


class Place:
    """All streams at one address."""

    def __init__(self, net: Net, address: bytes, seed: int) -> None:
        self.net = net
        self.address = address
        #: Has somebody asked for a turn?
        self.woken = False
        #: Does the system take datagrams?
        self.writable = True
        self.core = UDXCore(Random(seed), self._send, self._send_bunch, self._wake)
        net.places[address] = self

    def create(self, id: int | None = None, first: int = 0, remote_first: int = 0, window: int = RECEIVE_WINDOW) -> End:
        """:returns: a stream that knows nobody yet."""
        return End(self, self.core.create(id=id, first=first, remote_first=remote_first, window=window))

    def accept(self, id: int, firewall: Firewall) -> End:
        """:returns: a stream that asks about who comes."""
        return End(self, self.core.create(firewall, id=id))

    def _wake(self) -> None:
        self.woken = True

    def _send(self, socket: int, address: bytes, data: bytes) -> bool:
        if self.writable:
            self.net.put(self.address, address, bytes(data))
        return self.writable

    def _send_bunch(self, socket: int, address: bytes, parts: list[memoryview], segment: int) -> bool:
        datagrams = [bytes(header) + bytes(payload) for header, payload in zip(parts[::2], parts[1::2], strict=True)]
        assert sum(map(len, datagrams)) <= 65507
        assert {*map(len, datagrams[:-1])} == {segment}
        assert len(datagrams[-1]) <= segment
        return all([self._send(socket, address, data) for data in datagrams])

    def receive(self, data: bytes, source: bytes, socket: int = SOCKET) -> None:
        """A datagram arrives; the turn goes on."""
        self.core.receive(memoryview(data), len(data), len(data), source, socket, self.net.now)
        self.woken = True

    def receive_train(self, datagrams: list[bytes], source: bytes = THERE) -> None:
        """Datagrams of one length arrive at once; the last may be shorter."""
        data = memoryview(b"".join(datagrams))
        self.core.receive(data, len(datagrams[0]), len(datagrams[0]), source, SOCKET, self.net.now)
        self.woken = True

    def next_event(self) -> float:
        """:returns: when there is something to do."""
        return self.net.now if self.woken else self.core.next_deadline()

    def look_after(self) -> None:
        """Do what is due, and end the turn."""
        self.woken = False
        if self.core.next_deadline() <= self.net.now:
            self.core.advance(self.net.now)
        self.core.turn(self.net.now)

    def unblock(self) -> None:
        """The system takes datagrams again."""
        self.writable = True
        self.core.writable(SOCKET, self.net.now)


class End:
    """One end of a stream, and what its owner was told."""

    def __init__(self, place: Place, stream: Stream) -> None:
        self.place = place
        self.stream = stream
        stream.owner = self
        #: What was told, a word each.
        self.told: list[str] = []
        self.chunks: list[bytes] = []
        self.messages: list[bytes] = []
        self.closed = False
        self.problem: SpaceswarmError | None = None
        #: Is what comes used at once, or kept waiting?
        self.reads = True
        self.unread = 0
        #: Called at each word.
        self.react: Callable[[str], None] = lambda word: None

    @property
    def data(self) -> bytes:
        """All that has come."""
        return b"".join(self.chunks)

    def connect(self, address: bytes, remote_id: int) -> None:
        """Say where the other end is."""
        self.stream.connect(SOCKET, remote_id, address, self.place.net.now)

    def write(self, data: bytes) -> bool:
        """Write, and let the turn end."""
        return self.stream.write(data)

    def end(self) -> None:
        """Write no more."""
        self.stream.end()

    def destroy(self) -> None:
        """End it at once."""
        self.stream.destroy(self.place.net.now)

    def read(self) -> None:
        """Use what was kept waiting."""
        count, self.unread = self.unread, 0
        self.stream.consumed(count)

    # What the stream tells.

    def _tell(self, word: str) -> None:
        assert not self.closed
        self.told.append(word)
        self.react(word)

    def stream_received(self, chunks: list[bytes]) -> None:
        assert chunks and all(chunks)
        self.chunks += chunks
        self.unread += sum(map(len, chunks))
        if self.reads:
            self.read()
        self._tell("received")

    def stream_ended(self) -> None:
        self._tell("ended")

    def stream_message(self, message: bytes) -> None:
        self.messages.append(message)
        self._tell("message")

    def stream_drained(self) -> None:
        self._tell("drained")

    def stream_moved(self) -> None:
        self._tell("moved")

    def stream_closed(self, problem: SpaceswarmError | None) -> None:
        self._tell("closed")
        self.closed, self.problem = True, problem
