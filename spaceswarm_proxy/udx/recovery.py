"""
What is lost: found out from what arrives after it (RACK), from a probe when nothing does (TLP), from silence (RTO).

:source: RFC 8985; spec/udx.md, section 8.
"""

from __future__ import annotations

from math import inf

from spaceswarm_proxy.udx.flights import FLYING, Flight, Flights
from spaceswarm_proxy.udx.round_trips import RoundTrips

#: Packets that arrived before others, from which on those are lost rather than late.
_REORDERING_THRESHOLD = 3
#: Seconds that a probe waits beside two round trips, for a remote that acknowledges a turn at once.
_PROBE_SLACK = 0.002
#: The shortest round trip that is believed, in units of the shortest so far: a small packet is faster than large ones.
_PLAUSIBLE = 0.8
#: Probes without an answer, each of which waits twice as long as the one before.
_MAX_PROBES = 3
#: Seconds that packets are taken to be late by at most.
_MAX_LATENESS = 0.05
#: The silence between two retransmissions, and what ends the stream, in units of the first.
_BACKOFF = 1.5
_GIVE_UP = 13.0


class LossDetector:
    """Watches over the flights of a stream."""

    __slots__ = (
        "_flights",
        "_highest",
        "_lateness",
        "_newest_end",
        "_newest_round_trip",
        "_probes",
        "_progress_at",
        "_times",
        "late_at",
        "newest_sent_at",
        "probe_at",
        "timeout_at",
        "timeouts",
    )

    def __init__(self, flights: Flights, times: RoundTrips, first: int, now: float) -> None:
        """:param first: the first packet's number."""
        self._flights = flights
        self._times = times
        #: When a packet that is missing counts as lost; when a probe is sent; when to give all up for lost.
        self.late_at = self.probe_at = self.timeout_at = inf
        #: Time-outs since anything was acknowledged.
        self.timeouts = 0
        self._progress_at = now
        #: When that packet was sent that was sent last among those that have arrived.
        self.newest_sent_at = -inf
        # The same packet's number, and one more; and its round trip.
        self._newest_end = first
        self._newest_round_trip = 0.0
        # The number after the highest that has arrived.
        self._highest = first
        # How late packets came that others overtook, of late.
        self._lateness = 0.0
        # Probes since the last sample of a round trip.
        self._probes = 0

    # What happens.

    def sent(self, now: float) -> None:
        """Something new has left."""
        if self.timeout_at == inf:
            self._progress_at = now
            self.timeout_at = now + self._times.timeout
        self._arm_probe(now)

    def arrived(self, flight: Flight, now: float) -> None:
        """A flight has arrived."""
        round_trip = now - flight.sent_at
        if flight.tries == 1:
            self._probes = 0
            if flight.first < self._highest:
                self._note_lateness(round_trip)
        elif round_trip < _PLAUSIBLE * self._times.shortest:
            # It can only have been the first copy, which was not lost but late.
            self._note_lateness(round_trip + self._newest_round_trip)
            return
        self._highest = max(self._highest, flight.next)
        if (flight.sent_at, flight.next) > (self.newest_sent_at, self._newest_end):
            self.newest_sent_at, self._newest_end = flight.sent_at, flight.next
            self._newest_round_trip = round_trip

    def _note_lateness(self, round_trip: float) -> None:
        lateness = min(max(round_trip - self._newest_round_trip, 0.0), _MAX_LATENESS)
        self._lateness = max(lateness, self._lateness * 0.9)

    def heard(self, progressed: bool, now: float) -> None:
        """
        An acknowledgement has brought news; what has :meth:`arrived` by it was told before.

        :param progressed: is more acknowledged without a gap?
        """
        if progressed:
            self.timeouts = 0
            self._progress_at = now
            self.timeout_at = now + self._times.timeout if len(self._flights) else inf
        self._arm_probe(now)

    def _arm_probe(self, now: float) -> None:
        """
        Also while others are missing, and after a probe, unlike RFC 8985: or else a last packet that is lost twice
        costs a time-out.
        """
        flights = self._flights
        if not flights.flying or flights.lost or self._probes >= _MAX_PROBES:
            self.probe_at = inf
            return
        smoothed = self._times.smoothed
        wait = 1.0 if smoothed is None else 2 * smoothed + _PROBE_SLACK
        self.probe_at = min(now + wait * (1 << self._probes), self.timeout_at)

    def probed(self, now: float) -> None:
        """A probe leaves; another one may, later."""
        self._probes += 1
        self._arm_probe(now)

    # What is lost.

    def find_late(self, recovering: bool, now: float) -> list[Flight]:
        """
        :param recovering: is a loss being made good?
        :returns: flights that are lost by now, as others have arrived that were sent later.
        """
        self.late_at = inf
        if not self._flights.flying:
            return []
        newest = self.newest_sent_at, self._newest_end
        patience = self._newest_round_trip + self._reordering(recovering)
        lost = []
        for flight in self._flights:
            if flight.first >= self._highest:
                break  # Of these, the remote may have had no room to tell: it names the lowest ranges only.
            if flight.fate != FLYING or (flight.sent_at, flight.next) >= newest:
                continue
            due = flight.sent_at + patience
            if due <= now:
                lost.append(flight)
            else:
                self.late_at = min(self.late_at, due)
        return lost

    @property
    def tolerance(self) -> float:
        """Seconds by which packets of this path come late that others have overtaken."""
        smoothed = self._times.smoothed or 0.0
        return max(min(self._times.shortest / 4, smoothed), 1.25 * self._lateness)

    def _reordering(self, recovering: bool) -> float:
        """Seconds for which a packet that others have overtaken is waited for."""
        if not self._lateness and (recovering or self._flights.arrived >= _REORDERING_THRESHOLD):
            return 0.0
        return self.tolerance

    def timed_out(self, now: float) -> list[Flight]:
        """
        Nothing was heard for long.

        :returns: flights that are lost; the first one is, in any case.
        """
        self.timeouts += 1
        self.timeout_at = now + _BACKOFF * self._times.timeout
        self.probe_at = self.late_at = inf
        lost: list[Flight] = []
        patience = self._newest_round_trip + self._reordering(True)
        for flight in self._flights:
            if flight.fate == FLYING and (not lost or flight.sent_at + patience <= now):
                lost.append(flight)
        return lost

    @property
    def hopeless(self) -> bool:
        """Is it time to give the remote up?"""
        return self.timeouts > 0 and self.timeout_at - self._progress_at > _GIVE_UP * self._times.timeout

    def next_deadline(self) -> float:
        """:returns: when anything of this is due; infinite without anything."""
        return min(self.late_at, self.probe_at, self.timeout_at)
