"""A real client and a real server, and everything that can happen to them, in any order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.features import ALL, Feature
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.proxy.bad_wire import WireEndpoint
from tests.proxy.client_world import Found
from tests.proxy.logged import Logged
from tests.proxy.world import CUSTODIAL

TOPICS = (b"t" * 32, b"u" * 32)
#: Bytes of the number that each party's data begins with.
NUMBER = 4


@implementer(IHalfCloseableProtocol)
class Party(Protocol):
    """One end of a stream.  What it says begins with its number, and tells by itself who said it."""

    def __init__(self, parties: list[Party]) -> None:
        self.parties = parties
        self.number = len(parties)
        parties.append(self)
        self._random = Random(self.number)
        self.sent = b""
        self.received = bytearray()
        self.read_ended = False
        self.reason: Failure | None = None
        #: Has the link that it went over been lost?
        self.cut = False

    @property
    def open(self) -> bool:
        return self.transport is not None and self.reason is None

    def say(self, count: int) -> None:
        data = (b"" if self.sent else self.number.to_bytes(NUMBER, "big")) + self._random.randbytes(count)
        before = self.transport.bytes_written
        self.transport.write(data)
        if self.transport.bytes_written > before:
            self.sent += data

    def dataReceived(self, data: bytes) -> None:
        assert self.reason is None
        assert not self.read_ended
        self.received += data

    def readConnectionLost(self) -> None:
        assert not self.read_ended
        self.read_ended = True

    def writeConnectionLost(self) -> None:
        """The machine did it."""

    def connectionLost(self, reason: Failure = None) -> None:
        assert self.reason is None
        self.reason = reason

    def other(self) -> Party:
        """Who is at the other end, by what was received."""
        return self.parties[int.from_bytes(self.received[:NUMBER], "big")]

    def check(self) -> None:
        """What was received is a beginning of what the other said; all of it, if it ended in good order."""
        if len(self.received) < NUMBER:
            return
        other = self.other()
        assert other.sent.startswith(bytes(self.received)), (self.number, other.number)
        if self.read_ended and not self.cut:
            assert len(self.received) == len(other.sent), (self.number, other.number)


class PartyFactory(Factory):
    """Builds parties; refuses the next one when it is told to."""

    noisy = False

    def __init__(self, parties: list[Party]) -> None:
        self.parties = parties
        self.refuse = False

    def buildProtocol(self, address: Any) -> Party | None:
        refuse, self.refuse = self.refuse, False
        return None if refuse else Party(self.parties)


#: What a party may do at any time.
ACTIONS: dict[str, Callable[[Party], None]] = {
    "end": lambda party: party.transport.loseWriteConnection(),
    "close": lambda party: party.transport.loseConnection(),
    "abort": lambda party: party.transport.abortConnection(),
    "pause": lambda party: party.transport.pauseProducing(),
    "resume": lambda party: party.transport.resumeProducing(),
}


class LimitedServer(ProxyServer):
    """One that can do so much and no more."""

    features = ALL


#: What both ends can do: all; all but keep the key, with windows or without; no more than JavaScript ones.
AGREED = [ALL, ALL, CUSTODIAL, CUSTODIAL & ~Feature.WINDOWS, Feature(0)]


class ProxyMachine(RuleBasedStateMachine):
    """
    One client, three peers of the network, and a link that carries what it likes and breaks when it likes.

    After each step every party has what it should; at the end, when everything is closed, nothing is left.
    """

    @initialize(streams=st.integers(0, 3), agreed=st.sampled_from(AGREED))
    def begin(self, streams: int, agreed: Feature) -> None:
        self.logged = Logged()
        self.clock = Clock()
        self.hub = LocalHub(self.clock)
        self.server = LimitedServer(self.hub.network(), reactor=self.clock)
        self.server.features = agreed
        self.endpoint = WireEndpoint(self.clock, self.server.buildProtocol)
        self.network = ProxyNetwork(self.endpoint, backoff=lambda attempt: 1.0, reactor=self.clock)
        self.network.features = agreed
        self.parties: list[Party] = []
        self.factory = PartyFactory(self.parties)
        self.peers = [self.hub.network() for _ in range(3)]
        for peer in self.peers:
            peer.listen(self.factory)
            peer.announce(TOPICS[0])
        self.shares: list[Any] = []
        self.attempts: list[Deferred[Any]] = []
        self.outcomes: list[object] = []
        self.asked = 0
        self.expect(self.network.listen(self.factory))
        self.join(TOPICS[0], False)
        self.flow()
        for index in range(streams):
            self.connect(index, at_once=True)

    def expect(self, done: Deferred[Any]) -> Deferred[Any]:
        """Whatever it is, it is to come about, or to fail with an error of ours."""
        self.asked += 1

        def failed(failure: Failure) -> None:
            self.outcomes.append(failure.trap(SpaceswarmError))

        done.addCallbacks(self.outcomes.append, failed)
        return done

    # The client.

    @rule(topic=st.sampled_from(TOPICS), announce=st.booleans())
    def join(self, topic: bytes, announce: bool) -> None:
        share = self.network.announce(topic) if announce else self.network.lookup(topic, Found())
        self.shares.append(share)
        self.expect(share.flushed())

    @precondition(lambda self: self.shares)
    @rule(data=st.data(), update=st.booleans())
    def leave(self, data: st.DataObject, update: bool) -> None:
        share = self.shares[data.draw(st.integers(0, len(self.shares) - 1))]
        if update:
            share.update()
            self.expect(share.flushed())
        else:
            self.shares.remove(share)
            self.expect(share.close())

    @rule(index=st.integers(0, 3), at_once=st.booleans())
    def connect(self, index: int, at_once: bool) -> None:
        key = self.peers[index].public_key if index < 3 else b"nobody's" * 4
        self.attempts.append(self.expect(self.network.connect(Peer.keyed(key), self.factory)))
        if at_once:
            self.flow()

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1))).cancel()

    @rule()
    def listen(self) -> None:
        if self.network.listener is None:
            self.expect(self.network.listen(self.factory))
        else:
            self.expect(self.network.listener.stopListening())

    @rule(seconds=st.sampled_from([0, 1]))
    def rest(self, seconds: float) -> None:
        self._broken()
        self.expect(self.network.suspend())
        self.clock.advance(seconds)
        self.expect(self.network.resume())

    # The peers.

    @precondition(lambda self: self.network.public_key is not None)
    @rule(index=st.integers(0, 2), at_once=st.booleans())
    def knock(self, index: int, at_once: bool) -> None:
        self.expect(self.peers[index].connect(Peer.keyed(self.network.public_key), self.factory))
        if at_once:
            self.flow()

    @rule()
    def be_choosy(self) -> None:
        self.factory.refuse = True

    # Either.

    @precondition(lambda self: self._open())
    @rule(data=st.data(), count=st.integers(1, 2000) | st.sampled_from([70_000, 300_000]), at_once=st.booleans())
    def say(self, data: st.DataObject, count: int, at_once: bool) -> None:
        self._pick(data).say(count)
        if at_once:
            self.flow()

    @precondition(lambda self: self._open())
    @rule(data=st.data(), action=st.sampled_from(sorted(ACTIONS)))
    def act(self, data: st.DataObject, action: str) -> None:
        ACTIONS[action](self._pick(data))

    def _open(self) -> list[Party]:
        return [party for party in self.parties if party.open]

    def _pick(self, data: st.DataObject) -> Party:
        return data.draw(st.sampled_from(self._open()))

    # The link, and time.

    @precondition(lambda self: self.endpoint.up())
    @rule(data=st.data(), count=st.integers(1, 40) | st.integers(1, 100_000), towards_server=st.booleans())
    def carry(self, data: st.DataObject, count: int, towards_server: bool) -> None:
        near, far = self.endpoint.up()[-1]
        (near if towards_server else far).carry(count)

    @rule()
    def flow(self) -> None:
        for _ in range(20):
            self.clock.advance(0)
            self.endpoint.flow()

    @precondition(lambda self: self.endpoint.up())
    @rule()
    def cut(self) -> None:
        self._broken()
        self.endpoint.up()[-1][0].cut()

    def _broken(self) -> None:
        for party in self.parties:
            party.cut = True

    @rule(seconds=st.integers(0, 40))
    def outage(self, seconds: int) -> None:
        """The link is lost, and for some time there is no other."""
        self._broken()
        self.endpoint.refuses = True
        for near, _ in self.endpoint.up():
            near.cut()
        self.clock.pump([1] * seconds)
        self.endpoint.refuses = False

    @rule(seconds=st.sampled_from([0, 0, 0.5, 1, 5]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def wait_long(self) -> None:
        """Long enough for time limits; with the link flowing, none of its own is reached."""
        for _ in range(35):
            self.flow()
            self.clock.advance(1)

    # What must hold.

    @invariant()
    def in_order(self) -> None:
        """Bytes arrive in order, once, and all of them before an end."""
        for party in getattr(self, "parties", ()):
            party.check()

    @invariant()
    def counted(self) -> None:
        """The server counts the connections of all its clients, and those that outlive theirs."""
        if hasattr(self, "server"):
            assert self.server.open_streams >= sum(link.upstreams.count for link in self.server.links)

    @invariant()
    def as_agreed(self) -> None:
        """A link that is ready does what both ends can."""
        link = self.network.ready_link if hasattr(self, "network") else None
        assert link is None or link.features == self.server.features

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        try:
            self._all_arrives()
            self._close()
            self._nothing_left()
        finally:
            problems = self.logged.close()
        assert not problems, problems

    def _all_arrives(self) -> None:
        """When everybody reads on and the link is up, all that was said on open streams arrives."""
        for party in self._open():
            party.transport.resumeProducing()
            party.say(1)
        for _ in range(3):
            self.flow()
        for party in self._open():
            if len(party.received) >= NUMBER and not party.cut:
                other = party.other()
                assert party.received == other.sent, (party.number, len(party.received), len(other.sent))

    def _close(self) -> None:
        self.expect(self.network.close())
        self._broken()
        for party in self.parties:
            if party.open:
                party.transport.resumeProducing()
        self.wait_long()
        for party in self.parties:
            if party.open:
                party.transport.loseConnection()
        self.flow()
        self.expect(self.server.close())
        self.wait_long()
        self.expect(self.hub.close())
        self.flow()

    def _nothing_left(self) -> None:
        assert len(self.outcomes) == self.asked, (self.outcomes, self.asked)
        assert not self.endpoint.up()
        assert not self.server.links
        assert self.server.open_streams == 0
        assert len(self.server.lookups) == 0
        assert self.server.partial.held == 0
        for end in (end for wire in self.endpoint.wires for end in wire):
            mux = end.protocol.mux
            assert (mux.unread, mux.queued, mux.streams, mux.stopped) == (0, 0, {}, set())
            sealed = getattr(end.protocol, "sealed", None)
            assert sealed is None or (len(sealed), len(sealed.sealer)) == (0, 0)
        assert not self.server.identities._by_name
        for party in self.parties:
            assert not party.open, party.number
            party.check()
        assert self.clock.getDelayedCalls() == []
        assert not self.server.stats.violations, self.server.stats.violations


class ProxyMachineTests(SynchronousTestCase):
    """The machine, for trial."""

    def test_any_order(self) -> None:
        """Whatever happens when, bytes arrive in order, all that was asked is answered, and nothing is left."""
        checks = list(HealthCheck)
        run_state_machine_as_test(
            ProxyMachine,
            settings=settings(deadline=None, max_examples=150, stateful_step_count=40, suppress_health_check=checks),
        )
