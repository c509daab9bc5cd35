"""
Two state machines for spaceswarm_proxy.peering.protomux: two honest ends, and an end with a liar.

Hypothesis chooses what happens.  In the first both sides open, close and decide as they like, under a few names, while
messages are under way: every channel must have one counterpart, and get what that one has said, in order.  In the
second nothing may happen but a violation, and nothing may grow.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import ChannelRefusedError, LimitError, ProtocolError, SpaceswarmError
from spaceswarm_proxy.peering.protomux import WAITING_OVERHEAD, Channel, Mux, Offer
from spaceswarm_proxy.peering.protomux_wire import CONTROL, ControlType, Message, Open, encode_messages
from tests.peering.muxes import End, Owner, deliver, deliver_all

MAX_CHANNELS = 4
MAX_WAITING = 3000
#: Protocols: accepted at once, decided later, or known to nobody.
PROTOCOLS = ("soon", "later", "never")


class Half:
    """One side of a channel: what it has said, and what it has heard."""

    def __init__(self, world: Link, name: bytes) -> None:
        self.world = world
        #: What it says in opening, so that the other side knows whom it is with.
        self.name = name
        self.channel: Channel | None = None
        self.other: Half | None = None
        self.said = 0
        self.heard = 0
        self.is_over = False
        self.was_refused = False

    def say(self) -> None:
        assert self.channel is not None
        if not self.channel.closed:
            self.channel.send(self.said, self.name + bytes(self.said % 7 * 100))
            self.said += 1

    def close(self) -> None:
        assert self.channel is not None
        self.is_over = True
        self.channel.close()

    def opened(self, channel: Channel, handshake: bytes, now: float) -> None:
        assert self.other is None and not self.is_over
        self.channel = channel
        self.other = self.world.halves[handshake]
        assert self.other.other in (None, self)

    def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
        assert self.other is not None and not self.is_over
        assert (type, body[: len(self.other.name)]) == (self.heard, self.other.name)
        self.heard += 1

    def closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        assert not self.is_over
        self.is_over = True
        self.was_refused = isinstance(problem, ChannelRefusedError)
        assert self.was_refused == (self.other is None)


class Link(RuleBasedStateMachine):
    """Two muxes."""

    @initialize()
    def begin(self) -> None:
        limits = {"max_channels": MAX_CHANNELS, "max_waiting": MAX_WAITING}
        self.ends = [End(**limits), End(**limits)]
        self.halves: dict[bytes, Half] = {}
        self.of_end: list[list[Half]] = [[], []]
        for number, end in enumerate(self.ends):
            end.mux.register("soon", lambda offer, now, number=number: self.accept(number, offer))
            end.keep_offers("later")

    def half(self, number: int) -> Half:
        half = Half(self, len(self.halves).to_bytes(2, "big"))
        self.halves[half.name] = half
        self.of_end[number].append(half)
        return half

    def accept(self, number: int, offer: Offer) -> None:
        half = self.half(number)
        half.channel = offer.accept(half, 0.0, half.name)
        assert half.channel is not None

    @rule(number=st.integers(0, 1), protocol=st.sampled_from(PROTOCOLS), id=st.sampled_from([b"", b"x"]))
    def open(self, number: int, protocol: str, id: bytes) -> None:
        half = self.half(number)
        try:
            half.channel = self.ends[number].mux.open(protocol, id, half, 0.0, half.name)
        except LimitError:
            self.of_end[number].remove(half)

    @rule(number=st.integers(0, 1), index=st.integers(0, 9), count=st.integers(1, 5), together=st.booleans())
    def say(self, number: int, index: int, count: int, together: bool) -> None:
        if not (halves := self.of_end[number]):
            return
        if together:
            with self.ends[number].mux.batch():
                for offset in range(count):
                    halves[(index + offset) % len(halves)].say()
        else:
            for _ in range(count):
                halves[-1 - index % len(halves)].say()

    @rule(number=st.integers(0, 1), index=st.integers(0, 9))
    def close(self, number: int, index: int) -> None:
        if halves := self.of_end[number]:
            halves[-1 - index % len(halves)].close()

    @rule(number=st.integers(0, 1), index=st.integers(0, 3), yes=st.booleans())
    def decide(self, number: int, index: int, yes: bool) -> None:
        offers = [offer for offer in self.ends[number].offers if not offer.decided]
        if not offers:
            return
        offer = offers[index % len(offers)]
        if yes:
            self.accept(number, offer)
        else:
            offer.reject(0.0)

    @rule(number=st.integers(0, 1), count=st.integers(1, 6))
    def arrive(self, number: int, count: int) -> None:
        for _ in range(count):
            deliver(self.ends[number], self.ends[1 - number])

    @invariant()
    def sound(self) -> None:
        for end in self.ends:
            check_bounds(end.mux)
            assert end.mux.violation is None
        for half in self.halves.values():
            if half.other is not None:
                assert half.heard <= half.other.said

    def teardown(self) -> None:
        if hasattr(self, "ends"):
            self.settle()
            self.all_heard()
            self.nothing_left()

    def settle(self) -> None:
        deliver_all(*self.ends)
        while undecided := [(n, o) for n, end in enumerate(self.ends) for o in end.offers if not o.decided]:
            for number, offer in undecided:
                if not offer.decided:
                    self.accept(number, offer)
            deliver_all(*self.ends)
        assert not any(end.sent or end.mux.paused for end in self.ends)

    def all_heard(self) -> None:
        for half in (half for halves in self.of_end for half in halves):
            if half.is_over:
                continue
            other = half.other
            assert other is not None and other.other is half and not other.is_over
            assert half.heard == other.said

    def nothing_left(self) -> None:
        for number, end in enumerate(self.ends):
            alive = [half for half in self.of_end[number] if not half.is_over]
            assert len(end.mux._locals) == len(end.mux._remotes) == len(alive)
            assert (end.mux._waiting, list(end.mux._input)) == (0, [])
            for half in alive:
                half.close()
        deliver_all(*self.ends)
        assert all(not end.mux._locals and not end.mux._remotes for end in self.ends)


def check_bounds(mux: Mux) -> None:
    """What is held is counted, and no more than allowed."""
    offers = [each for each in mux._remotes.values() if isinstance(each, Offer)]
    assert offers == list(mux._offers.values())
    assert mux._waiting == sum(offer._size for offer in offers)
    for offer in offers:
        assert offer._size >= len(offer._messages) * WAITING_OVERHEAD + sum(len(each.body) for each in offer._messages)
    assert len(mux._remotes) <= 2 * MAX_CHANNELS
    assert len(mux._locals) <= 2 * MAX_CHANNELS
    assert not set(mux._locals) & set(mux._free)
    paired = [each for each in mux._remotes.values() if isinstance(each, Channel)]
    assert all(mux._locals[each._local] is each and not each.closed for each in paired)


numbers = st.integers(0, 6)
control = st.one_of(
    st.builds(
        Open, numbers, st.sampled_from(PROTOCOLS), st.sampled_from([b"", b"x", bytes(4000)]), st.binary(max_size=3)
    ).map(lambda open: Message(CONTROL, ControlType.OPEN, open.encode())),
    st.builds(Message, st.just(CONTROL), st.sampled_from([2, 3, 9]), numbers.map(lambda number: bytes([number]))),
)
said = control | st.builds(Message, numbers, st.integers(1, 3), st.binary(max_size=3) | st.just(bytes(1000)))
lies = st.lists(said, min_size=1, max_size=6).map(encode_messages) | said.map(Message.encode) | st.binary(max_size=8)


class Liar(RuleBasedStateMachine):
    """One mux, and a remote that says whatever comes to its mind."""

    @initialize()
    def begin(self) -> None:
        self.end = End(max_channels=MAX_CHANNELS, max_waiting=MAX_WAITING, max_message=5000)
        self.owner = Owner()
        self.end.accept("soon", self.owner)
        self.end.keep_offers("later")
        self.channels: list[Channel] = []

    @rule(data=lies)
    def lie(self, data: bytes) -> None:
        if self.end.mux.paused:
            return
        deaf = self.end.mux.closed
        told = len(self.owner.told)
        try:
            self.end.mux.receive(data, 0.0)
        except ProtocolError as problem:
            assert self.end.mux.violation is problem and self.end.mux.closed and not deaf
        assert not (deaf and len(self.owner.told) > told)

    @rule(protocol=st.sampled_from(PROTOCOLS))
    def open(self, protocol: str) -> None:
        if not self.end.mux.closed and len(self.end.mux._locals) < MAX_CHANNELS:
            self.channels.append(self.end.mux.open(protocol, b"x", self.owner, 0.0))

    @rule(index=st.integers(0, 3), what=st.sampled_from(["say", "close"]))
    def use(self, index: int, what: str) -> None:
        if not self.channels:
            return
        channel = self.channels[-1 - index % len(self.channels)]
        if what == "say":
            channel.send(1, b"truth")
        else:
            channel.close()

    @rule(yes=st.booleans())
    def decide(self, yes: bool) -> None:
        for offer in self.end.offers:
            if yes:
                offer.accept(self.owner, 0.0)
            else:
                offer.reject(0.0)
        self.end.offers.clear()

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "end"):
            check_bounds(self.end.mux)
            assert self.end.mux._waiting <= MAX_WAITING + 5000 + WAITING_OVERHEAD
            assert len(self.end.mux._input) <= 1

    def teardown(self) -> None:
        if hasattr(self, "end"):
            self.end.mux.close(None, 0.0)
            assert all(channel.closed for channel in self.channels)
            opened = [told for told in self.owner.told if told[0] == "opened"]
            closed = [told for told in self.owner.told if told[0] == "closed"]
            assert len(opened) <= len(closed) + len(self.channels)


class MachineTests(SynchronousTestCase):
    """The machines, run."""

    def run_machine(self, machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
        options: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
        run_state_machine_as_test(
            machine, settings=settings(max_examples=examples, stateful_step_count=steps, **options)
        )

    def test_two_ends(self) -> None:
        """Whatever both do, channels find their counterparts and hear what those have said, and nothing is left."""
        self.run_machine(Link, 120, 40)

    def test_a_liar(self) -> None:
        """Whatever a remote sends, the worst is a violation, and what is held for it stays within its bounds."""
        self.run_machine(Liar, 120, 30)
