"""The transport under any order of events: a state machine that tries them."""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamResetError
from tests.transport_support import DONE, HalfCloseableProtocol, OwnedTransport, ScriptedProducer, ScriptedProtocol

#: What a user may do at any time, also from inside a call.
ACTIONS = {
    "pause": OwnedTransport.pauseProducing,
    "resume": OwnedTransport.resumeProducing,
    "write": lambda transport: transport.write(b"w"),
    "lose": OwnedTransport.loseConnection,
    "lose write": OwnedTransport.loseWriteConnection,
    "abort": OwnedTransport.abortConnection,
    "unregister": OwnedTransport.unregisterProducer,
}
CALLBACKS = ("connectionMade", "dataReceived", "readConnectionLost", "writeConnectionLost", "connectionLost")


class TransportMachine(RuleBasedStateMachine):
    """
    An owner, a user and the reactor, who take turns as they like.

    That the protocol is never called from inside a call or after its end, and that nothing is sent after the end, is
    asserted by those who play the parts.
    """

    @initialize(
        half_closeable=st.booleans(),
        prompt=st.booleans(),
        reactions=st.dictionaries(st.sampled_from(CALLBACKS), st.sampled_from(sorted(ACTIONS)), max_size=3),
    )
    def begin(self, half_closeable: bool, prompt: bool, reactions: dict[str, str]) -> None:
        self.transport = OwnedTransport()
        if prompt:
            self.transport.inside["finish"] = lambda: self.transport.connection_ended(DONE)
        kind = HalfCloseableProtocol if half_closeable else ScriptedProtocol
        self.protocol = kind(**{name: ACTIONS[action] for name, action in reactions.items()})
        self.arrived = b""
        self.over = False
        self.attached = False

    @precondition(lambda self: not self.attached)
    @rule()
    def attach(self) -> None:
        self.attached = True
        self.transport.attach(self.protocol)

    @precondition(lambda self: not self.over)
    @rule(chunks=st.lists(st.binary(min_size=1, max_size=3), max_size=3))
    def arrive(self, chunks: list[bytes]) -> None:
        self.arrived += b"".join(chunks)
        self.transport.data_arrived(chunks)

    @precondition(lambda self: not self.over)
    @rule()
    def far_end_ends(self) -> None:
        self.over = True
        self.transport.end_arrived()

    @rule(clean=st.booleans())
    def stream_ends(self, clean: bool) -> None:
        self.over = True
        self.transport.connection_ended(DONE if clean else Failure(StreamResetError()))

    @precondition(lambda self: self.attached)
    @rule(action=st.sampled_from(sorted(ACTIONS)))
    def act(self, action: str) -> None:
        ACTIONS[action](self.transport)

    @precondition(lambda self: self.attached and self.transport._producer is None)
    @rule(streaming=st.booleans())
    def produce(self, streaming: bool) -> None:
        self.transport.registerProducer(ScriptedProducer(lambda: self.transport.write(b"p")), streaming)

    @rule(full=st.booleans())
    def congest(self, full: bool) -> None:
        if full:
            self.transport.sender_paused()
        else:
            self.transport.sender_resumed()

    @rule()
    def turn(self) -> None:
        self.transport.turn()

    @invariant()
    def delivered_in_order(self) -> None:
        """What was delivered is the beginning of what arrived, and no more is consumed than has arrived."""
        if hasattr(self, "transport"):
            assert self.arrived.startswith(self.protocol.received)
            assert self.transport.consumed <= len(self.arrived)

    @invariant()
    def ended_once(self) -> None:
        """Every end is sent once at most."""
        if hasattr(self, "transport"):
            for order in ("end", "finish", "abort", "disconnected"):
                assert self.transport.orders.count(order) <= 1, order

    def teardown(self) -> None:
        """Wherever it was, when the stream has ended and its protocol reads on, it is over and nothing is left."""
        if not hasattr(self, "transport"):
            return
        transport = self.transport
        if not self.attached:
            transport.attach(self.protocol)
        self.protocol.script.clear()
        gave_up = transport.disconnecting or "abort" in transport.orders or transport._reason is not None
        transport.connection_ended(DONE)
        transport.resumeProducing()
        transport.turn()
        assert self.protocol.calls[-1] == "lost"
        assert transport.orders.count("disconnected") == 1
        assert not transport.clock.getDelayedCalls()
        assert gave_up or self.protocol.received == self.arrived


class TransportMachineTests(SynchronousTestCase):
    """Let Hypothesis play."""

    def test_any_order(self) -> None:
        """The transport keeps its promises whatever happens when."""
        run_state_machine_as_test(
            TransportMachine, settings=settings(deadline=None, max_examples=150, stateful_step_count=30)
        )
