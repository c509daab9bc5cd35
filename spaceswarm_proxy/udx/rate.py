"""
How fast packets arrive at the far end: the delivery rate, as seen from what is acknowledged.

A remote tells of the lowest ranges only.  Where more is missing than it has room for, it tells of many packets long
after they have arrived, all at once: these are not counted, or the path would seem much faster than it is.

:source: draft-cheng-iccrg-delivery-rate-estimation.
"""

from __future__ import annotations

from typing import NamedTuple

from spaceswarm_proxy.udx.flights import Flight


class Delivery(NamedTuple):
    """What one acknowledgement says."""

    #: Packets that have just been found to have arrived.
    newly: int
    #: Packets delivered in all, and when the newest of these was sent.
    total: int
    total_at_sending: int
    #: Packets per second, or 0 where nothing can be said.
    rate: float
    #: Was there too little to send, so that the path could do more?
    app_limited: bool
    #: Seconds of the round trip, where it is known.
    round_trip: float | None
    #: Packets on the way before this came, and after.
    flying_before: int
    flying: int


class DeliveryRate:
    """The books of one stream."""

    __slots__ = ("_app_limited_until", "_counted", "_newest", "_send_from", "delivered", "delivered_at")

    def __init__(self) -> None:
        #: Packets that have arrived, and when that was last heard.
        self.delivered = 0
        self.delivered_at = 0.0
        # Those of them that were told in time.
        self._counted = 0
        # When the packet was sent that was acknowledged last.
        self._send_from = 0.0
        # Samples up to this many packets were taken while there was too little to send.
        self._app_limited_until = 0
        # Of what one acknowledgement tells, the flight that was sent last: its figures, and how long its sending took.
        self._newest: tuple[int, int, float, float, bool] | None = None

    def sent(self, flight: Flight, flying: int, now: float) -> None:
        """
        A flight leaves.

        :param flying: packets on the way before it.
        """
        if not flying:
            self._send_from = self.delivered_at = now
        flight.delivered, flight.counted = self.delivered, self._counted
        flight.delivered_at = self.delivered_at
        flight.interval_from = self._send_from
        flight.app_limited = self._app_limited_until > 0

    def ran_dry(self, flying: int) -> None:
        """There is nothing to send, though more could be on the way than these packets."""
        self._app_limited_until = max(self.delivered + flying, 1)

    def arrived(self, flight: Flight, since: float, now: float) -> None:
        """
        A flight has arrived; :meth:`take` follows when all of one acknowledgement are told.

        :param since: of packets that were sent earlier, the remote should have told before.
        """
        self.delivered += flight.count
        self.delivered_at = now
        if flight.sent_at >= since:
            self._counted += flight.count
        if self._newest is None or flight.delivered >= self._newest[0]:
            sending = flight.sent_at - flight.interval_from
            self._newest = (flight.delivered, flight.counted, flight.delivered_at, sending, flight.app_limited)
            self._send_from = flight.sent_at
        if self._app_limited_until and self.delivered > self._app_limited_until:
            self._app_limited_until = 0

    def take(self, shortest: float, now: float) -> tuple[int, float, bool]:
        """
        :param shortest: seconds of the shortest round trip; a rate over less than that is none.
        :returns: packets delivered when the newest was sent, the rate in packets per second or 0, and whether there was
            too little to send.
        """
        if self._newest is None:
            return self.delivered, 0.0, False
        (total_at_sending, counted, delivered_at, sending, app_limited), self._newest = self._newest, None
        interval = max(sending, now - delivered_at)
        if interval < shortest or interval <= 0:
            return total_at_sending, 0.0, app_limited
        return total_at_sending, (self._counted - counted) / interval, app_limited
