"""
What was sent and is not acknowledged: runs of packets that share a fate.

Packets that leave together are one :class:`Flight`; it is split when their fates differ, which happens only when
something is lost.  While nothing is, the books cost the same for one packet and for forty.

Numbers here are whole: they do not wrap at 32 bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

#: The fates: on the way, as far as we know; lost, to be sent again; arrived, before others that did not.
FLYING, LOST, ARRIVED = range(3)

_FIRST = attrgetter("first")
#: What both parts of a flight have of it when it is split.
_SHARED = (
    "fate",
    "padding",
    "tries",
    "sent_at",
    "delivered",
    "counted",
    "delivered_at",
    "interval_from",
    "app_limited",
)


class Flight:
    """A run of packets with payloads of equal length, but for the last."""

    __slots__ = (
        "app_limited",
        "count",
        "counted",
        "delivered",
        "delivered_at",
        "end",
        "fate",
        "first",
        "interval_from",
        "padding",
        "payload",
        "sent_at",
        "size",
        "tries",
    )

    def __init__(self, first: int, count: int, payload: bytes | memoryview, size: int, end: bool) -> None:
        """
        :param first: the first packet's number.
        :param payload: of all of them.
        :param size: bytes of it in each packet; the last may have fewer.
        :param end: is the last packet the stream's last?
        """
        self.first = first
        self.count = count
        self.payload = payload
        self.size = size
        self.end = end
        self.fate = FLYING
        #: Zeros before the payload of a packet that probes the path.
        self.padding = 0
        #: How often it was sent, and when last.
        self.tries = 0
        self.sent_at = 0.0
        # What rate.py notes when it is sent.
        self.delivered = self.counted = 0
        self.delivered_at = 0.0
        self.interval_from = 0.0
        self.app_limited = False

    @property
    def next(self) -> int:
        """The number after the last packet's."""
        return self.first + self.count

    def split(self, seq: int) -> Flight:
        """
        :param seq: inside it.
        :returns: the part that begins there; this one keeps what is before.
        """
        kept = seq - self.first
        rest = Flight(seq, self.count - kept, self.payload[kept * self.size :], self.size, self.end)
        for name in _SHARED:
            setattr(rest, name, getattr(self, name))
        self.payload = self.payload[: kept * self.size]
        self.count = kept
        self.end = False
        return rest


class Flights:
    """All of them, in the order of their numbers, without gaps."""

    __slots__ = ("_flights", "_lost_from", "arrived", "flying", "lost")

    def __init__(self) -> None:
        self._flights: list[Flight] = []
        #: Packets of each fate.
        self.flying = 0
        self.lost = 0
        self.arrived = 0
        # No flight before this number is lost.
        self._lost_from = 0

    def __len__(self) -> int:
        """Packets that are not acknowledged all the way."""
        return self.flying + self.lost + self.arrived

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights)

    @property
    def first(self) -> Flight:
        """The oldest."""
        return self._flights[0]

    @property
    def last(self) -> Flight:
        """The newest."""
        return self._flights[-1]

    def add(self, flight: Flight) -> None:
        """One is sent for the first time."""
        self._flights.append(flight)
        self.flying += flight.count

    def acknowledge(self, ack: int) -> list[Flight]:
        """
        Everything before a number has arrived.

        :returns: those that it was not known of; they are not kept any more.
        """
        flights = self._flights
        done = 0
        for flight in flights:
            if flight.first + flight.count > ack:
                break
            done += 1
        if done < len(flights) and flights[done].first < ack:
            flights.insert(done + 1, flights[done].split(ack))
            done += 1
        gone = flights[:done]
        del flights[:done]
        news = []
        for flight in gone:
            self._left(flight)
            if flight.fate != ARRIVED:
                news.append(flight)
        return news

    def acknowledge_range(self, start: int, end: int) -> list[Flight]:
        """
        The packets from ``start`` up to ``end`` have arrived.

        :returns: those that it was not known of; what stays of them is that they have arrived.
        """
        news = []
        place = self._place(start)
        while place < len(self._flights) and self._flights[place].first < end:
            flight = self._flights[place]
            if flight.fate != ARRIVED:
                place = self._cut(place, start, end)
                flight = self._flights[place]
                self._change(flight, ARRIVED)
                news.append(flight)
                place = self._join(place)
            place += 1
        return news

    def _join(self, place: int) -> int:
        """
        Neighbours that have arrived become one, so that there are no more flights than gaps, twice.

        :returns: where that one is.
        """
        flights = self._flights
        joined = Flight(flights[place].first, flights[place].count, b"", 0, False)
        joined.fate = ARRIVED
        if place + 1 < len(flights) and flights[place + 1].fate == ARRIVED:
            joined.count += flights.pop(place + 1).count
        if place and flights[place - 1].fate == ARRIVED:
            place -= 1
            flights[place].count += joined.count
            del flights[place + 1]
        else:
            flights[place] = joined
        return place

    def _place(self, seq: int) -> int:
        return max(bisect_right(self._flights, seq, key=_FIRST) - 1, 0)

    def _cut(self, place: int, start: int, end: int) -> int:
        """Split a flight so that what lies in the range stands alone.  :returns: where that is."""
        flight = self._flights[place]
        if flight.first < start:
            flight = flight.split(start)
            place += 1
            self._flights.insert(place, flight)
        if flight.next > end:
            self._flights.insert(place + 1, flight.split(end))
        return place

    def lose(self, flight: Flight) -> None:
        """It has to be sent again."""
        self._change(flight, LOST)
        self._lost_from = min(self._lost_from, flight.first)

    def next_lost(self, limit: int) -> Flight | None:
        """
        :param limit: packets at most.
        :returns: the first flight that is lost, split if it is longer; or ``None``.
        """
        if not self.lost:
            return None
        place = self._place(self._lost_from)
        while self._flights[place].fate != LOST:
            place += 1
        flight = self._flights[place]
        self._lost_from = flight.first
        if flight.count > limit:
            self._flights.insert(place + 1, flight.split(flight.first + limit))
        return flight

    def last_flying(self) -> Flight | None:
        """:returns: the last packet that may be on the way, alone; ``None`` without one."""
        for place in range(len(self._flights) - 1, -1, -1):
            flight = self._flights[place]
            if flight.fate == FLYING:
                if flight.count > 1:
                    flight = flight.split(flight.next - 1)
                    self._flights.insert(place + 1, flight)
                return flight
        return None

    def clear(self) -> None:
        """Forget all of them."""
        self._flights.clear()
        self.flying = self.lost = self.arrived = 0

    def fly_again(self, flight: Flight) -> None:
        """It is sent again."""
        self._change(flight, FLYING)

    def _change(self, flight: Flight, fate: int) -> None:
        self._left(flight)
        flight.fate = fate
        if fate == FLYING:
            self.flying += flight.count
        elif fate == LOST:
            self.lost += flight.count
        else:
            self.arrived += flight.count

    def _left(self, flight: Flight) -> None:
        if flight.fate == FLYING:
            self.flying -= flight.count
        elif flight.fate == LOST:
            self.lost -= flight.count
        else:
            self.arrived -= flight.count
