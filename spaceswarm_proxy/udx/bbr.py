"""
Congestion control by a model of the path: how much it carries, and how long it is.

Loss does not mean that a path is full, as it does to older controllers: a path that loses one packet in twenty is used
as well as its bandwidth allows.  What is on the way is kept near to what the path holds (*bandwidth-delay product*)::

    STARTUP     twice as fast each round, until that brings no more
    DRAIN       let the queue go that this has made
    PROBE_BW    eight phases of a round trip each: a little faster, a little slower, six as it is
    PROBE_RTT   every ten seconds almost nothing for a moment, to see how long the path is when it is empty

:source: draft-cardwell-iccrg-bbr-congestion-control-00 (BBR version 1), with the ack aggregation of Linux;
    spec/udx.md, section 13.
"""

from __future__ import annotations

from math import ceil, inf

from spaceswarm_proxy.udx.congestion import INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW
from spaceswarm_proxy.udx.rate import Delivery

STARTUP, DRAIN, PROBE_BW, PROBE_RTT = range(4)
#: States that an acknowledgement changes only by what it says of the path.
_STEADY = (STARTUP, PROBE_BW)

#: 2 / ln 2: doubles what is delivered in a round.
_HIGH_GAIN = 2.88539
_WINDOW_GAIN = 2.0
_CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
#: Where the first cycle begins.
_FIRST_PHASE = 4
#: A little below what the path carries, so that no queue stands.
_PACING_MARGIN = 0.99
#: Rounds that the largest bandwidth is remembered for; rounds without a quarter more, after which the pipe is full.
_BANDWIDTH_ROUNDS = 10
_FULL_ROUNDS = 3
_FULL_GROWTH = 1.25
#: Seconds after which the shortest round trip is measured anew, and for how long.
_PATH_LENGTH_AGE = 10.0
_PROBING_PATH_LENGTH = 0.2
#: Rounds over which acknowledgements that come in bunches are remembered, and what they count for at most.
_AGGREGATION_ROUNDS = 5
_AGGREGATION_LIMIT = 0.1
#: Packets that leave at once are counted as on the way while the first ones are already there.
_BUNCHES = 3
_BUNCH_TIME = 0.001
_MAX_BUNCH = 44


class BBR:
    """One stream's controller."""

    __slots__ = (
        "_acked_from",
        "_acked_since",
        "_aggregation",
        "_aggregation_before",
        "_bandwidths",
        "_conserving",
        "_cycle_from",
        "_full_bandwidth",
        "_full_rounds",
        "_in_recovery",
        "_next_round",
        "_path_length",
        "_path_length_at",
        "_phase",
        "_probe_until",
        "_resumed",
        "_rounds",
        "_total",
        "_window_before",
        "_window_gain",
        "pacing_gain",
        "pacing_rate",
        "state",
        "window",
    )

    def __init__(self, now: float) -> None:
        self.window = INITIAL_WINDOW
        self.pacing_rate = 0.0
        self.state = STARTUP
        self.pacing_gain = self._window_gain = _HIGH_GAIN
        # The largest bandwidths of the last rounds: (round, packets per second), the largest first.
        self._bandwidths: list[tuple[int, float]] | None = None
        self._path_length = inf
        self._path_length_at = now
        # Packets delivered in all; rounds so far, and what is sent at that count is of the next one.
        self._total = 0
        self._rounds = 0
        self._next_round = 0
        self._full_bandwidth = 0.0
        self._full_rounds = 0
        self._phase = 0
        self._cycle_from = now
        self._probe_until: float | None = None
        # Was the path empty just now, so that the next round trip shows its length?
        self._resumed = False
        self._window_before = 0
        self._in_recovery = False
        self._conserving = False
        # What was acknowledged beyond what the bandwidth explains.
        self._acked_from = now
        self._acked_since = 0.0
        # The most of these rounds, and of those before.
        self._aggregation, self._aggregation_before = 0.0, 0.0

    @property
    def bandwidth(self) -> float:
        """Packets per second."""
        return self._bandwidths[0][1] if self._bandwidths else 0.0

    @property
    def is_full(self) -> bool:
        """Was it found out what the path carries?"""
        return self._full_rounds >= _FULL_ROUNDS

    # What is told.

    def delivered(self, delivery: Delivery, now: float) -> None:
        """Packets have arrived."""
        if self._says_little(delivery):
            self._note_path_length(delivery, False, now)
            return
        round_began = self._count_round(delivery)
        self._note_bandwidth(delivery)
        self._note_aggregation(delivery, round_began, now)
        self._step_cycle(delivery, now)
        if round_began and not delivery.app_limited:
            self._see_whether_full()
        self._leave_startup(delivery, now)
        self._note_path_length(delivery, round_began, now)
        self._set_pacing(delivery)
        self._set_window(delivery, round_began)

    def _says_little(self, delivery: Delivery) -> bool:
        """Was it all that there was to send, and too little to show what the path carries?  A question, perhaps."""
        little = delivery.app_limited and not delivery.flying and delivery.flying_before <= MIN_WINDOW
        return little and delivery.rate <= self.bandwidth and not self._in_recovery and self.state in _STEADY

    def lost(self, flying: int, now: float) -> None:
        """Begin to recover: for a round, no more leaves than arrives."""
        self._save_window()
        self._in_recovery = self._conserving = True
        self._next_round = self._total
        self.window = max(flying + 1, MIN_WINDOW)

    def timed_out(self, flying: int, now: float) -> None:
        """Begin again, but with what is known of the path."""
        self._save_window()
        self._in_recovery = True
        self._conserving = False
        self._full_bandwidth = 0.0
        self.window = flying + 1

    def recovered(self, now: float) -> None:
        """Go on as before."""
        self._in_recovery = self._conserving = False
        self._restore_window()

    def resumed(self, now: float) -> None:
        """Do not take the silence for a slow path."""
        self._acked_from, self._acked_since = now, 0.0
        self._resumed = True
        if self.state == PROBE_BW:
            self.pacing_gain = 1.0

    # The model.

    def _count_round(self, delivery: Delivery) -> bool:
        """A round is over when what was sent in it arrives."""
        self._total = delivery.total
        if delivery.total_at_sending < self._next_round:
            return False
        self._next_round = delivery.total
        self._conserving = False
        if self.state != PROBE_RTT:  # Little is sent then: many such rounds would make the others forgotten.
            self._rounds += 1
        return True

    def _note_bandwidth(self, delivery: Delivery) -> None:
        rate = delivery.rate
        limited = delivery.app_limited or self.state == PROBE_RTT
        if not rate or (limited and rate < self.bandwidth):
            return
        if self._bandwidths is None:
            self._bandwidths = []
        largest = self._bandwidths
        while largest and largest[-1][1] <= rate:
            largest.pop()
        if not largest or largest[-1][0] != self._rounds:
            largest.append((self._rounds, rate))
        while self._rounds - largest[0][0] >= _BANDWIDTH_ROUNDS:
            del largest[0]

    def _note_aggregation(self, delivery: Delivery, round_began: bool, now: float) -> None:
        """How many more arrive at once than the bandwidth would let."""
        if round_began and self._rounds % _AGGREGATION_ROUNDS == 0:
            self._aggregation, self._aggregation_before = 0.0, self._aggregation
        expected = self.bandwidth * (now - self._acked_from)
        if self._acked_since <= expected:
            self._acked_from, self._acked_since, expected = now, 0.0, 0.0
        self._acked_since += delivery.newly
        self._aggregation = max(self._aggregation, min(self._acked_since - expected, float(self.window)))

    def _step_cycle(self, delivery: Delivery, now: float) -> None:
        if self.state == PROBE_BW and self._phase_is_over(delivery, now):
            self._enter_phase((self._phase + 1) % len(_CYCLE), now)

    def _phase_is_over(self, delivery: Delivery, now: float) -> bool:
        lasted = now - self._cycle_from > self._path_length
        if self.pacing_gain > 1:
            return lasted and (self._in_recovery or delivery.flying_before >= self._target(self.pacing_gain))
        if self.pacing_gain < 1:
            return lasted or delivery.flying_before <= self._target(1.0)
        return lasted

    def _enter_phase(self, phase: int, now: float) -> None:
        self._phase = phase
        self._cycle_from = now
        self.pacing_gain = _CYCLE[phase]

    def _see_whether_full(self) -> None:
        if self.is_full:
            return
        if self.bandwidth >= self._full_bandwidth * _FULL_GROWTH:
            self._full_bandwidth = self.bandwidth
            self._full_rounds = 0
        else:
            self._full_rounds += 1

    def _leave_startup(self, delivery: Delivery, now: float) -> None:
        if self.state == STARTUP and self.is_full:
            self.state = DRAIN
            self.pacing_gain, self._window_gain = 1 / _HIGH_GAIN, _HIGH_GAIN
        if self.state == DRAIN and delivery.flying <= self._target(1.0):
            self._probe_bandwidth(now)

    def _probe_bandwidth(self, now: float) -> None:
        self.state = PROBE_BW
        self._window_gain = _WINDOW_GAIN
        self._enter_phase(_FIRST_PHASE, now)

    def _note_path_length(self, delivery: Delivery, round_began: bool, now: float) -> None:
        expired = now - self._path_length_at > _PATH_LENGTH_AGE
        if delivery.round_trip is not None and (delivery.round_trip < self._path_length or expired):
            self._path_length, self._path_length_at = delivery.round_trip, now
        resumed, self._resumed = self._resumed, False
        if expired and not resumed and self.state != PROBE_RTT and self.is_full:
            self.state = PROBE_RTT
            self.pacing_gain = self._window_gain = 1.0
            self._save_window()
            self._probe_until = None
        if self.state == PROBE_RTT:
            self._probe_path_length(delivery, now)

    def _probe_path_length(self, delivery: Delivery, now: float) -> None:
        if self._probe_until is None:
            if delivery.flying <= MIN_WINDOW:
                self._probe_until = now + max(_PROBING_PATH_LENGTH, self._path_length)
        elif now > self._probe_until:
            self._path_length_at = now
            self._restore_window()
            self._probe_bandwidth(now)

    # What follows from it.

    def _product(self) -> float:
        """Packets that the path holds; infinite while that is not known."""
        return self.bandwidth * self._path_length if self.bandwidth else inf

    def _target(self, gain: float) -> float:
        product = self._product()
        if product == inf:
            return INITIAL_WINDOW
        return ceil(gain * product) + _BUNCHES * self._bunch()

    def _bunch(self) -> float:
        return min(max(self.pacing_rate * _BUNCH_TIME, 1), _MAX_BUNCH)

    def _set_pacing(self, delivery: Delivery) -> None:
        if not self.pacing_rate and delivery.round_trip:
            # However little was sent so far: as much as could have been, in a round trip.
            self.pacing_rate = _HIGH_GAIN * self.window / max(delivery.round_trip, _BUNCH_TIME)
        rate = self.pacing_gain * self.bandwidth * _PACING_MARGIN
        if self.is_full or rate > self.pacing_rate:
            self.pacing_rate = rate

    def _set_window(self, delivery: Delivery, round_began: bool) -> None:
        if self._conserving:
            self.window = max(self.window, delivery.flying + delivery.newly)
            return
        target = self._target(self._window_gain) + self._extra()
        window = self.window + delivery.newly
        if self.is_full:
            window = min(window, int(target))
        elif self.window >= target and delivery.total >= INITIAL_WINDOW:
            window = self.window
        window = max(window, MIN_WINDOW)
        if self.state == PROBE_RTT:
            window = min(window, MIN_WINDOW)
        self.window = min(window, MAX_WINDOW)

    def _extra(self) -> float:
        extra = max(self._aggregation, self._aggregation_before)
        return min(extra, self.bandwidth * _AGGREGATION_LIMIT) if self.is_full else 0.0

    def _save_window(self) -> None:
        if not self._in_recovery and self.state != PROBE_RTT:
            self._window_before = self.window
        else:
            self._window_before = max(self._window_before, self.window)

    def _restore_window(self) -> None:
        self.window = max(self.window, self._window_before)
