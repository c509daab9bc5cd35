"""Tests of spaceswarm_proxy.dht.requests."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.message import Command, Response, encode_request, parse_request
from spaceswarm_proxy.dht.requests import MAX_REQUESTS, TIMEOUT, Once, OutgoingRequest, Requests
from spaceswarm_proxy.dht.window import DRAIN, MAX_IN_SLOT
from spaceswarm_proxy.errors import ClosedError, LimitError, RequestTimeoutError, SpaceswarmError

PING_COMMAND = Command.make(True, PING)
NODE, OTHER = address_of("10.0.0.1", 1001), address_of("10.0.0.2", 1002)
OUR_ID = b"\x05" * 32


def answer_to(request: OutgoingRequest) -> Response:
    """What a node answers."""
    return Response(request.tid, address_of("10.9.0.1", 9), None, None, [], 0, None)


class Bench:
    """Requests, and what becomes of them: each event is a word, the request, and the time."""

    def __init__(self, adaptive_timeouts: bool = False, seed: int = 1) -> None:
        self.now = 50.0
        self.events: list[tuple[str, OutgoingRequest, float]] = []
        self.problems: list[SpaceswarmError] = []
        #: When, socket, address, datagram, TTL.
        self.sent: list[tuple[float, int, bytes, bytes, int]] = []
        self.requests = Requests(Random(seed), self.sender, self.transmit, self.now, adaptive_timeouts)

    def sender(self, request: OutgoingRequest) -> tuple[int, bytes | None]:
        return (0, None) if request.socket is None else (request.socket, OUR_ID)

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int) -> None:
        self.sent.append((self.now, socket, address, data, ttl))

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        self.events.append(("answered", request, now))

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        self.events.append(("failed", request, now))
        self.problems.append(problem)

    def slow(self, request: OutgoingRequest, now: float) -> None:
        self.events.append(("slow", request, now))

    def send(self, to: bytes = NODE, forced: bool = False, **options: object) -> OutgoingRequest:
        """Send a ping."""
        request = OutgoingRequest(to, PING_COMMAND, self, **options)  # type: ignore[arg-type]
        self.requests.send(request, self.now, forced)
        return request

    def receive(self, request: OutgoingRequest, source: bytes | None = None) -> OutgoingRequest | None:
        """A node answers a request."""
        return self.requests.received(source or request.to, answer_to(request), 1, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass: whatever is due is done when it is due."""
        end = self.now + seconds
        while (deadline := self.requests.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.requests.advance(self.now)
        self.now = end

    def times_sent(self) -> list[float]:
        """Seconds from the first to each transmission."""
        return [when - self.sent[0][0] for when, *_ in self.sent]


class AttemptTests(SynchronousTestCase):
    """How often a request is sent, and when."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_no_answer(self) -> None:
        """A request is sent four times, a second apart, always the same bytes; a second later it has failed."""
        request = self.bench.send()
        self.bench.run(60)
        self.assertEqual(self.bench.times_sent(), [0, 1, 2, 3])
        self.assertEqual(len({data for _, _, _, data, _ in self.bench.sent}), 1)
        self.assertEqual(self.bench.events, [("slow", request, 51.0), ("failed", request, 54.0)])
        self.assertIsInstance(self.bench.problems[0], RequestTimeoutError)
        self.assertEqual((self.bench.requests.sent, self.bench.requests.timed_out), (4, 1))
        self.assertNothingLeft()

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.bench.requests.under_way, 0)
        self.assertIsNone(self.bench.requests.next_deadline())

    def test_own_patience(self) -> None:
        """How often it is sent again, and how long an attempt waits, can be said of each request."""
        self.bench.send(retries=0, timeout=2.5)
        self.bench.run(2.4)
        self.assertEqual(self.bench.events, [])
        self.bench.run(0.1)
        self.assertEqual([what for what, *_ in self.bench.events], ["failed"])
        self.assertEqual(self.bench.times_sent(), [0])

    def test_late_clock(self) -> None:
        """Where nobody has looked for long, an attempt is made up for once, not for each second that was missed."""
        self.bench.send()
        self.bench.now += 3600
        self.bench.requests.advance(self.bench.now)
        self.assertEqual(self.bench.times_sent(), [0, 3600])
        self.bench.run(10)
        self.assertEqual(self.bench.times_sent(), [0, 3600, 3601, 3602])

    def test_answer(self) -> None:
        """A request that is answered is sent no more; whoever asks for it is told which socket the answer came to."""
        request = self.bench.send()
        self.bench.run(1.5)
        self.assertIs(self.bench.receive(request), request)
        self.assertEqual((request.done, request.arrived_on, request.attempts), (True, 1, 2))
        self.assertNothingLeft()
        self.bench.run(60)
        self.assertEqual(self.bench.times_sent(), [0, 1])
        self.assertEqual(self.bench.events, [("slow", request, 51.0)])

    def test_datagram(self) -> None:
        """Socket and id are what the node decides; token and TTL are the request's own."""
        token = b"\x06" * 32
        self.bench.send(socket=3, ttl=5, token=token)
        [(_, socket, to, data, ttl)] = self.bench.sent
        self.assertEqual((socket, to, ttl), (3, NODE, 5))
        parsed = parse_request(data)
        self.assertEqual((parsed.to, parsed.id, parsed.token, parsed.command), (NODE, OUR_ID, token, PING))
        self.assertEqual(data, encode_request(PING_COMMAND, parsed.tid, NODE, OUR_ID, token))

    def test_reentrant(self) -> None:
        """Whoever is told of a failure may send the next request at once."""
        again: list[float] = []

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            again.append(now)
            if len(again) < 3:
                self.bench.requests.send(OutgoingRequest(NODE, PING_COMMAND, Once(done), retries=0), now)

        self.bench.requests.send(OutgoingRequest(NODE, PING_COMMAND, Once(done), retries=0), self.bench.now)
        self.bench.run(10)
        self.assertEqual(again, [51.0, 52.0, 53.0])
        self.assertNothingLeft()


class MatchTests(SynchronousTestCase):
    """Which response answers which request."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_wrong_source(self) -> None:
        """A response from somebody else is no answer, though it has the right id; nor is one from another port."""
        request = self.bench.send()
        for source in (OTHER, NODE[:4] + b"\x01\x01"):
            self.assertIsNone(self.bench.receive(request, source))
        self.assertIs(self.bench.receive(request), request)

    def test_once(self) -> None:
        """A request is answered once: what comes a second time, or after it was given up, is nobody's."""
        request, late = self.bench.send(), self.bench.send()
        self.assertIs(self.bench.receive(request), request)
        self.assertIsNone(self.bench.receive(request))
        self.bench.run(10)
        self.assertIsNone(self.bench.receive(late))

    def test_unique_ids(self) -> None:
        """No two requests under way have the same id, though the ids wrap around while some are still waiting."""
        stays = [self.bench.send(timeout=1e9) for _ in range(3)]
        for _ in range((1 << 16) + 10):
            request = self.bench.send(forced=True)
            self.assertNotIn(request.tid, [other.tid for other in stays])
            self.assertIs(self.bench.receive(request), request)
        self.assertEqual([self.bench.receive(request) for request in stays], stays)

    def test_first_id(self) -> None:
        """The first id is drawn, so that two nodes, or two runs, do not use the same ones."""
        first = {Bench(seed=seed).send().tid for seed in range(20)}
        self.assertGreater(len(first), 15)


class EndTests(SynchronousTestCase):
    """Requests that are given up."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_cancel(self) -> None:
        """Of a request that is cancelled nobody hears again; twice is once, and after the end it is nothing."""
        request = self.bench.send()
        for _ in range(2):
            self.bench.requests.cancel(request)
        self.assertIsNone(self.bench.receive(request))
        self.bench.run(10)
        self.assertEqual((self.bench.events, len(self.bench.sent)), ([], 1))
        self.assertIsNone(self.bench.requests.next_deadline())

    def test_cancel_waiting(self) -> None:
        """A request that waits for room is never sent when it is cancelled before."""
        for _ in range(MAX_IN_SLOT):
            self.bench.send()
        waiting = [self.bench.send(OTHER) for _ in range(2)]
        self.bench.requests.cancel(waiting[0])
        self.bench.run(10)
        self.assertEqual(len([to for _, _, to, _, _ in self.bench.sent if to == OTHER]), 4)
        self.assertNotIn(waiting[0], [request for _, request, _ in self.bench.events])

    def test_fail_all(self) -> None:
        """When all are given up each owner is told once, of those that wait for room too."""
        requests = [self.bench.send() for _ in range(2 * MAX_IN_SLOT)]
        self.bench.requests.cancel(requests[3])
        self.bench.requests.fail_all(ClosedError(), self.bench.now)
        self.assertEqual([request for _, request, _ in self.bench.events], requests[:3] + requests[4:])
        self.assertEqual({type(problem) for problem in self.bench.problems}, {ClosedError})
        sent = len(self.bench.sent)
        self.bench.run(10)
        self.assertEqual((len(self.bench.sent), self.bench.requests.under_way), (sent, 0))
        self.assertIsNone(self.bench.requests.next_deadline())

    def test_fail_all_cancels(self) -> None:
        """An owner who is told may cancel the others: those are not told any more."""
        others: list[OutgoingRequest] = []

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            for other in others:
                self.bench.requests.cancel(other)

        self.bench.requests.send(OutgoingRequest(NODE, PING_COMMAND, Once(done)), self.bench.now)
        others += [self.bench.send() for _ in range(3)]
        self.bench.requests.fail_all(ClosedError(), self.bench.now)
        self.assertEqual((self.bench.events, self.bench.requests.under_way), ([], 0))


class WindowTests(SynchronousTestCase):
    """Not too many at a time."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_first_come(self) -> None:
        """What there is no room for waits, and goes out in the order in which it came, a drain's worth at a time."""
        for number in range(3 * MAX_IN_SLOT):
            self.bench.send(address_of("10.0.0.1", number + 1), retries=0)
        self.assertEqual(len(self.bench.sent), MAX_IN_SLOT)
        self.bench.run(DRAIN)
        self.assertEqual(len(self.bench.sent), 2 * MAX_IN_SLOT)
        self.bench.run(10)
        self.assertEqual([to for _, _, to, _, _ in self.bench.sent], [
            address_of("10.0.0.1", number + 1) for number in range(3 * MAX_IN_SLOT)
        ])  # fmt: skip
        self.assertEqual(len(self.bench.events), 3 * MAX_IN_SLOT)

    def test_answers_make_room(self) -> None:
        """Where answers come at once, there is room for the next: fast peers are not slowed down."""
        for _ in range(10 * MAX_IN_SLOT):
            request = self.bench.send()
            self.assertIs(self.bench.receive(request), request)
        self.assertEqual(len(self.bench.sent), 10 * MAX_IN_SLOT)

    def test_answers_let_others_go(self) -> None:
        """Whoever waits goes when an answer has made room for it, not only when time has."""
        requests = [self.bench.send() for _ in range(2 * MAX_IN_SLOT)]
        for count, request in enumerate(requests[:MAX_IN_SLOT]):
            self.assertEqual(len(self.bench.sent), MAX_IN_SLOT + count)
            self.assertIs(self.bench.receive(request), request)
        self.assertEqual(len(self.bench.sent), 2 * MAX_IN_SLOT)

    def test_forced(self) -> None:
        """What is forced goes out at once."""
        for _ in range(MAX_IN_SLOT + 1):
            self.bench.send()
        self.bench.send(OTHER, forced=True)
        self.assertEqual(self.bench.sent[-1][2], OTHER)
        self.assertEqual(len(self.bench.sent), MAX_IN_SLOT + 1)

    def test_nobody_overtakes(self) -> None:
        """While somebody waits, no newcomer goes first, even if there is room by then."""
        for _ in range(MAX_IN_SLOT + 1):
            self.bench.send()
        self.bench.now += 10 * DRAIN
        self.bench.send(OTHER)
        self.assertEqual(len(self.bench.sent), MAX_IN_SLOT)
        self.bench.requests.advance(self.bench.now)
        self.assertEqual(self.bench.sent[-1][2], OTHER)

    def test_most(self) -> None:
        """There is a most of requests under way and waiting; whatever ends makes room again."""
        requests = [self.bench.send() for _ in range(MAX_REQUESTS)]
        with self.assertRaises(LimitError):
            self.bench.send()
        self.bench.receive(requests[0])
        self.bench.send()
        self.bench.requests.fail_all(ClosedError(), self.bench.now)
        self.bench.requests.advance(self.bench.now + 10)
        self.bench.send()


class AdaptiveTests(SynchronousTestCase):
    """Waiting as long as answers take."""

    def test_near(self) -> None:
        """A node that answers quickly is asked again sooner than after a second; one that is slow, later."""
        for delay, soonest, latest in ((0.02, 0.29, 0.5), (0.9, 1.0, 2.5)):
            bench = Bench(adaptive_timeouts=True)
            for _ in range(20):
                request = bench.send(timeout=5.0)
                bench.run(delay)
                bench.receive(request)
            bench.sent.clear()
            bench.send(retries=1)
            bench.run(30)
            self.assertTrue(soonest <= bench.times_sent()[1] <= latest, bench.times_sent())

    def test_unclear(self) -> None:
        """When it is unclear which of many attempts was answered, nothing is learnt from it."""
        bench = Bench(adaptive_timeouts=True)
        request = bench.send(timeout=1.0, retries=5)
        bench.run(3.5)
        bench.receive(request)
        bench.sent.clear()
        bench.send()
        bench.run(30)
        # As for a node that nothing is known of.
        self.assertTrue(0.3 <= bench.times_sent()[1] <= 0.51, bench.times_sent())


class MemoryTests(SynchronousTestCase):
    """What is kept of requests that are over."""

    @settings(deadline=None, max_examples=20)
    @given(st.integers(1, 50), st.floats(0.001, 0.3))
    def test_bounded(self, at_once: int, delay: float) -> None:
        """Under a load that does not end, no more is kept than of the requests of one timeout."""
        bench = Bench()
        for _ in range(60):
            requests = [bench.send() for _ in range(at_once)]
            bench.run(delay)
            for request in requests:
                bench.receive(request)
            bench.requests.next_deadline()
        self.assertLessEqual(len(bench.requests._deadlines), at_once * (TIMEOUT / delay + 2))
        bench.run(20)
        self.assertEqual((bench.requests._deadlines, bench.requests.under_way), ([], 0))
        self.assertFalse(bench.requests._waiting)


class RequestsMachine(RuleBasedStateMachine):
    """Requests come, are answered, repeated, cancelled, given up: each owner is told exactly once, or has cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.open: list[OutgoingRequest] = []
        self.told: set[OutgoingRequest] = set()

    def take(self, number: int) -> OutgoingRequest:
        return self.open.pop(number % len(self.open))

    @rule(count=st.integers(1, 60), retries=st.integers(0, 3), forced=st.booleans())
    def send(self, count: int, retries: int, forced: bool) -> None:
        self.open += [self.bench.send(forced=forced, retries=retries) for _ in range(count)]

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 1000))
    def answer(self, number: int) -> None:
        request = self.take(number)
        answered = self.bench.receive(request)
        assert answered is (request if request.attempts else None)
        if answered is None:
            self.open.append(request)

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 1000))
    def cancel(self, number: int) -> None:
        self.bench.requests.cancel(self.take(number))

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.bench.run(seconds)
        self.hear()

    @rule()
    def give_up(self) -> None:
        self.bench.requests.fail_all(ClosedError(), self.bench.now)
        self.hear()
        assert not self.open

    def hear(self) -> None:
        """Those that have failed were open, and are not any more."""
        failed = [request for what, request, _ in self.bench.events if what == "failed"]
        self.bench.events.clear()
        for request in failed:
            self.open.remove(request)

    @invariant()
    def consistent(self) -> None:
        requests = self.bench.requests
        under_way = [request for request in self.open if request.attempts]
        assert requests.under_way == len(under_way) == len({request.tid for request in under_way})
        assert (requests.next_deadline() is None) <= (not under_way)

    def teardown(self) -> None:
        self.bench.run(600)
        self.hear()
        assert not self.open, "somebody waits for ever"


class MachineTests(SynchronousTestCase):
    """All of it together."""

    def test_machine(self) -> None:
        """In any order of events every request has one end, and nothing is left of it."""
        run_state_machine_as_test(RequestsMachine, settings=settings(deadline=None, max_examples=30))
