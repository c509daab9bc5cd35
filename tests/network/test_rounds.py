"""When rounds are: :mod:`spaceswarm_proxy.network.rounds`."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ClosedError, NetworkUnreachableError, SpaceswarmError
from spaceswarm_proxy.network.rounds import Rounds, RoundTimes

TIMES = RoundTimes(interval=600, spread=120, retry=30, pause=2, settle=60)


class NoChance(Random):
    """Always in the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


#: From the end of a round to the next one, with that.
EVERY = 660.0


class RoundsTestCase(SynchronousTestCase):
    """Rounds that end when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        #: When each began, and what ends the one that is under way.
        self.began: list[float] = []
        self.ends: Deferred[None] = Deferred()
        self.cancelled = 0
        self.rounds = Rounds(self.clock, self.run_one, TIMES, NoChance())
        self.addCleanup(self.nothing_left)

    def nothing_left(self) -> None:
        self.rounds.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    async def run_one(self) -> None:
        self.began.append(self.clock.seconds())
        self.ends = Deferred(self.was_cancelled)
        await self.ends

    def was_cancelled(self, _: object) -> None:
        self.cancelled += 1

    def end(self, problem: Exception | None = None) -> None:
        if problem is None:
            self.ends.callback(None)
        else:
            self.ends.errback(problem)

    def first(self) -> None:
        """The first round has ended, at 0."""
        self.rounds.update()
        self.clock.advance(0)
        self.end()


class ScheduleTests(RoundsTestCase):
    """When the next one is."""

    def test_later(self) -> None:
        """The first begins in a later turn, and there is none before it is asked for."""
        self.clock.advance(1000)
        self.rounds.update()
        self.assertEqual([], self.began)
        self.clock.advance(0)
        self.assertEqual([1000], self.began)

    def test_by_itself(self) -> None:
        """The next ones follow by themselves, from the end of each on."""
        self.first()
        self.clock.advance(EVERY)
        self.clock.advance(50)
        self.end()
        self.clock.advance(EVERY)
        self.assertEqual([0, EVERY, 2 * EVERY + 50], self.began)

    def test_chance(self) -> None:
        """Without a say of ours that is ten to twelve minutes, by chance."""
        seen = set()
        for seed in range(20):
            rounds = Rounds(self.clock, self.run_one, RoundTimes(), Random(seed))
            rounds.update()
            self.clock.advance(0)
            self.end()
            (call,) = self.clock.getDelayedCalls()
            seen.add(call.getTime() - self.clock.seconds())
            rounds.close()
        self.assertTrue(600 <= min(seen) < 630 < 690 < max(seen) <= 720, seen)

    def test_retry(self) -> None:
        """After one that failed, the next is soon; after that all is as it was."""
        self.rounds.update()
        self.clock.advance(0)
        self.end(NetworkUnreachableError())
        self.clock.advance(30)
        self.end()
        self.clock.advance(EVERY)
        self.assertEqual([0, 30, 30 + EVERY], self.began)

    def test_bug(self) -> None:
        """What should not be raised is logged, and counts as a failure."""
        self.rounds.update()
        waiting = self.rounds.flushed()
        self.clock.advance(0)
        self.end(ZeroDivisionError())
        self.failureResultOf(waiting, SpaceswarmError)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.clock.advance(30)
        self.assertEqual([0, 30], self.began)


class AskingTests(RoundsTestCase):
    """Asking for one."""

    def test_update(self) -> None:
        """It is at once, and the next by itself follows on that."""
        self.first()
        self.clock.advance(100)
        self.rounds.update()
        self.clock.advance(0)
        self.end()
        self.clock.advance(EVERY)
        self.assertEqual([0, 100, 100 + EVERY], self.began)

    def test_a_moment_ago(self) -> None:
        """Not sooner than some seconds after the last one; asked for often, there is one."""
        self.first()
        for _ in range(3):
            self.rounds.update()
        self.clock.advance(1.9)
        self.rounds.update()
        self.assertEqual([0], self.began)
        self.clock.advance(0.1)
        self.end()
        self.clock.advance(100)
        self.assertEqual([0, 2], self.began)

    def test_under_way(self) -> None:
        """While one is under way, that will do."""
        self.rounds.update()
        self.clock.advance(0)
        self.rounds.update()
        self.end()
        self.clock.advance(100)
        self.assertEqual([0], self.began)

    def test_again(self) -> None:
        """Unless something has changed: then there is another one after it, for which those wait who do."""
        self.rounds.update()
        self.clock.advance(0)
        waiting = self.rounds.flushed()
        for _ in range(2):
            self.rounds.again()
        self.end()
        self.assertNoResult(waiting)
        self.clock.advance(2)
        self.assertEqual([0, 2], self.began)
        self.end()
        self.successResultOf(waiting)
        self.clock.advance(100)
        self.assertEqual(2, len(self.began))

    def test_again_at_rest(self) -> None:
        """With none under way it is the same as an update."""
        self.first()
        self.clock.advance(100)
        self.rounds.again()
        self.clock.advance(0)
        self.assertEqual([0, 100], self.began)

    def test_pause(self) -> None:
        """It can be left more time; whoever has less of it comes first."""
        self.first()
        self.rounds.again(60)
        self.clock.advance(30)
        self.assertEqual([0], self.began)
        self.rounds.update()
        self.clock.advance(0)
        self.rounds.again(60)
        self.rounds.again()
        self.end()
        self.clock.advance(2)
        self.end()
        self.rounds.again(60)
        self.clock.advance(59)
        self.assertEqual([0, 30, 32], self.began)
        self.clock.advance(1)
        self.assertEqual([0, 30, 32, 92], self.began)

    def test_clock_set_back(self) -> None:
        """When the clock is set back, it is still no longer than that."""
        self.first()
        self.clock.rightNow = -10_000.0
        self.rounds.update()
        self.clock.advance(2)
        self.assertEqual([0, -9998], self.began)


class FlushedTests(RoundsTestCase):
    """Waiting for one."""

    def test_under_way(self) -> None:
        """Who waits is told when the round that is under way, or was asked for, has ended."""
        self.rounds.update()
        early = self.rounds.flushed()
        self.clock.advance(0)
        late = self.rounds.flushed()
        self.assertNoResult(early)
        self.end()
        for waiting in (early, late, self.rounds.flushed()):
            self.assertIsNone(self.successResultOf(waiting))

    def test_failed(self) -> None:
        """When it fails, so do they; and who comes later, until one goes well."""
        self.rounds.update()
        waiting = self.rounds.flushed()
        self.clock.advance(0)
        self.end(NetworkUnreachableError())
        for each in (waiting, self.rounds.flushed()):
            self.failureResultOf(each, NetworkUnreachableError)
        self.clock.advance(30)
        waiting = self.rounds.flushed()
        self.end()
        self.successResultOf(waiting)

    def test_each_can_be_cancelled(self) -> None:
        """One who waits no more does not harm the others."""
        self.rounds.update()
        cancelled, kept = self.rounds.flushed(), self.rounds.flushed()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.clock.advance(0)
        self.end()
        self.successResultOf(kept)

    def test_asked_by_those_who_waited(self) -> None:
        """Who is told may ask for the next one."""
        self.rounds.update()
        self.rounds.flushed().addCallback(lambda _: self.rounds.update())
        self.clock.advance(0)
        self.end()
        self.clock.advance(2)
        self.assertEqual([0, 2], self.began)


class EndTests(RoundsTestCase):
    """Suspended, and closed."""

    def test_suspended(self) -> None:
        """There is none while it is suspended, whoever asks; what is under way is cancelled, and those wait who do."""
        self.rounds.update()
        waiting = self.rounds.flushed()
        self.clock.advance(0)
        self.rounds.suspend()
        self.rounds.update()
        self.rounds.again()
        self.assertEqual((1, []), (self.cancelled, self.clock.getDelayedCalls()))
        self.assertNoResult(waiting)
        self.rounds.resume()
        self.clock.advance(0)
        self.end()
        self.successResultOf(waiting)
        self.assertEqual(2, len(self.began))

    def test_suspended_before(self) -> None:
        """It may be suspended before the first one."""
        self.rounds.suspend()
        waiting = self.rounds.flushed()
        self.clock.advance(1000)
        self.assertEqual([], self.began)
        self.rounds.resume()
        self.clock.advance(0)
        self.end()
        self.successResultOf(waiting)

    def test_closed(self) -> None:
        """There is none after it is closed; who waits, or will, hears of it."""
        self.rounds.update()
        self.clock.advance(0)
        waiting = self.rounds.flushed()
        self.rounds.again()
        for _ in range(2):
            self.rounds.close()
        self.rounds.update()
        self.rounds.resume()
        for each in (waiting, self.rounds.flushed()):
            self.failureResultOf(each, ClosedError)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_closed_from_inside(self) -> None:
        """A round may close it."""

        async def closes() -> None:
            rounds.close()

        rounds = Rounds(self.clock, closes, TIMES, NoChance())
        rounds.update()
        self.clock.advance(0)
        self.assertEqual([], self.clock.getDelayedCalls())
