"""
How long to wait for an answer, from how long answers took before.  Off by default, as in the reference.

:source: npm ``dht-rpc``; spec/dht.md, section 12.1.
"""

from __future__ import annotations

from spaceswarm_proxy.dht.chance import Chance

#: Seconds for which a destination's times are kept.
_KEPT = 600.0
#: Destinations.
_MOST = 4096
_SHORTEST, _LONGEST = 0.3, 4.0
#: For destinations that nothing is known of, by attempt.
_UNKNOWN = (0.25, 0.5, 1.0, 2.0, 4.0)
#: Seconds of a random addition, so that not everything is repeated at once.
_SPREAD = 0.255


class RoundTrips:
    """Smoothed round-trip times by address."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        # Average, variance, and when it was last changed; the oldest first.
        self._times: dict[bytes, tuple[float, float, float]] = {}

    def measured(self, address: bytes, seconds: float, now: float) -> None:
        """An answer has taken so long; not to be told when it is unclear which attempt was answered."""
        known = self._times.pop(address, None)
        if known is None or now - known[2] > _KEPT:
            average, variance = seconds, seconds / 2
        else:
            average = known[0] + (seconds - known[0]) / 8
            variance = known[1] + (abs(average - seconds) - known[1]) / 4
        self._times[address] = average, variance, now
        if len(self._times) > _MOST:
            del self._times[next(iter(self._times))]

    def timeout(self, address: bytes, attempt: int, now: float) -> float:
        """
        :param attempt: 1 for the first.
        :returns: seconds to wait for its answer.
        """
        known = self._times.get(address)
        if known is None or now - known[2] > _KEPT:
            base = _UNKNOWN[min(attempt, len(_UNKNOWN)) - 1]
        else:
            base = (known[0] + 2 * known[1]) * attempt
        return min(max(base + self._chance.random() * _SPREAD, _SHORTEST), _LONGEST)
