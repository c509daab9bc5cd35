"""Tests of spaceswarm_proxy.dht.runner."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.logger import capturedLogs

from spaceswarm_proxy.dht import runner as module, upkeep
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.runner import LOOKING, SAVING, CoreRunner
from spaceswarm_proxy.dht.state import FILE_NAME, StateDirectory
from spaceswarm_proxy.errors import ClosedError, RequestTimeoutError, SpaceswarmError, SuspendedError
from spaceswarm_proxy.interfaces import HostPort
from tests.dht.names import Names
from tests.dht.stepping import LOOPBACK, SteppedReactor, SteppedTestCase

SEED = bytes(range(32))


class RunnerTestCase(SteppedTestCase):
    """Runners, and what they tell."""

    def setUp(self) -> None:
        super().setUp()
        self.names = Names()
        self.reactor.installNameResolver(self.names)
        #: What was told, and what came of requests, in order.
        self.told: list[Any] = []
        self.directory = StateDirectory(self.mktemp())

    def runner(
        self, *bootstrap: str | HostPort, known: Sequence[bytes] = (), keep: bool = False, start: bool = True,
        **options: Any,
    ) -> CoreRunner:  # fmt: skip
        """
        One at work; closed at the end.

        :param keep: keep its state.
        """
        nodes = [BootstrapNode.parse(each) for each in bootstrap]
        node_options = NodeOptions(bootstrap_count=len(nodes), **options)
        state = self.directory if keep else None
        if state is not None:
            state.load()
        runner = CoreRunner(self.reactor, node_options, nodes, LOOPBACK, (0,), state, SEED, self.told.append)
        self.opened.append(runner)
        if start:
            runner.start(known)
        return runner

    def ask(self, runner: CoreRunner, to: HostPort | tuple[str, int], retries: int = 0) -> None:
        """Ping somebody; what comes of it is told."""

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            self.told.append(type(answer))

        runner.core.ask(address_of(*to), Command.make(True, PING), done, runner.now(), retries=retries)
        runner.arm()

    def timers(self) -> list[float]:
        """In how many seconds each timer is due."""
        return [call.getTime() - self.reactor.seconds() for call in self.reactor.getDelayedCalls()]


class TimerTests(RunnerTestCase):
    """The one timer."""

    def test_one(self) -> None:
        """There is one timer at any time, due when the core has something to do."""
        runner = self.runner()
        silent = self.silent().getsockname()
        for _ in range(5):
            self.ask(runner, silent, retries=3)
            self.assertEqual(1, len(self.timers()))
            self.reactor.elapse(0.3)
            self.assertEqual(1, len(self.timers()))
            self.assertLess(self.timers()[0], 0.71)

    def test_sooner(self) -> None:
        """What is to be done sooner than anything else brings it forward."""
        runner = self.runner()
        self.assertGreater(self.timers()[0], 4)
        self.ask(runner, self.silent().getsockname())
        self.assertEqual([1.0], self.timers())
        self.reactor.elapse(1.0)
        self.assertEqual(RequestTimeoutError, self.told[-1])
        self.assertEqual(1, len(self.timers()))

    def test_too_early(self) -> None:
        """When what was waited for is done before, it goes off for nothing, and waits for what comes next."""
        first, second = self.runner(), self.runner()
        self.ask(first, ("127.0.0.1", second.ports.server_port))
        self.reactor.settle()
        self.assertIn(Response, self.told)
        self.reactor.elapse(1.0)
        self.assertEqual(2, len(self.timers()))
        self.assertGreater(min(self.timers()), 3.9)

    def test_datagram_sets_it(self) -> None:
        """What a datagram leads to is done in time, as an answer that somebody wants to have later."""
        runner = self.runner()
        silent = self.silent()
        delayed_ping = bytes.fromhex("0314 0100 000000000000 04 04 f4010000")
        silent.sendto(delayed_ping, (LOOPBACK, runner.ports.server_port))
        self.reactor.settle()
        self.assertAlmostEqual(0.5, self.timers()[0])
        self.reactor.elapse(0.49)
        self.assertRaises(BlockingIOError, silent.recv, 100)
        self.reactor.elapse(0.01)
        self.assertEqual(0x13, silent.recv(100)[0])

    def test_fault_of_ours(self) -> None:
        """A fault in what is done when it goes off does not keep it from being set again."""
        runner = self.runner()

        def fail(now: float) -> None:
            patched.restore()
            raise LookupError("a fault of ours")

        patched = self.patch(runner.core, "advance", fail)
        self.assertRaises(LookupError, self.reactor.elapse, 6)
        self.assertEqual(1, len(self.timers()))
        self.ask(runner, self.silent().getsockname())
        self.reactor.elapse(1)
        self.assertEqual(RequestTimeoutError, self.told[-1])


class ClockTests(RunnerTestCase):
    """Clocks that do as they like."""

    def check_set_back(self, happens: Any) -> None:
        """A request times out in time when the clock is set back while it is under way, if anything happens after."""
        runner = self.runner()
        self.ask(runner, self.silent().getsockname(), retries=1)
        self.reactor.elapse(0.25)
        self.reactor.rightNow -= 3600
        happens(runner)
        self.reactor.settle()
        self.assertEqual(["ready"], self.told)
        self.assertEqual(1, len(self.timers()))
        self.reactor.elapse(2)
        self.assertEqual(["ready", RequestTimeoutError], self.told)

    def test_set_back_then_a_datagram(self) -> None:
        """Setting the clock back by an hour stalls nothing, as soon as a datagram comes."""

        def datagram(runner: CoreRunner) -> None:
            self.silent().sendto(b"anything", (LOOPBACK, runner.ports.server_port))

        self.check_set_back(datagram)

    def test_set_back_then_a_call(self) -> None:
        """So it is as soon as anybody wants something."""

        def call(runner: CoreRunner) -> None:
            runner.now()
            runner.arm()

        self.check_set_back(call)

    def test_set_back_before_a_request(self) -> None:
        """A request that is made after it times out in time."""
        runner = self.runner()
        self.reactor.rightNow -= 3600
        self.ask(runner, self.silent().getsockname())
        self.reactor.elapse(1)
        self.assertEqual(["ready", RequestTimeoutError], self.told)

    def test_set_back_is_no_sleep(self) -> None:
        """Set back and on again, the clock makes nobody believe that the machine has slept."""
        runner = self.runner()
        self.reactor.elapse(12)
        for seconds in (-3600, -10):
            self.reactor.rightNow += seconds
            self.assertEqual(runner.now(), runner.now())
            runner.arm()
            self.reactor.elapse(12)
        self.assertEqual(["ready"], self.told)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.floats(-1e6, 1e6), max_size=20))
    def test_never_backwards(self, steps: list[float]) -> None:
        """Our own time stands still when the clock is set back, and else goes on as the clock does."""
        reactor = SteppedReactor()
        runner = CoreRunner(reactor, NodeOptions(), (), LOOPBACK, (0,), None, SEED, self.told.append)
        before = runner.now()
        for step in steps:
            reactor.rightNow += step
            now = runner.now()
            self.assertAlmostEqual(max(step, 0), now - before, places=3)
            self.assertGreaterEqual(now, before)
            before = now
        runner.close()

    def test_sleep(self) -> None:
        """When the machine has slept, that is noticed: it is told, and the others are asked whether they are there."""
        net = self.net(3)
        runner = self.runner(net.bootstrap[0])
        self.reactor.elapse(8)
        self.assertNotIn("wakeup", self.told)
        asked = runner.core.requests.sent
        self.reactor.rightNow += 3600
        self.reactor.elapse(30)
        self.assertEqual(1, self.told.count("wakeup"))
        self.assertGreaterEqual(runner.core.requests.sent, asked + 3)
        self.assertEqual(3, len(runner.core.table))


class MovedTests(RunnerTestCase):
    """Our own address."""

    def setUp(self) -> None:
        super().setUp()
        self.host: str | None = "10.0.0.5"
        self.looks = 0
        self.patch(module, "local_host", self.look)

    def look(self) -> str | None:
        self.looks += 1
        return self.host

    def test_moved(self) -> None:
        """When our own address changes, that is told once each time, and others are looked for from there."""
        net = self.net(2)
        runner = self.runner(net.bootstrap[0])
        self.reactor.settle()
        self.reactor.elapse(11)
        self.assertNotIn("moved", self.told)
        for number, host in enumerate(("10.0.0.6", None, "10.0.0.5"), 1):
            begun = runner.core.queries_begun
            self.host = host
            self.reactor.elapse(11)
            self.assertEqual(number, self.told.count("moved"))
            self.assertEqual(begun + 1, runner.core.queries_begun)

    def test_seldom(self) -> None:
        """It is not looked at more often than every few seconds, however much there is to do."""
        runner = self.runner()
        silent = self.silent().getsockname()
        before = self.looks
        for _ in range(100):
            self.ask(runner, silent)
            self.reactor.elapse(0.2)
        self.assertTrue(2 <= self.looks - before <= 20 / LOOKING, self.looks - before)


class SavingTests(RunnerTestCase):
    """When the state is saved."""

    def setUp(self) -> None:
        super().setUp()
        self.saved: list[tuple[bytes, tuple[bytes, ...]]] = []
        save = self.directory.save

        def watched(seed: bytes, nodes: Sequence[bytes]) -> None:
            self.saved.append((seed, tuple(nodes)))
            save(seed, nodes)

        self.patch(self.directory, "save", watched)

    def test_when(self) -> None:
        """It is saved when the network was found, every five minutes, when the node goes quiet, and at the end."""
        net = self.net(3)
        runner = self.runner(net.bootstrap[0], keep=True)
        self.reactor.settle()
        self.assertEqual(["ready", 1], [self.told[-1], len(self.saved)])
        everybody = {address_of(*node.address) for node in net.nodes}
        self.assertEqual((SEED, everybody), (self.saved[0][0], set(self.saved[0][1])))
        self.reactor.elapse(SAVING + 5)
        self.assertEqual(2, len(self.saved))
        self.reactor.elapse(2 * SAVING + 10)
        self.assertEqual(4, len(self.saved))
        runner.suspend()
        self.assertEqual(5, len(self.saved))
        runner.suspend()
        runner.resume()
        self.assertEqual(5, len(self.saved))
        runner.close()
        runner.close()
        self.assertEqual(6, len(self.saved))

    def test_suspended(self) -> None:
        """Closing a suspended one saves nothing anew: there is nothing new."""
        runner = self.runner(keep=True)
        runner.suspend()
        before = len(self.saved)
        runner.close()
        self.assertEqual(before, len(self.saved))

    def test_nobody_known(self) -> None:
        """The seed is saved though nobody was found; but whom we knew is not forgotten because nobody is there now."""
        runner = self.runner(keep=True)
        self.assertEqual([(SEED, ())], self.saved)
        known = (address_of("10.0.0.1", 80),)
        self.directory.save(SEED, known)
        self.saved.clear()
        self.reactor.elapse(SAVING + 5)
        runner.close()
        self.assertEqual([], self.saved)
        remembered = self.directory.load()
        assert remembered is not None
        self.assertEqual(known, remembered.nodes)

    def test_most_recently_heard_first(self) -> None:
        """Nodes are saved in the order in which they were heard, the last one first."""
        net = self.net(4)
        runner = self.runner(net.bootstrap[0], keep=True)
        for node in (net.nodes[2], net.nodes[0], net.nodes[3]):
            self.reactor.elapse(0.1)
            self.ask(runner, node.address)
        self.reactor.elapse(0.1)
        runner.close()
        expected = [address_of(*net.nodes[number].address) for number in (3, 0, 2, 1)]
        self.assertEqual(expected, list(self.saved[-1][1]))

    def test_order_without_a_network(self) -> None:
        """Nodes that were remembered, and are not heard, stay remembered in the same order; of too many the last go."""
        known = [address_of(f"10.0.{number}.1", 80) for number in range(100)]
        runner = self.runner(known=known, keep=True)
        runner.close()
        kept = list(self.saved[-1][1])
        self.assertEqual(sorted(kept, key=known.index), kept)
        self.assertEqual(known[:20], kept[:20])


class NamesTests(RunnerTestCase):
    """Bootstrap nodes that are known by name."""

    def setUp(self) -> None:
        super().setUp()
        self.others = self.net(3)
        self.name = f"node.example:{self.others.bootstrap[0].port}"

    def test_resolved(self) -> None:
        """It begins when the name is resolved."""
        runner = self.runner(self.name)
        self.reactor.elapse(3)
        self.assertEqual(([], ["node.example"]), (self.told, self.names.names))
        self.names.asked[0].answer(LOOPBACK)
        self.reactor.settle()
        self.assertEqual("ready", self.told[-1])
        self.assertEqual(3, len(runner.core.table))

    def test_not_resolved(self) -> None:
        """A name without an address is no error: it is asked for again, and then the network is found."""
        self.names.known = {"node.example": ()}
        runner = self.runner(self.name)
        self.assertEqual(["unreachable", "ready"], self.told)
        self.reactor.elapse(30)
        self.assertGreaterEqual(len(self.names.asked), 3)
        self.names.known = {"node.example": (LOOPBACK,)}
        self.reactor.elapse(45)
        self.assertEqual(1, self.told.count("reachable"))
        self.assertEqual(3, len(runner.core.table))
        self.assertEqual(1, self.told.count("unreachable"))

    def test_name_beside_a_dead_address(self) -> None:
        """Where nobody answers at the address in the list, the name beside it is resolved, and tried."""
        runner = self.runner(f"127.0.0.9@{self.name}")
        self.reactor.elapse(7)
        self.assertEqual(["unreachable", "ready"], self.told)
        self.assertEqual(["node.example"], self.names.names)
        self.names.asked[0].answer(LOOPBACK)
        self.reactor.elapse(30)
        self.assertIn("reachable", self.told)
        self.assertEqual(3, len(runner.core.table))

    def test_known_nodes_do_not_wait(self) -> None:
        """Whoever knows nodes from before begins there, however long the names take."""
        known = [address_of(*self.others.nodes[2].address)]
        runner = self.runner(self.name, known=known)
        self.reactor.settle()
        self.assertEqual("ready", self.told[-1])
        self.assertEqual(3, len(runner.core.table))
        self.names.asked[0].answer("10.0.0.1")
        self.assertEqual((address_of("10.0.0.1", self.others.bootstrap[0].port),), runner.core.bootstrap)

    def test_close(self) -> None:
        """Closing while a name is being resolved leaves nothing, and its address leads to nothing."""
        runner = self.runner(self.name)
        runner.close()
        self.names.asked[0].answer(LOOPBACK)
        self.reactor.elapse(5)
        self.assertEqual(([], 0), (self.told, runner.core.requests.sent))
        gc.collect()
        self.assertEqual([], self.flushLoggedErrors())

    def test_suspended_until_it_is_resolved(self) -> None:
        """One that is suspended while a name is resolved begins when it is resumed."""
        runner = self.runner(self.name)
        runner.suspend()
        self.names.asked[0].answer(LOOPBACK)
        self.reactor.elapse(5)
        self.assertEqual(([], 0), (self.told, runner.core.requests.sent))
        runner.resume()
        self.reactor.settle()
        self.assertEqual((1, 3), (self.told.count("ready"), len(runner.core.table)))

    def test_resumed_before_it_is_resolved(self) -> None:
        """One that is resumed before that begins when the name is resolved."""
        runner = self.runner(self.name)
        runner.suspend()
        runner.resume()
        self.reactor.elapse(5)
        self.assertEqual([], self.told)
        self.names.asked[0].answer(LOOPBACK)
        self.reactor.settle()
        self.assertEqual((1, 3), (self.told.count("ready"), len(runner.core.table)))
        self.assertNotIn("unreachable", self.told)


class LifeTests(RunnerTestCase):
    """Suspended, resumed, closed."""

    def test_suspend(self) -> None:
        """Suspending fails what is under way, and leaves neither socket nor timer; resuming takes the same ports."""
        runner = self.runner()
        port = runner.ports.server_port
        self.ask(runner, self.silent().getsockname())
        runner.suspend()
        self.assertEqual(["ready", SuspendedError], self.told)
        self.assert_nothing_left()
        runner.arm()
        self.assert_nothing_left()
        runner.resume()
        runner.resume()
        self.assertEqual((2, 1, port), (len(self.reactor.readers), len(self.timers()), runner.ports.server_port))

    def test_close(self) -> None:
        """Closing fails what is under way, and leaves neither socket nor timer; nothing opens them again."""
        runner = self.runner()
        self.ask(runner, self.silent().getsockname())
        runner.close()
        self.assertEqual(["ready", ClosedError], self.told)
        runner.resume()
        runner.suspend()
        runner.arm()
        runner.close()
        self.assert_nothing_left()

    def test_close_before_it_has_started(self) -> None:
        """One that was never started can be closed."""
        runner = self.runner(start=False)
        runner.close()
        self.assert_nothing_left()
        self.assertEqual([], self.told)

    def test_closed_in_the_middle_of_a_turn(self) -> None:
        """Whoever is told that a request has failed may close it, whatever else is due then."""
        self.patch(upkeep, "REFRESH", upkeep.TICK / 2)
        runner = self.runner()
        silent = address_of(*self.silent().getsockname())
        # The requests fail in the very moment in which the table is to be refreshed.
        self.reactor.elapse(upkeep.TICK - 1)
        before = runner.core.queries_begun

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            self.told.append(type(answer))
            runner.close()

        for _ in range(3):
            runner.core.ask(silent, Command.make(True, PING), done, runner.now(), retries=0)
        runner.arm()
        self.reactor.elapse(2)
        self.assertEqual(["ready", RequestTimeoutError, ClosedError, ClosedError], self.told)
        self.assertEqual(before, runner.core.queries_begun)
        self.assert_nothing_left()

    def test_news_after_the_turn(self) -> None:
        """What has happened is told when the turn that it happened in is over, in order."""
        seen: list[tuple[str, bool]] = []
        runner = self.runner(start=False, ephemeral=False, firewalled=False, public_host=b"\x7f\x00\x00\x01")
        runner._tell = lambda name: seen.append((name, runner.core.joining.done))
        runner.start(())
        self.assertEqual([("nat_changed", True), ("persistent", True), ("ready", True)], seen)

    def test_no_news_after_the_end(self) -> None:
        """Who closes it when told of one thing is not told of the next."""
        runner = self.runner(start=False, ephemeral=False, firewalled=False, public_host=b"\x7f\x00\x00\x01")

        def tell(name: str) -> None:
            self.told.append(name)
            runner.close()

        runner._tell = tell
        runner.start(())
        self.assertEqual(["nat_changed"], self.told)
        self.assert_nothing_left()

    def test_state_that_cannot_be_saved(self) -> None:
        """A directory that has gone is no reason to stop: it is logged, and the node goes on, and ends."""
        runner = self.runner(keep=True)
        (Path(self.directory.path) / FILE_NAME).unlink()
        self.directory.path.rmdir()
        with capturedLogs() as logs:
            self.reactor.elapse(2 * SAVING)
            runner.close()
        self.assertEqual(1, len(logs))
