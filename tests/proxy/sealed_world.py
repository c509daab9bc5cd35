"""Real clients, real servers and a hub, on one virtual clock; nothing of them may be left at the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.network.support import Collector, Echo, Finder, Recorder
from tests.proxy.client_world import PipeEndpoint
from tests.proxy.world import settle

SERVER = PeerAddress(Peer.at("192.0.2.9", 1))


class SealedTestCase(SynchronousTestCase):
    """A hub, and a server that lets its clients keep their keys; more of both, and clients, as tests want them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = LocalHub(self.clock)
        self.servers: list[ProxyServer] = []
        self.clients: list[ProxyNetwork] = []
        self.endpoint = self.serve()

    @property
    def server(self) -> ProxyServer:
        return self.servers[0]

    def serve(self, network: Any = None, **options: Any) -> PipeEndpoint:
        """:returns: where a new server is."""
        server = ProxyServer(network or self.hub.network(), reactor=self.clock, **options)
        self.servers.append(server)
        return PipeEndpoint(self.clock, lambda: server.buildProtocol(SERVER))

    def client(self, endpoint: PipeEndpoint | None = None, **options: Any) -> ProxyNetwork:
        """:returns: a client of the first server, or of another, that is as far as it comes without time."""
        options = {"backoff": lambda attempt: 1.0, "reactor": self.clock, **options}
        self.clients.append(ProxyNetwork(endpoint or self.endpoint, **options))
        self.settle()
        return self.clients[-1]

    def listener(self, network: Any, build: Any = Echo) -> Collector:
        """Have a network listen.  :returns: the factory of its protocols."""
        collector = Collector(build)
        listening = network.listen(collector)
        self.settle()
        self.successResultOf(listening)
        return collector

    def settle(self) -> None:
        settle(self.clock)

    def step(self, count: int) -> None:
        """Let so much happen that needs no time: as many calls as the reactor would make of itself, at most."""
        calls = self.clock.calls
        for _ in range(count):
            if calls and calls[0].getTime() <= self.clock.seconds():
                call = calls.pop(0)
                call.called = 1
                call.func(*call.args, **call.kw)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            settle(self.clock, 5)

    def outcome(self, done: Deferred[Any]) -> Any:
        """:returns: the result of a Deferred, or the exception that it has failed with."""
        results: list[Any] = []
        done.addCallbacks(results.append, lambda failure: results.append(failure.value))
        self.settle()
        self.assertEqual(1, len(results))
        return results[0]

    def connect(self, network: Any, peer: Any, build: Any = Recorder) -> Any:
        """:returns: the protocol of a stream from one network to another, or why there is none."""
        return self.outcome(network.connect(Peer.keyed(peer.public_key), Collector(build)))

    def talks(self, protocol: Recorder, text: bytes = b"is anybody there?") -> None:
        """What is said on a stream comes back from the other end."""
        protocol.transport.write(text)  # type: ignore[union-attr]
        self.settle()
        self.assertEqual(text, bytes(protocol.received[-len(text) :]))

    def finds(self, network: Any, topic: bytes, who: bytes) -> bool:
        """Is somebody found under a topic?"""
        finder = Finder()
        lookup = network.lookup(topic, finder)
        self.settle()
        lookup.close()
        return any(peer.public_key == who for peer in finder.found)

    def handshakes(self) -> int:
        """How many of them anybody still keeps, at the servers and at the clients."""
        networks = [*self.clients, *(server.network for server in self.servers)]
        links = [network.link for network in networks if isinstance(network, ProxyNetwork)]
        kept = sum(len(link.sealed.sealer) for link in links if link is not None and link.sealed is not None)
        for server in self.servers:
            identities = server.identities._by_name.values()
            kept += sum(identity.keeper.under_way for identity in identities if identity.keeper is not None)
        return kept

    def tearDown(self) -> None:
        self.assertEqual(0, self.handshakes())
        for each in (*self.clients, *reversed(self.servers), self.hub):
            self.outcome(each.close())
        for server in self.servers:
            self.assertEqual((0, 0, 0), (len(server.links), server.open_streams, server.identities.kept))
            self.assertEqual({}, server.identities._by_name)
            self.assertEqual({}, dict(server.stats.violations))
        self.assertEqual([], self.clock.getDelayedCalls())


SOMEBODY = KeyPair.from_seed(b"s" * 32)
