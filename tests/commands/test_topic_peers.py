"""Opening streams to whoever is under a topic."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.topic_peers import TopicPeers
from spaceswarm_proxy.endpoints import ATTEMPT_TIMEOUT, MAX_CANDIDATES
from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    ConnectTimeoutError,
    NetworkUnreachableError,
    PeerUnreachableError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import Peer
from tests.network.support import Collector

TOPIC = bytes(32)
ALICE, BOB, CAROL = (Peer.keyed(bytes([number]) * 32) for number in (1, 2, 3))


class Network:
    """Both a network and its one lookup: what it is asked, and what it is told to answer."""

    def __init__(self) -> None:
        self.receiver: Any = None
        self.rounds = 0
        self.flush: Deferred[None] = Deferred()
        #: Whom a stream was asked for, in order, with those that are under way.
        self.asked: list[Peer] = []
        self.attempts: list[Deferred[Any]] = []

    def lookup(self, topic: bytes, receiver: Any) -> Any:
        self.receiver = receiver
        return self

    def update(self) -> None:
        self.rounds += 1

    def flushed(self) -> Deferred[None]:
        return self.flush

    def connect(self, peer: Peer, factory: Any) -> Deferred[Any]:
        self.asked.append(peer)
        attempt: Deferred[Any] = Deferred(lambda waiting: waiting.errback(ConnectCancelledError()))
        self.attempts.append(attempt)
        return attempt


class TopicPeersTests(SynchronousTestCase):
    """Peers that can be reached, or not."""

    def setUp(self) -> None:
        self.clock, self.network = Clock(), Network()
        network: Any = self.network
        self.peers = TopicPeers(network, TOPIC, self.clock)
        self.factory = Collector()

    def connect(self) -> Deferred[Any]:
        return self.peers.connect(self.factory)

    def find(self, *peers: Peer) -> None:
        for peer in peers:
            self.peers.peer_found(peer)

    def fail_last(self, problem: Exception | None = None) -> None:
        self.network.attempts[-1].errback(problem or PeerUnreachableError("gone"))

    def test_known(self) -> None:
        """Whoever is known is connected to at once, without a question."""
        self.find(ALICE, BOB)
        connecting = self.connect()
        self.network.attempts[0].callback("protocol")
        self.assertEqual("protocol", self.successResultOf(connecting))
        self.assertEqual(([ALICE], 0), (self.network.asked, self.network.rounds))

    def test_waits(self) -> None:
        """Before anybody is known, the first who is found is connected to; the round need not end for it."""
        connecting = self.connect()
        self.find(BOB)
        self.network.attempts[0].callback("protocol")
        self.assertEqual("protocol", self.successResultOf(connecting))

    def test_next(self) -> None:
        """When one cannot be reached it is the next one's turn."""
        self.find(ALICE, BOB, CAROL)
        self.connect()
        self.fail_last()
        self.fail_last()
        self.assertEqual([ALICE, BOB, CAROL], self.network.asked)

    def test_silent(self) -> None:
        """One that does not answer has its turn, and no more."""
        self.find(ALICE, BOB)
        self.connect()
        self.clock.advance(ATTEMPT_TIMEOUT)
        self.assertEqual([ALICE, BOB], self.network.asked)

    def test_best(self) -> None:
        """The one that could be reached last is the first to be tried; one that could not, only when found again."""
        self.find(ALICE, BOB)
        self.connect()
        self.fail_last()
        self.network.attempts[-1].callback("protocol")
        self.find(CAROL, ALICE)
        self.connect()
        self.fail_last()
        self.fail_last()
        self.assertEqual([ALICE, BOB, BOB, CAROL, ALICE], self.network.asked)

    def test_demoted(self) -> None:
        """One that is of no use is the last to be tried; one that is not known any more does not come back."""
        self.find(ALICE, BOB)
        self.peers.demote(ALICE)
        self.peers.demote(CAROL)
        self.connect()
        self.fail_last()
        self.fail_last()
        self.assertEqual([BOB, ALICE], self.network.asked)

    def test_demoted_asks(self) -> None:
        """Then the network is asked whether there are others."""
        self.find(ALICE)
        self.peers.demote(ALICE)
        self.assertEqual(1, self.network.rounds)

    def test_nobody(self) -> None:
        """When nobody is found, that is an error, as soon as the network has answered; it is asked once."""
        connecting = self.connect()
        self.assertNoResult(connecting)
        self.network.flush.callback(None)
        self.failureResultOf(connecting, UnknownPeerError)
        self.assertEqual(1, self.network.rounds)

    def test_answered_at_once(self) -> None:
        """So it is when there is an answer already."""
        self.network.flush = succeed(None)
        problem = self.failureResultOf(self.connect(), UnknownPeerError)
        self.assertEqual("nobody is found under the topic", str(problem.value))

    def test_nobody_reached(self) -> None:
        """When nobody can be reached, the reason is that of the last one; nobody is tried twice."""
        self.find(ALICE)
        connecting = self.connect()
        self.fail_last()
        self.find(ALICE, BOB)
        self.fail_last(ConnectTimeoutError("too late"))
        self.network.flush.callback(None)
        self.failureResultOf(connecting, ConnectTimeoutError)
        self.assertEqual([ALICE, BOB], self.network.asked)

    def test_no_network(self) -> None:
        """When the network does not answer, that is the reason."""
        connecting = self.connect()
        self.network.flush.errback(NetworkUnreachableError())
        self.failureResultOf(connecting, NetworkUnreachableError)

    def test_many(self) -> None:
        """Those who wait at the same time are told at the same time; each has a stream of its own."""
        connecting = [self.connect() for _ in range(3)]
        self.find(ALICE)
        for number, attempt in enumerate(self.network.attempts):
            attempt.callback(number)
        self.assertEqual([0, 1, 2], [self.successResultOf(each) for each in connecting])

    def test_cancelled(self) -> None:
        """It can be given up, while somebody is looked for or connected to; then nobody else is tried."""
        looking = self.connect()
        looking.cancel()
        self.failureResultOf(looking, CancelledError)
        self.find(ALICE, BOB)
        connecting = self.connect()
        connecting.cancel()
        self.failureResultOf(connecting, ConnectCancelledError)
        self.assertEqual([ALICE], self.network.asked)

    def test_bounded(self) -> None:
        """However many there are, a limited number of them is kept; news of those comes through."""
        for number in range(MAX_CANDIDATES + 1):
            self.find(Peer.at("host", number + 1))
        newer = Peer(b"host:1", bytes(32))
        self.find(newer)
        self.network.flush = succeed(None)
        connecting = self.connect()
        for _ in range(MAX_CANDIDATES):
            self.fail_last()
        self.failureResultOf(connecting, PeerUnreachableError)
        self.assertEqual(bytes(32), self.network.asked[0].public_key)
        self.assertEqual(MAX_CANDIDATES, len(self.network.asked))
