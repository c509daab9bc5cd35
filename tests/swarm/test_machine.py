"""A swarm under whatever may happen, in whatever order."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.swarm import Discovery
from spaceswarm_proxy.swarm.dialling import MOST
from tests.swarm.fake import OTHER_TOPIC, TOPIC, FakeAttempt, FakeTransport, LivelyTransport, Scene, keyed

PEERS = [keyed(number, larger) for number in range(3) for larger in (False, True)]

peers = st.sampled_from(PEERS)
topics = st.sampled_from([TOPIC, OTHER_TOPIC])
indices = st.integers(0, 99)
often = st.sampled_from([True, True, True, False])


class SwarmMachine(RuleBasedStateMachine):
    """Peers are found, connect, end and fail; topics come and go; the network too."""

    @initialize(
        max_peers=st.integers(0, 4), max_parallel=st.integers(1, 3), seed=st.integers(0, 9), lively=st.booleans()
    )
    def begin(self, max_peers: int, max_parallel: int, seed: int, lively: bool) -> None:
        self.max_peers, self.max_parallel = max_peers, max_parallel
        self.scene = Scene(
            max_peers=max_peers, max_parallel=max_parallel, max_known_peers=4, random=random.Random(seed)
        )
        if lively:
            self.scene.network.transport = LivelyTransport
        self.sessions: list[Discovery] = []
        self.explicit: set[Peer] = set()
        self.open: list[Any] = []
        self.scene.swarm.events.on("connection", self.on_connection)
        self.scene.swarm.events.on("disconnection", self.on_disconnection)
        self.sessions.append(self.scene.join())

    def on_connection(self, protocol: Any, info: Any) -> None:
        assert info.peer not in [peer for _, peer in self.open], "two connections with one peer"
        self.open.append((protocol, info.peer))

    def on_disconnection(self, protocol: Any, info: Any, reason: Any) -> None:
        self.open.remove((protocol, info.peer))

    @property
    def streams(self) -> list[FakeTransport]:
        return [transport for transport in self.scene.network.open if not transport.over]

    def pick(self, things: list[Any], index: int) -> Any:
        return things[index % len(things)]

    # Topics.

    @rule(topic=topics, server=st.booleans(), limit=st.sampled_from([None, None, 1, 2]))
    def join(self, topic: bytes, server: bool, limit: int | None) -> None:
        self.sessions.append(self.scene.swarm.join(topic, server=server, limit=limit))

    @rule(topic=topics)
    def leave(self, topic: bytes) -> None:
        self.scene.swarm.leave(topic)

    @precondition(lambda self: self.sessions)
    @rule(index=indices)
    def destroy(self, index: int) -> None:
        self.pick(self.sessions, index).destroy()

    @rule(peer=peers, index=indices)
    def found(self, peer: Peer, index: int) -> None:
        lookups = [lookup for lookup in self.scene.network.lookups if not lookup.closed]
        if lookups:
            self.pick(lookups, index).find(peer)

    @rule(peer=peers)
    def join_peer(self, peer: Peer) -> None:
        self.explicit.add(peer)
        self.scene.swarm.join_peer(peer)

    @rule(peer=peers)
    def leave_peer(self, peer: Peer) -> None:
        self.scene.swarm.leave_peer(peer)

    # Connections.

    @precondition(lambda self: self.scene.network.attempts)
    @rule(index=indices, slow=st.booleans())
    def opens(self, index: int, slow: bool) -> None:
        attempt: FakeAttempt = self.pick(self.scene.network.attempts, index)
        attempt.transport.slow_to_end = slow
        attempt.open()

    @precondition(lambda self: self.scene.network.attempts)
    @rule(index=indices, link=st.booleans())
    def fails(self, index: int, link: bool) -> None:
        self.pick(self.scene.network.attempts, index).fail(LinkLostError() if link else None)

    @precondition(lambda self: self.scene.network.listener)
    @rule(peer=peers, slow=st.booleans())
    def arrives(self, peer: Peer, slow: bool) -> None:
        self.scene.network.arrive(peer, slow)

    @precondition(lambda self: self.streams)
    @rule(index=indices)
    def ends(self, index: int) -> None:
        self.pick(self.streams, index).end()

    @precondition(lambda self: self.streams)
    @rule(index=indices)
    def is_used(self, index: int) -> None:
        stream: FakeTransport = self.pick(self.streams, index)
        stream.deliver(b"x")
        stream.write(b"y")

    @rule(peer=peers)
    def ban(self, peer: Peer) -> None:
        info = self.scene.swarm.peers.get(peer.id)
        if info is not None:
            info.ban(not info.banned)

    # The world.

    @rule(seconds=st.sampled_from([0.5, 2, 20, 800]))
    def time_passes(self, seconds: float) -> None:
        self.scene.advance(seconds)

    @rule(goes=st.booleans(), comes=often)
    def link(self, goes: bool, comes: bool) -> None:
        if goes and self.scene.network.online:
            self.scene.network.go_offline()
        if comes and not self.scene.network.online:
            self.scene.network.go_online()

    @rule(rests=st.booleans(), wakes=often)
    def rest(self, rests: bool, wakes: bool) -> None:
        if rests:
            self.scene.swarm.suspend()
        if wakes:
            self.scene.swarm.resume()

    # What holds at all times.

    @invariant()
    def few_at_once(self) -> None:
        assert len(self.scene.network.attempts) == self.scene.swarm.connecting <= MOST * self.max_parallel
        assert self.scene.swarm._dialer._dialling.counting <= self.max_parallel

    @invariant()
    def not_too_many(self) -> None:
        made = self.scene.swarm._roster.connections.client_count
        assert made <= self.max_peers + len(self.explicit)

    @invariant()
    def one_for_each_peer(self) -> None:
        ids = [connection.peer_info.peer.id for connection in self.scene.swarm._roster.connections]
        assert len(ids) == len(set(ids))

    @invariant()
    def told_what_is(self) -> None:
        protocols = [protocol for protocol, _ in self.open]
        assert sorted(map(id, protocols)) == sorted(map(id, self.scene.swarm.connections))
        assert all(protocol.made == 1 and protocol.reason is None for protocol in protocols)

    @invariant()
    def few_records(self) -> None:
        swarm = self.scene.swarm
        assert len(swarm.peers) <= 4 + len(self.explicit) + len(swarm.connections) + swarm.connecting
        queued = {info for info in swarm.peers.values() if info.queued}
        assert queued == set(swarm._dialer._queue)
        assert {info for info in swarm.peers.values() if info.waiting} == set().union(
            *(timer._due for timer in swarm._dialer._schedule._timers)
        )

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        dialer = self.scene.swarm._dialer
        if self.scene.network.online and not self.scene.swarm.suspended and len(dialer._queue):
            assert not (dialer._has_slot and dialer._has_room)

    @invariant()
    def few_timers(self) -> None:
        swarm = self.scene.swarm
        assert len(self.scene.clock.getDelayedCalls()) <= len(swarm.topics) + swarm._dialer._dialling.counting + 1

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        closed: list[None] = []
        self.scene.swarm.close(force=True).addCallback(closed.append)
        for stream in self.streams:
            stream.end()
        assert closed
        assert not self.open and not self.streams and not self.scene.network.attempts
        assert self.scene.clock.getDelayedCalls() == []
        assert self.scene.factory.running == 0
        assert all(protocol.reason is not None for protocol in self.scene.factory.built if protocol.made)


class MachineTests(SynchronousTestCase):
    """The state machine, as a test."""

    def test_swarm(self) -> None:
        """Limits hold, events come in pairs, no peer has two connections, and closing leaves nothing."""
        case = SwarmMachine.TestCase
        case.settings = settings(
            deadline=None, max_examples=100, stateful_step_count=40, suppress_health_check=list(HealthCheck)
        )
        case("runTest").runTest()
