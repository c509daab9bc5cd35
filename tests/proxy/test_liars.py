"""Clients and servers that say anything at any time: it costs them their link at most, and nobody else anything."""

from __future__ import annotations

import gc
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.crypto.keeper import proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import BY_CODE
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import pipe
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.features import ALL
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.proxy.wire import Event, EventType, encode
from tests.proxy.client_world import Found, PipeEndpoint, RawServer
from tests.proxy.strategies import bodies, events
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, RawClient, settle

OTHER = b"o" * 32
CHALLENGE = b"c" * 32
LIAR = KeyPair.from_seed(b"l" * 32)
#: Small, so that they are reached.
LIMITS = Limits(max_topics=2, max_streams=3, max_peers=4, max_frame=100_000, max_partial_total=150_000, window=1000)
HEX = b"0123456789abcdef" * 4


def framed(body: bytes) -> bytes:
    return encode_varint(len(body)) + body


def _maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


#: Events that make sense, on their own or one after the other.
sensible = st.sampled_from(
    [
        *(Event(EventType.CONNECT, peer=HEX, request=request) for request in (4, 5)),
        *(Event(EventType.JOIN, topic=TOPIC, request=1, roles=roles) for roles in (None, 1, 3)),
        *(Event(EventType.CONNECT, peer=HEX, request=request) for request in (None, 2, 3)),
        *(Event(kind, request=4) for kind in (EventType.LISTEN, EventType.UNLISTEN, EventType.REPLY)),
        *(Event(EventType.ON_STREAM_OPEN, topic=TOPIC, peer=HEX, stream=n, request=n or None) for n in range(5)),
        *(Event(EventType.REPLY, request=n, code=code, data=b"") for n in range(1, 5) for code in (None, "limit")),
        *(Event(EventType.ON_PEER, topic=TOPIC, peer=peer) for peer in (HEX, b"192.0.2.1:80", b"?")),
        Event(EventType.ON_UPDATED, topic=TOPIC),
        Event(EventType.LEAVE, topic=TOPIC, request=5),
        *(Event(EventType.ON_STREAM_DATA, data=data, stream=n) for data in (b"lies", None, bytes(900)) for n in (0, 1)),
        *(Event(EventType.ON_STREAM_CLOSE, stream=n) for n in (0, 1)),
        *(Event(EventType.ON_STREAM_ERROR, data=b"no", stream=n, code="reset") for n in (0, 1)),
        *(Event(EventType.WINDOW, stream=n, window=500) for n in (0, 1)),
        # End-to-end mode: what a server may ask, and how it may open streams; what a client may answer.
        *(Event(EventType.SEAL, request=n, handshake=n, key=bytes.fromhex(HEX.decode())) for n in (1, 2)),
        *(Event(EventType.SEAL, request=4, handshake=n) for n in (1, 2)),
        *(Event(EventType.UNSEAL, request=5, handshake=n, data=data) for n in (1, 3) for data in (b"?", bytes(96))),
        *(Event(EventType.DROP, handshake=n) for n in (1, 2, 3)),
        *(Event(EventType.SIGN, request=6, token=CHALLENGE, topic=topic, key=OTHER) for topic in (None, OTHER)),
        *(Event(EventType.ON_STREAM_OPEN, peer=HEX, stream=n, request=n or None, handshake=n) for n in range(5)),
        *(Event(EventType.ANSWER, request=n, data=data) for n in (1, 2) for data in (b"", bytes(64), bytes(96))),
        *(Event(EventType.ANSWER, request=n, data=bytes(48), key=OTHER, token=bytes(64)) for n in (1, 2, 3)),
        *(Event(EventType.ANSWER, request=n, code="handshake-error", data=b"no") for n in (1, 2)),
        *(Event(EventType.IDENTIFY, key=LIAR.public_key, data=data, request=3) for data in (None, bytes(64))),
        Event(EventType.FAREWELL, request=4),
    ]
)
#: Events of which each field may make sense.
plausible = st.builds(
    Event,
    type=st.sampled_from(list(EventType)).map(int),
    topic=st.sampled_from([TOPIC, TOPIC, OTHER, b"", None, b"short"]),
    data=_maybe(b"", b"some data", bytes(1200)),
    peer=_maybe(HEX, b"\xff", b"192.0.2.1:80", b""),
    stream=_maybe(0, 0, 1, 2, 3, -1, 2**31 - 1),
    features=_maybe(0, 1, 2, int(CUSTODIAL), int(ALL), 2**70 - 1),
    request=_maybe(0, 1, 2, 3, 4, 5, 2**64),
    code=_maybe(*sorted(BY_CODE), "no such code"),
    roles=_maybe(0, 1, 2, 3, 7, 2**64),
    window=_maybe(0, 1, 1000, 2**53, 2**64),
    key=_maybe(b"k" * 32, b"k" * 64, b"short", b"", LIAR.public_key),
    token=_maybe(CHALLENGE, b"", bytes(64)),
    handshake=_maybe(0, 1, 2, 3, 2**64),
    profile=_maybe("spaceswarm", "hyperswarm", "", "x" * 1000),
)
#: What a liar says: mostly frames, good, odd and damaged, or just bytes.
lies = st.one_of(
    st.lists(sensible.map(encode), min_size=3, max_size=20).map(b"".join),
    plausible.map(encode),
    events.map(encode),
    bodies.map(framed),
    st.binary(min_size=1, max_size=20),
    st.just(framed(bytes(90_000))[:50_000]),
)
#: Lies, and the seconds that pass after each.
stories = st.lists(st.tuples(lies, st.sampled_from([0, 0, 0, 1, 20])), min_size=3, max_size=25)
#: A liar says READY first, as a rule; else little of the rest is looked at.
OPENINGS = [
    *(Event(1, features=each, window=1000) for each in (None, 2, int(CUSTODIAL))),
    *[Event(1, features=int(ALL), window=1000, token=CHALLENGE, profile="spaceswarm", data=b"one\ntwo")] * 3,
]
greetings = st.sampled_from([b"", *map(encode, OPENINGS)])
checked = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Honest:
    """A server, a peer that echoes, and a client with a stream to it."""

    def __init__(self, endpoint: PipeEndpoint | None = None) -> None:
        self.clock = endpoint.clock if endpoint else Clock()
        self.hub = LocalHub(self.clock)
        self.server = ProxyServer(self.hub.network(), limits=LIMITS, reactor=self.clock)
        self.peer = self.hub.network()
        self.peer.listen(Factory.forProtocol(Echo))
        self.peer.announce(TOPIC)

    def client(self) -> ProxyNetwork:
        endpoint = PipeEndpoint(self.clock, lambda: self.server.buildProtocol(PeerAddress(Peer.at("192.0.2.9", 1))))
        network = ProxyNetwork(endpoint, reactor=self.clock)
        settle(self.clock)
        return network

    def stream(self, network: ProxyNetwork) -> Any:
        """A stream to the peer that echoes."""
        peers = Peers()
        network.connect(Peer.keyed(self.peer.public_key), peers)
        settle(self.clock)
        return peers.built[0]

    def close(self, *networks: ProxyNetwork) -> None:
        for each in (*networks, self.server, self.hub):
            each.close()
            settle(self.clock)


class LiarTestCase(SynchronousTestCase):
    """What must be left at the end: nothing."""

    def nothing_left(self, clock: Clock, server: ProxyServer) -> None:
        counts = (len(server.links), server.open_streams, len(server.lookups), server.partial.held)
        self.assertEqual(counts, (0, 0, 0, 0))
        self.assertEqual({}, server.identities._by_name)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class LyingClientTests(LiarTestCase):
    """A client that says anything, beside an honest one."""

    @checked
    @given(greeting=greetings, identify=st.booleans(), story=stories)
    def test_lying_client(self, greeting: bytes, identify: bool, story: list[tuple[bytes, int]]) -> None:
        """Its neighbour does not notice, and of the liar nothing is left but counts."""
        honest = Honest()
        network = honest.client()
        told: list[object] = []
        network.events.on("disconnected", told.append)
        protocol = honest.stream(network)
        liar = self.begin(honest)
        liar.send(greeting)
        if identify:
            self.identify(honest, liar)
        said = 0
        for lie, seconds in story:
            lie = lie.replace(HEX, honest.peer.public_key.hex().encode())
            if not liar.lost:
                liar.send(lie)
            honest.clock.advance(seconds)
            settle(honest.clock, 8)
            protocol.transport.write(b"still here")
            said += 10
            settle(honest.clock, 8)
            self.assertEqual(len(protocol.received), said)
        self.assertEqual(told, [])
        liar.transport.abortConnection()
        settle(honest.clock)
        self.assertEqual(len(honest.server.links), 1)
        honest.close(network)
        self.nothing_left(honest.clock, honest.server)
        self.assertLessEqual(sum(honest.server.stats.violations.values()), 1)

    def begin(self, honest: Honest) -> RawClient:
        liar = RawClient()
        near, far = pipe(honest.clock, PeerAddress(Peer.at("192.0.2.66", 1)), PeerAddress(Peer.at("192.0.2.1", 4978)))
        far.attach(honest.server.buildProtocol(far.getPeer()))
        near.attach(liar)
        settle(honest.clock, 5)
        return liar

    def identify(self, honest: Honest, liar: RawClient) -> None:
        """It is who it says, if it is asked; then it is connected to, too."""
        settle(honest.clock, 8)
        for ready in liar.events(EventType.READY):
            if ready.token is not None:
                proof = LIAR.sign(proof_signable(ready.token))
                liar.send(Event(EventType.IDENTIFY, key=LIAR.public_key, data=proof), Event(EventType.LISTEN))
                settle(honest.clock, 8)
                honest.peer.connect(Peer.keyed(LIAR.public_key), Peers()).addBoth(lambda _: None)


class LyingServerTests(LiarTestCase):
    """A server that says anything."""

    @checked
    @given(greeting=greetings, story=stories)
    def test_lying_server(self, greeting: bytes, story: list[tuple[bytes, int]]) -> None:
        """The client loses a link at most; with an honest server all is as it should be, and nothing is left."""
        clock = Clock()
        endpoint = PipeEndpoint(clock, RawServer)
        honest = Honest(endpoint)
        network = ProxyNetwork(endpoint, limits=LIMITS, backoff=lambda _: 1.0, reactor=clock)
        settle(clock, 5)
        found, asked = Found(), self.ask(network)
        network.lookup(TOPIC, found)
        for lie, seconds in [(greeting, 0), *story]:
            if not endpoint.server.lost:
                endpoint.server.send(lie)
            clock.advance(seconds)
            settle(clock, 8)
        endpoint.build = lambda: honest.server.buildProtocol(PeerAddress(Peer.at("192.0.2.9", 1)))
        endpoint.pipes[-1][1].abortConnection()
        for _ in range(60):
            clock.advance(1)
            settle(clock, 3)
        self.assertTrue(network.status().online)
        self.assertIn(honest.peer.public_key, [peer.public_key for peer in found.peers])
        protocol = honest.stream(network)
        protocol.transport.write(b"at last")
        settle(clock)
        self.assertEqual(protocol.received, b"at last")
        honest.close(network)
        self.assertEqual([each for each in asked if not each], [])
        self.nothing_left(clock, honest.server)

    def ask(self, network: ProxyNetwork) -> list[list[object]]:
        """Everything that can be asked of a network.  :returns: where the outcome of each will be."""
        announcement = network.announce(OTHER)
        deferreds = [
            network.connect(Peer.from_id(b"192.0.2.1:80"), Peers()),
            network.connect(Peer.from_id(HEX), Peers()),
            announcement.flushed(),
            network.listen(Peers()),
            network.lookup(OTHER, Found()).flushed(),
        ]
        outcomes: list[list[object]] = [[] for _ in deferreds]
        for deferred, outcome in zip(deferreds, outcomes, strict=True):
            deferred.addBoth(lambda result, outcome=outcome: outcome.append(str(result)))
        return outcomes

    def tearDown(self) -> None:
        gc.collect()  # a failure that nobody handled would be logged now
