"""What the user of :class:`spaceswarm_proxy.network.dht.DHTNetwork` has a say in before a stream opens."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from spaceswarm_proxy.dht.nat import NatSampler
from spaceswarm_proxy.errors import PeerUnreachableError
from spaceswarm_proxy.interfaces import IPeeringNetwork, ISignsOfLife, PeerAddress
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.streams import OpenStreams
from tests.network.dht_world import DHTNetworkTestCase
from tests.network.support import Collector

RELAY = b"\x07" * 32


class FirewallTests(DHTNetworkTestCase):
    """Who may open a stream to us."""

    def asked(self, answer: Any) -> tuple[DHTNetwork, DHTNetwork, Collector, list[PeerAddress]]:
        """A network that connects, one that asks and listens, what comes there, and who was asked about."""
        near, far = self.pair()
        asked: list[PeerAddress] = []
        collector = Collector()
        self.wait(far.listen(collector, firewall=lambda address: asked.append(address) or answer))
        return near, far, collector, asked

    def test_interface(self) -> None:
        """It is a network that leaves its user that choice."""
        verifyObject(IPeeringNetwork, self.network())

    def test_refused(self) -> None:
        """Whom the firewall refuses hears nothing, and nothing is built for him; who is not, connects."""
        near, far, collector, asked = self.asked(succeed(True))
        self.fails(near.connect(far.peer, Collector()), PeerUnreachableError)
        self.assertEqual([], collector.built)
        self.assertEqual({near.public_key}, {address.public_key for address in asked})

    def test_admitted(self) -> None:
        """Whom it does not refuse, at once or later, connects."""
        later: Deferred[bool] = Deferred()
        near, far, collector, asked = self.asked(later)
        connecting = near.connect(far.peer, Collector())
        self.reactor.elapse(0.5)
        self.assertEqual(([near.public_key], []), ([address.public_key for address in asked], collector.built))
        later.callback(False)
        self.wait(connecting)

    def test_networks_own(self) -> None:
        """The network's own firewall is asked first: whom that refuses, nobody else is asked about."""
        near, far, collector, asked = self.asked(False)
        far.firewall = lambda address: True
        self.fails(near.connect(far.peer, Collector()), PeerUnreachableError)
        self.assertEqual(([], []), (collector.built, asked))


class RelayTests(DHTNetworkTestCase):
    """Which relays a stream may go through."""

    def said(self, network: DHTNetwork, **options: Any) -> Any:
        """What the node is told of relays when a stream is to be opened."""
        told: list[Any] = []
        self.patch(network.node, "connect", lambda *_, relay_through, **__: told.append(relay_through) or Deferred())
        network.connect(network.with_identity().peer, Collector(), **options).addErrback(lambda _: None).cancel()
        return told[0]

    def test_connect(self) -> None:
        """What is said of relays for one stream counts for that one, even if it is none; else, the network's own."""
        network = self.network(relay_through=[RELAY])
        self.assertEqual((RELAY,), self.said(network))
        self.assertEqual([], self.said(network, relay_through=[]))
        self.assertEqual([b"x"], self.said(network, relay_through=[b"x"]))

    def test_listen(self) -> None:
        """Who listens may be asked for each client; when that fails, there is no relay."""
        asked: list[int] = []

        def choose() -> list[bytes]:
            asked.append(1)
            return [b"short"] if len(asked) == 2 else []

        near, far = self.pair()
        self.wait(far.listen(Collector(), relay_through=choose))
        self.assertEqual(0, len(asked))
        for count in (1, 2):
            self.wait(near.connect(far.peer, Collector()))
            self.assertEqual(count, len(asked))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_randomized(self) -> None:
        """Others see a network at one port, or each at another."""
        network = self.network(self.world())
        self.assertFalse(network.randomized)
        nat = network.node._core.nat = NatSampler()
        self.assertFalse(network.randomized)
        for port in range(1, 9):
            nat.add(bytes([192, 0, 2, 1, port, 0]))
        self.assertTrue(network.randomized)


class LocalTests(DHTNetworkTestCase):
    """Whether addresses in local networks are used."""

    def told(self, network: DHTNetwork) -> list[Any]:
        """What the node is told of them when a stream is to be opened, and when somebody listens."""
        told: list[Any] = []
        node = network.node
        self.patch(node, "connect", lambda *_, local_connection, **__: told.append(local_connection) or Deferred())
        self.patch(node, "listen", lambda *_, share_local_address, **__: told.append(share_local_address) or Deferred())
        network.connect(network.with_identity().peer, Collector()).addErrback(lambda _: None).cancel()
        network.listen(Collector()).addErrback(lambda _: None).cancel()
        return told

    def test_local(self) -> None:
        """They are, unless the network was told otherwise; its other identities do as it does."""
        for local in (True, False):
            network = self.network(local=local)
            self.assertEqual([local, local], self.told(network))
            self.assertEqual([local, local], self.told(network.with_identity()))


class SignsOfLifeTests(DHTNetworkTestCase):
    """When something has happened to the network, every stream is tried."""

    def written(self, protocol: Any) -> int:
        return int(ISignsOfLife(protocol.transport).raw_bytes_written)

    def test_network_changed(self) -> None:
        """When our address is another one, each stream says that it is there; no protocol hears of it."""
        near, far = self.pair()
        one, other = self.connected(near, far)
        before = self.written(one)
        near.node.events.emit("network_changed")
        self.assertGreater(self.written(one), before)
        self.reactor.elapse(0.1)
        self.assertEqual((b"", b""), (one.received, other.received))

    def test_online_again(self) -> None:
        """So it is when somebody answers again."""
        near, far = self.pair()
        one, _ = self.connected(near, far)
        online = near.node._core.upkeep.health
        self.patch(online, "online", False)
        near.node.events.emit("unreachable")
        before = self.written(one)
        online.online = True
        near.node.events.emit("reachable")
        self.assertGreater(self.written(one), before)

    def test_others(self) -> None:
        """Streams without signs of life are left alone."""
        streams = OpenStreams()
        streams.opened(object())
        streams.prod()
        self.assertEqual(1, len(streams))
