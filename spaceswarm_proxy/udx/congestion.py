"""What a congestion controller is: it is told what arrives and what is lost, and says how much may be on the way."""

from __future__ import annotations

from typing import Protocol

from spaceswarm_proxy.udx.rate import Delivery

#: Packets that a stream begins with, and the fewest that it goes down to, but for a moment.
INITIAL_WINDOW = 10
MIN_WINDOW = 4
#: Packets on the way at most: some 95 MB.
MAX_WINDOW = 1 << 16


class CongestionControl(Protocol):
    """Whoever decides how fast a stream sends; :class:`~spaceswarm_proxy.udx.bbr.BBR` is ours."""

    #: Packets that may be on the way.
    window: int
    #: Packets per second, or 0 while nothing is known of the path.
    pacing_rate: float

    def delivered(self, delivery: Delivery, now: float) -> None:
        """Packets have arrived."""

    def lost(self, flying: int, now: float) -> None:
        """
        Something was lost, for the first time since :meth:`recovered`.

        :param flying: packets that are still on the way.
        """

    def timed_out(self, flying: int, now: float) -> None:
        """Nothing was heard for long: whatever was on the way is lost, most likely."""

    def recovered(self, now: float) -> None:
        """All that was on the way when something was lost has arrived."""

    def resumed(self, now: float) -> None:
        """Sending goes on after a silence of our own."""
