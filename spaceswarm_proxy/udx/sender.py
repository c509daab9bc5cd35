"""
The sending half of a stream: cuts what is written into packets, and sees that all of them arrive.

What leaves first, when something may: what was lost; then what is new.  What may leave at all is bounded by the
congestion window, by the pacer, and, for what is new, by the remote's window, which counts packets::

    WriteQueue      bytes that have not left                        queue.py
    Flights         packets that have, and are not acknowledged     flights.py
    LossDetector    which of those are lost                         recovery.py
    BBR, Pacer      how many may be on the way, how fast            bbr.py, pacer.py
    PathMTU         how large they may be                           path_mtu.py

Numbers here are whole: they do not wrap at 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from spaceswarm_proxy.udx.bbr import BBR
from spaceswarm_proxy.udx.congestion import CongestionControl
from spaceswarm_proxy.udx.flights import Flight, Flights
from spaceswarm_proxy.udx.pacer import Pacer
from spaceswarm_proxy.udx.packet import HEADER_LENGTH
from spaceswarm_proxy.udx.path_mtu import PathMTU
from spaceswarm_proxy.udx.queue import WriteQueue
from spaceswarm_proxy.udx.rate import Delivery, DeliveryRate
from spaceswarm_proxy.udx.recovery import LossDetector
from spaceswarm_proxy.udx.round_trips import RoundTrips

#: Bytes of the remote's window before anything is heard of it.
INITIAL_REMOTE_WINDOW = 4 << 20
#: Bytes of the largest bunch of packets that the system takes at once, and the most packets in it.
MAX_BUNCH = 65507
MAX_BUNCH_PACKETS = 64

#: Sends a flight; says whether the system took it.
Emit = Callable[[Flight], bool]

OPEN, RECOVERY, LOSS = range(3)


class Sender:
    """One direction, as its sender sees it."""

    __slots__ = (
        "_detector",
        "_emit",
        "_pace_at",
        "_probe_window_after",
        "_probe_window_at",
        "_rate",
        "_recovery_end",
        "congestion",
        "end_sent",
        "ending",
        "flights",
        "mtu",
        "next",
        "pacer",
        "queue",
        "remote_window",
        "retransmitted",
        "state",
        "times",
        "timed_out",
        "unacknowledged",
    )

    def __init__(self, first: int, emit: Emit, now: float, congestion: CongestionControl | None = None) -> None:
        """
        :param first: the number of the first packet.
        :param emit: sends a flight.
        :param congestion: by default :class:`~spaceswarm_proxy.udx.bbr.BBR`.
        """
        #: The number that the next packet gets, and the lowest that is not acknowledged.
        self.next = first
        self.unacknowledged = first
        #: Bytes that the remote may be sent.
        self.remote_window = INITIAL_REMOTE_WINDOW
        self.queue = WriteQueue()
        self.flights = Flights()
        self.times = RoundTrips()
        self.mtu = PathMTU()
        self.pacer = Pacer()
        self.congestion: CongestionControl = BBR(now) if congestion is None else congestion
        self.state = OPEN
        #: Packets that were sent again, and time-outs, in all.
        self.retransmitted = 0
        self.timed_out = 0
        #: Is nothing more to be written; has the end left?
        self.ending = False
        self.end_sent = False
        self._emit = emit
        self._rate = DeliveryRate()
        self._detector = LossDetector(self.flights, self.times, first, now)
        # Recovery is over when everything before this number is acknowledged.
        self._recovery_end = first
        self._pace_at = inf
        # When to ask whether the remote's window is still closed, and how long to wait after that.
        self._probe_window_at = inf
        self._probe_window_after = 0.0

    # What the user does.

    def end(self) -> None:
        """Nothing more will be written."""
        self.ending = True

    def forget(self) -> None:
        """Nothing is sent any more."""
        self.queue.clear()
        self.flights.clear()

    @property
    def done(self) -> bool:
        """Has everything arrived, the end too?"""
        return self.end_sent and not len(self.flights)

    @property
    def awaits_end_only(self) -> bool:
        """Is the end all that is not acknowledged?"""
        return self.end_sent and len(self.flights) == 1 and not self.flights.first.payload

    @property
    def has_news(self) -> bool:
        """Is there anything that has not left?"""
        return self.queue.length > 0 or (self.ending and not self.end_sent)

    # Sending.

    def transmit(self, now: float) -> None:
        """Send what may leave."""
        waited, self._pace_at = self._pace_at != inf, inf
        if not (self.flights.lost or self.has_news):
            return
        allowance = self.pacer.allowance(self.congestion.pacing_rate, not self.flights.flying, waited, now)
        while (room := min(self.congestion.window - self.flights.flying, allowance)) > 0:
            sent = self._send_lost(room, now) or self._send_new(room, now)
            if not sent:
                return
            self.pacer.sent(sent)
            allowance -= sent
            if sent < room and not (self.flights.lost or self.has_news):
                self._rate.ran_dry(self.flights.flying)
                return
        if allowance <= 0 and (self.flights.lost or self.has_news):
            self._pace_at = self.pacer.next

    def _send_lost(self, room: int, now: float) -> int:
        """:returns: packets that were sent again: no more at once than left together."""
        flight = self.flights.next_lost(room)
        if flight is None or not self._emit(flight):
            return 0
        self.flights.fly_again(flight)
        self._rate.sent(flight, self.flights.flying - flight.count, now)
        flight.sent_at = now
        flight.tries += 1
        self.retransmitted += flight.count
        self._detector.sent(now)
        return flight.count

    def _send_new(self, room: int, now: float) -> int:
        """:returns: packets that were sent."""
        if not self.has_news:
            return 0
        size = self.mtu.payload
        room = min(room, self._window_room(now), MAX_BUNCH // (size + HEADER_LENGTH), MAX_BUNCH_PACKETS)
        if room <= 0:
            return 0
        padding = self._padding(size)
        return self._launch(1 if padding else room, size, padding, now)

    def _padding(self, size: int) -> int:
        """:returns: zeros for the next packet, which probes the path then; not before anything was heard."""
        length = min(self.queue.length, size)
        return self.mtu.padding(length) if length and self.times.smoothed is not None else 0

    def _window_room(self, now: float) -> int:
        """Packets that the remote's window lets through; one, into the smallest."""
        if not self.remote_window:
            if not len(self.flights) and self._probe_window_at == inf:
                self._probe_window_at = now
                self._probe_window_after = self.times.timeout
            return 0
        return max(self.remote_window // self.mtu.payload, 1) - len(self.flights)

    def _launch(self, room: int, size: int, padding: int, now: float) -> int:
        """Send up to ``room`` new packets as one flight."""
        length = min(self.queue.length, room * size)
        payload = self.queue.take(length) if length else b""
        end = self.ending and not self.queue.length
        flight = Flight(self.next, -(-length // size) or 1, payload, size, end)
        flight.padding = padding
        if not self._emit(flight):
            self._not_taken(flight)
            return 0
        if not len(self.flights):
            self.congestion.resumed(now)
        self._rate.sent(flight, self.flights.flying, now)
        flight.sent_at = now
        flight.tries = 1
        self.flights.add(flight)
        self.next += flight.count
        self.end_sent = end
        self._detector.sent(now)
        return flight.count

    def _not_taken(self, flight: Flight) -> None:
        if flight.payload:
            self.queue.put_back(flight.payload)
        if flight.padding:
            self.mtu.withdrawn()

    # What the remote says.

    def acknowledge(self, ack: int, ranges: Sequence[tuple[int, int]], now: float) -> None:
        """
        Everything before ``ack`` has arrived, and these ranges.

        :param ack: not above :attr:`next`.
        """
        flying_before = self.flights.flying
        progressed = ack > self.unacknowledged
        news: list[Flight] = []
        if progressed:
            news = self.flights.acknowledge(ack)
            self.unacknowledged = ack
        for start, end in ranges:
            if self.unacknowledged <= start < end <= self.next:
                news += self.flights.acknowledge_range(start, end)
        round_trip = self._account(news, now)
        if news or progressed:
            self._detector.heard(progressed, now)
        if news or self._detector.late_at <= now:
            self._find_lost(now)
        if self.state != OPEN and ack >= self._recovery_end:
            self.state = OPEN
            self.congestion.recovered(now)
        if news:
            self._tell_congestion(news, round_trip, flying_before, now)

    def _account(self, news: Sequence[Flight], now: float) -> float | None:
        """:returns: the shortest round trip that these show."""
        round_trip: float | None = None
        since = self._detector.newest_sent_at - self._detector.tolerance
        for flight in news:
            self._rate.arrived(flight, since, now)
            self._detector.arrived(flight, now)
            if flight.padding:
                self.mtu.arrived()
            if flight.tries == 1 and (round_trip is None or now - flight.sent_at < round_trip):
                round_trip = now - flight.sent_at
        if round_trip is not None:
            self.times.add(round_trip, now)
        return round_trip

    def _tell_congestion(
        self, news: Sequence[Flight], round_trip: float | None, flying_before: int, now: float
    ) -> None:
        total_at_sending, rate, app_limited = self._rate.take(self.times.shortest, now)
        delivery = Delivery(
            sum(flight.count for flight in news),
            self._rate.delivered,
            total_at_sending,
            rate,
            app_limited,
            round_trip,
            flying_before,
            self.flights.flying,
        )
        self.congestion.delivered(delivery, now)

    def set_remote_window(self, window: int) -> None:
        """:param window: bytes that the remote takes."""
        self.remote_window = window
        if window:
            self._probe_window_at = inf

    # Loss and time.

    def _find_lost(self, now: float) -> None:
        if self._lose(self._detector.find_late(self.state != OPEN, now)) and self.state == OPEN:
            self.state = RECOVERY
            self._recovery_end = self.next
            self.congestion.lost(self.flights.flying, now)

    def _lose(self, flights: Sequence[Flight]) -> bool:
        """:returns: whether that means that the path is full: it does not where only a probe of its size was lost."""
        counts = False
        for flight in flights:
            if flight.padding:
                flight.padding = 0
                self.mtu.lost()
            else:
                counts = True
            self.flights.lose(flight)
        return counts

    def advance(self, now: float) -> bool:
        """
        Do what is due.

        :returns: whether the remote should be asked how large its window is.
        """
        detector = self._detector
        if detector.late_at <= now:
            self._find_lost(now)
        if detector.timeout_at <= now:
            self._time_out(now)
        elif detector.probe_at <= now:
            self._probe(now)
        if self._probe_window_at > now:
            return False
        self._probe_window_at = now + self._probe_window_after
        self._probe_window_after = 2 * self.times.timeout
        return True

    @property
    def hopeless(self) -> bool:
        """Is it time to give the remote up?"""
        return self._detector.hopeless

    def _time_out(self, now: float) -> None:
        self.timed_out += 1
        self._lose(self._detector.timed_out(now))
        self.state = LOSS
        self._recovery_end = self.next
        self.congestion.timed_out(self.flights.flying, now)

    def _probe(self, now: float) -> None:
        """Send one packet more, so that its acknowledgement shows what was lost; an old one if there is no new one."""
        self._detector.probed(now)
        if self.has_news and self.remote_window and self._launch(1, self.mtu.payload, 0, now):
            return
        flight = self.flights.last_flying()
        if flight is None:
            return
        if flight.padding:
            flight.padding = 0
            self.mtu.lost()
        if self._emit(flight):
            flight.sent_at = now
            flight.tries += 1
            self.retransmitted += 1

    def moved(self) -> None:
        """The path is another one: what probed the old one says nothing of it."""
        for flight in self.flights:
            flight.padding = 0
        self.mtu.restart()

    def next_deadline(self) -> float:
        """:returns: when :meth:`advance` or :meth:`transmit` has something to do; infinite without anything."""
        return min(self._detector.next_deadline(), self._pace_at, self._probe_window_at)
