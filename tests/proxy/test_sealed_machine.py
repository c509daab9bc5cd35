"""A server that has real peers shake hands, and mixes up whatever it can: nobody is taken for somebody else."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.keepers import OwnKeptHandshake
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.logged import Logged
from tests.proxy.sealed_client_world import DROP, OWN, SEAL, UNSEAL, FarPeer, SealedClientWorld, now
from tests.proxy.world import Peers

PEERS = [FarPeer(b"a"), FarPeer(b"b")]
numbers, peers, streams = st.integers(0, 3), st.sampled_from([0, 1]), st.integers(0, 5)
faults = st.sampled_from([None, None, "unfinished", "number", "peer", "request", "twice"])


class Shaken(NamedTuple):
    """A peer's half of a handshake."""

    index: int
    handshake: OwnKeptHandshake
    #: What the client is still to read.
    message: bytes = b""


class SealedServerMachine(RuleBasedStateMachine):
    """The server knows all messages, and two peers do for it what they do for anybody who carries theirs."""

    @initialize()
    def begin(self) -> None:
        self.logged = Logged()
        self.world = SealedClientWorld()
        self.outcomes: list[object] = []
        self.asked = 0
        #: What the client has built, for whom it has said that it would.
        self.built: list[Peers] = []
        self.attempts: list[Any] = []
        self.shaken: dict[int, Shaken] = {}
        self.taken = Peers()
        #: Who has spoken at all.
        self.spoken: set[int] = set()
        self.next_stream = 0
        self.next_number = 10

    def say(self, *events: Event) -> None:
        self.world.server.send(*events)
        self.world.settle()

    def ask(self, kind: int, **fields: Any) -> Event:
        return self.world.ask(kind, **fields)

    # The client.

    @rule(index=peers)
    def connect(self, index: int) -> None:
        self.asked += 1
        self.built.append(Peers())
        attempt = self.world.network.connect(PEERS[index].peer, self.built[-1])
        self.attempts.append(attempt)
        attempt.addCallbacks(self.outcomes.append, lambda failure: self.outcomes.append(failure.trap(SpaceswarmError)))
        self.world.settle()

    @rule()
    def cancel(self) -> None:
        if self.attempts:
            self.attempts.pop().cancel()
            self.world.settle()

    @rule()
    def listen(self) -> None:
        if self.world.network.listener is None:
            self.world.network.listen(self.taken).addErrback(lambda failure: failure.trap(SpaceswarmError))
            self.world.settle()
            self.world.server.reply(self.world.server.events(EventType.LISTEN)[-1].request or 0)
            self.world.settle()

    # Handshakes.

    @rule(number=numbers, index=peers)
    def shake(self, number: int, index: int) -> None:
        """The client is asked to begin one, and the peer answers."""
        answer = self.ask(SEAL, handshake=number, key=PEERS[index].key_pair.public_key)
        if not answer.code:
            handshake = PEERS[index].handshake()
            now(handshake.read(answer.data or b""))
            self.shaken[number] = Shaken(index, handshake, now(handshake.write(b"")))

    @rule(number=numbers, other=numbers)
    def finish(self, number: int, other: int) -> None:
        """The client reads a peer's answer, or another one's."""
        if other in self.shaken:
            self.ask(UNSEAL, handshake=number, data=self.shaken[other].message)

    @rule(number=numbers, index=peers)
    def knock(self, number: int, index: int) -> None:
        """A peer begins one."""
        handshake = PEERS[index].handshake(OWN.public_key)
        answer = self.ask(UNSEAL, handshake=number, data=now(handshake.write(b"")))
        if not answer.code:
            assert answer.key == PEERS[index].key_pair.public_key
            now(handshake.read(self.ask(SEAL, handshake=number).data or b""))
            self.shaken[number] = Shaken(index, handshake)

    @rule(number=numbers)
    def drop(self, number: int) -> None:
        self.say(Event(DROP, handshake=number))

    # Streams.

    @rule(number=numbers | st.none(), index=peers, ago=st.integers(0, 3) | st.none())
    def open(self, number: int | None, index: int, ago: int | None) -> None:
        """A stream is opened: as the answer to one of the newest CONNECTs, or to none; with any number."""
        asked = self.world.server.events(EventType.CONNECT)
        request = None if ago is None or ago >= len(asked) else asked[-1 - ago].request
        self.world.open(PEERS[index], number, request, self.next_stream)
        self.next_stream += 1

    @rule(stream=streams, number=numbers)
    def speak(self, stream: int, number: int) -> None:
        """A peer speaks on a stream: it may not be its own."""
        shaken = self.shaken.get(number)
        if shaken is None or shaken.handshake.keys is None:
            return
        initiator = not shaken.message
        session = PEERS[shaken.index].session(shaken.handshake.keys, initiator)
        session.send(b"%d" % shaken.index)
        self.spoken.add(shaken.index)
        session.start()
        try:  # a responder waits for the client's header
            session.receive(self.world.server.received(stream))
        except SpaceswarmError:
            return
        for data in session.data_to_send():
            self.world.server.data(stream, data)
        self.world.settle()

    @rule(stream=streams, data=st.binary(min_size=1, max_size=80))
    def garble(self, stream: int, data: bytes) -> None:
        """The server speaks itself."""
        self.world.server.data(stream, data)
        self.world.settle()

    # All of it in order, with one thing that may be wrong.

    @rule(index=peers, fault=faults)
    def outgoing(self, index: int, fault: str | None) -> None:
        """A connection that the client asks for."""
        self.connect(index)
        number = self._fresh_number()
        self.shake(number, index)
        if fault != "unfinished":
            self.finish(number, number)
        request = self.world.server.events(EventType.CONNECT)[-1].request
        self._open_and_speak(number, index, None if fault == "request" else request, fault)

    @rule(index=peers, fault=faults)
    def incoming(self, index: int, fault: str | None) -> None:
        """One that a peer asks for."""
        self.listen()
        number = self._fresh_number()
        self.knock(number, index)
        asked = self.world.server.events(EventType.CONNECT)
        request = asked[-1].request if asked and fault == "request" else None
        self._open_and_speak(number, index, request, fault)

    def _fresh_number(self) -> int:
        self.next_number += 1
        return self.next_number

    def _open_and_speak(self, number: int, index: int, request: int | None, fault: str | None) -> None:
        opened = number - 1 if fault == "number" else number
        peer = PEERS[1 - index if fault == "peer" else index]
        for _ in range(2 if fault == "twice" else 1):
            self.world.open(peer, opened, request, self.next_stream)
            self.speak(self.next_stream, number)
            self.next_stream += 1

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.server.send(b"\0")
            self.world.pass_time(1)

    # What must hold.

    @invariant()
    def nobody_else(self) -> None:
        """Whom a protocol is built for has been heard, on that stream, and nobody else is."""
        if not hasattr(self, "world"):
            return
        for protocol in [*(each for one in self.built for each in one.built), *self.taken.built]:
            address: PeerAddress = protocol.address
            index = [each.peer for each in PEERS].index(address.peer)
            assert address.end_to_end
            assert index in self.spoken
            assert protocol.received, index
            assert set(protocol.received) <= {ord(str(index))}, (index, protocol.received)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        assert self.world.network.status().online
        link = self.world.network.link
        assert self.world.farewell() == [None]
        assert (len(link.sealed), len(link.sealed.sealer), link.mux.streams) == (0, 0, {})
        assert len(self.outcomes) == self.asked
        assert self.world.clock.getDelayedCalls() == []
        problems = self.logged.close()
        assert not problems, problems


class SealedServerMachineTests(SynchronousTestCase):
    """The machine, for trial."""

    def test_any_order(self) -> None:
        """Whatever such a server does, whoever is connected is who it should be, and nothing is left."""
        checks = list(HealthCheck)
        run_state_machine_as_test(
            SealedServerMachine,
            settings=settings(deadline=None, max_examples=100, stateful_step_count=30, suppress_health_check=checks),
        )
