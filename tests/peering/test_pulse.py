"""Hearing from nodes all the time: :mod:`spaceswarm_proxy.peering.pulse`."""

from __future__ import annotations

from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Response
from spaceswarm_proxy.dht.requests import RETRIES
from spaceswarm_proxy.errors import RequestTimeoutError, SuspendedError
from spaceswarm_proxy.peering.pulse import BEAT, ROUND, Pulses
from spaceswarm_proxy.peering.schedule import Schedule
from tests.dht.world import Alone

ONE, OTHER = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)
#: Seconds until a ping without an answer is given up.
PATIENCE = 1.0 + RETRIES


class Listening:
    """A node that hears from others, which answer at once."""

    def __init__(self) -> None:
        self.alone = Alone()
        self.schedule = Schedule()
        self.pulses = Pulses(self.alone.core, self.schedule)
        self.silent: set[bytes] = set()
        #: When a ping was sent to whom, repetitions included.
        self.pings: list[tuple[float, bytes]] = []

    @property
    def now(self) -> float:
        return self.alone.now

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (deadline := self._next_deadline()) <= end:
            self.alone.run(deadline - self.now)
            self.schedule.advance(self.now)
            self._answer()
        self.alone.run(end - self.now)

    def _next_deadline(self) -> float:
        ours, theirs = self.schedule.next_deadline(), self.alone.core.next_deadline()
        return theirs if ours is None or self.alone.core.suspended else min(ours, theirs)

    def _answer(self) -> None:
        for request in self.alone.take_sent():
            self.pings.append((self.now, request[1]))
            if request[1] not in self.silent:
                self.alone.answer(request)


class Watcher:
    """Somebody who wants to hear from nodes."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        #: Whom he has heard of when, and what.
        self.heard: list[tuple[float, bytes, type]] = []
        #: Called when he hears of anybody.
        self.then: Any = lambda: None

    def watch(self, *addresses: bytes) -> None:
        for address in addresses:
            self.listening.pulses.watch(address, self.hear, self.listening.now)

    def unwatch(self, *addresses: bytes) -> None:
        for address in addresses:
            self.listening.pulses.unwatch(address, self.hear)

    def hear(self, address: bytes, answer: Any, now: float) -> None:
        self.heard.append((now, address, type(answer)))
        self.then()

    @property
    def kinds(self) -> list[type]:
        return [kind for _, _, kind in self.heard]


class PulsesTests(SynchronousTestCase):
    """Pings, and who is told of them."""

    def setUp(self) -> None:
        self.listening = Listening()
        self.first, self.second = Watcher(self.listening), Watcher(self.listening)

    def assertNothingLeft(self) -> None:
        core = self.listening.alone.core
        self.assertEqual((0, 0, 0), (len(self.listening.pulses), len(self.listening.schedule), core.requests.under_way))

    def test_every_round(self) -> None:
        """A node is pinged every three seconds, and its answer told; not before the first three are nearly over."""
        self.first.watch(ONE)
        self.listening.run(10 * ROUND)
        times = [time for time, _ in self.listening.pings]
        self.assertEqual([ROUND] * 9, [later - earlier for earlier, later in zip(times, times[1:], strict=False)])
        self.assertEqual([(time, ONE, Response) for time in times], self.first.heard)
        self.assertEqual(100.0 + ROUND, times[0])

    def test_one_ping_for_all(self) -> None:
        """However many want to hear from a node, it is pinged once a round, and each of them is told."""
        watchers = [Watcher(self.listening) for _ in range(50)]
        for watcher in watchers:
            watcher.watch(ONE)
            self.listening.run(0.1)
        self.listening.run(ROUND)
        pinged = len(self.listening.pings)
        self.listening.run(10 * ROUND)
        self.assertEqual(10, len(self.listening.pings) - pinged)
        self.assertEqual({10}, {len(watcher.heard[-10:]) for watcher in watchers})
        self.assertEqual(1, len({tuple(watcher.heard[-10:]) for watcher in watchers}))

    def test_late_comer(self) -> None:
        """Whoever comes later hears of the next ping, within a round."""
        self.first.watch(ONE)
        self.listening.run(ROUND + 1)
        self.second.watch(ONE)
        self.listening.run(ROUND - 1)
        self.assertEqual((2, 1), (len(self.first.heard), len(self.second.heard)))

    def test_together(self) -> None:
        """Pings of nodes that were asked for within a beat are sent together; none waits longer than a round."""
        nodes = [address_of("10.0.1.1", 1000 + number) for number in range(10)]
        for node in nodes:
            self.first.watch(node)
            self.listening.run(BEAT / 20)
        self.listening.run(3 * ROUND)
        self.assertEqual(3, len({time for time, _ in self.listening.pings}))
        self.assertEqual(30, len(self.listening.pings))

    def test_no_answer(self) -> None:
        """That there is no answer, after some repetitions, is told to all; then it goes on, if anybody wants to."""
        self.listening.silent.add(ONE)
        self.first.watch(ONE, OTHER)
        self.second.watch(ONE)
        self.listening.run(ROUND + PATIENCE)
        self.assertEqual([RequestTimeoutError], self.second.kinds)
        self.assertIn((self.listening.now, ONE, RequestTimeoutError), self.first.heard)
        self.listening.silent.clear()
        self.listening.run(ROUND)
        self.assertEqual([RequestTimeoutError, Response], self.second.kinds)
        times = [now for now, address, _ in self.first.heard if address == OTHER]
        self.assertEqual([103.0, 106.0, 109.0], times)

    def test_unwatch(self) -> None:
        """Whoever does not want to hear any more does not, and the others do."""
        self.first.watch(ONE)
        self.second.watch(ONE)
        self.listening.run(ROUND)
        self.first.unwatch(ONE, OTHER)
        self.listening.run(ROUND)
        self.assertEqual((1, 2), (len(self.first.heard), len(self.second.heard)))

    def test_nothing_left(self) -> None:
        """When nobody wants to hear from a node there is neither a timer nor a request, whatever there was."""
        self.listening.silent.add(ONE)
        for moment in (0, ROUND, ROUND + 0.5, ROUND + PATIENCE):
            self.first.watch(ONE)
            self.listening.run(moment)
            self.first.unwatch(ONE)
            self.assertNothingLeft()

    def test_unwatch_while_told(self) -> None:
        """One who is told may be the reason that another one is not."""
        self.first.then = lambda: self.second.unwatch(ONE)
        self.first.watch(ONE)
        self.second.watch(ONE)
        self.listening.run(ROUND)
        self.assertEqual((1, 0), (len(self.first.heard), len(self.second.heard)))

    def test_again_while_told(self) -> None:
        """One who is told may leave, and come again: he hears once a round all the same."""
        self.first.then = lambda: (self.first.unwatch(ONE), self.first.watch(ONE))
        self.first.watch(ONE)
        self.listening.run(ROUND)
        self.second.watch(ONE)
        self.listening.run(2 * ROUND)
        self.assertEqual((3, 2, 3), (len(self.first.heard), len(self.second.heard), len(self.listening.pings)))

    def test_node_suspended(self) -> None:
        """A node that asks nobody says so in place of each answer."""
        self.first.watch(ONE)
        self.listening.alone.core.suspend(self.listening.now)
        for _ in range(2):
            self.listening.schedule.advance(self.listening.now + ROUND)
            self.listening.alone.now += ROUND
        self.assertEqual([SuspendedError] * 2, self.first.kinds)


class PulsesMachine(RuleBasedStateMachine):
    """Whoever watches what, and whoever answers: nobody is pinged too seldom, too often, or for nobody."""

    watchers = st.integers(0, 3)
    nodes = st.sampled_from([ONE, OTHER])

    def __init__(self) -> None:
        super().__init__()
        self.listening = Listening()
        self.all = [Watcher(self.listening) for _ in range(4)]
        self.wanted: set[tuple[int, bytes]] = set()

    @rule(number=watchers, node=nodes)
    def watch(self, number: int, node: bytes) -> None:
        self.all[number].watch(node)
        self.wanted.add((number, node))

    @rule(number=watchers, node=nodes)
    def unwatch(self, number: int, node: bytes) -> None:
        self.all[number].unwatch(node)
        self.wanted.discard((number, node))

    @rule(node=nodes)
    def change(self, node: bytes) -> None:
        self.listening.silent ^= {node}

    @rule(seconds=st.floats(0, 10))
    def run(self, seconds: float) -> None:
        before = [len(watcher.heard) for watcher in self.all]
        self.listening.run(seconds)
        for number, watcher in enumerate(self.all):
            for node in (ONE, OTHER):
                heard = sum(address == node for _, address, _ in watcher.heard[before[number] :])
                least = (number, node) in self.wanted and int(seconds // (ROUND + PATIENCE))
                most = (number, node) in self.wanted and 1 + int(seconds // (ROUND - BEAT))
                assert least <= heard <= most, (least, heard, most)

    @invariant()
    def only_what_is_wanted(self) -> None:
        assert len(self.listening.pulses) == len({node for _, node in self.wanted})
        assert self.listening.alone.core.requests.under_way <= len(self.listening.pulses)


class MachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_machine(self) -> None:
        """Whoever wants what, and whoever answers, everybody hears as often as he shall, and nothing is left over."""
        run_state_machine_as_test(PulsesMachine, settings=settings(deadline=None, max_examples=60))
