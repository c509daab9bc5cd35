"""``twistd spaceswarm-proxy`` on a network of JavaScript nodes, between JavaScript peers and clients of either kind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.swarm import Swarm
from tests.interop.dht_support import LOOPBACK, TOPIC, DHTTestCase, TheirNetwork, collected, until
from tests.interop.node import NodeProcess
from tests.interop.proxy_support import ProxyTestCase, nothing_where_ws_clients_go_first
from tests.network.support import Collector
from tests.service.child import Twistd

#: Nodes of the network in between.
SIZE = 4
#: Seconds for which a client is found without its link.
GRACE = 3.0


class WithService:
    """A server in a process of its own, and its clients."""

    async def begin(self: Any, *arguments: str) -> None:
        """A network of theirs, and our server as a node of it."""
        await nothing_where_ws_clients_go_first()
        self.net = await self.their_network(SIZE)
        self.onlooker = await self.our_node(self.net.bootstrap)
        self.service = Twistd(or_global(None), self.mktemp(), "spaceswarm-proxy", *self.where(self.net), *arguments)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.service.kill()))
        self.tcp, self.ws = await self.service.port(), int((await self.service.line(r"listening on ws:(\d+)"))[1])

    def where(self: Any, net: TheirNetwork) -> list[str]:
        node = ["--profile", self.profile, "--bootstrap", str(net.bootstrap), "--host", LOOPBACK, "--port", "0"]
        return [*node, "--listen", "tcp:0:interface=127.0.0.1", "--listen", "ws:0", "--grace", "0.1"]

    async def end(self: Any) -> None:
        """The server stops when it is told to, and has nothing to complain of."""
        self.service.signal("TERM")
        self.assertEqual((0, ""), (await self.service.ended, self.service.errors))
        self.assertNotIn("Traceback", self.service.output)

    # Clients and peers.

    async def our_client(self: Any, carrier: str) -> tuple[Swarm, Collector]:
        """A swarm of ours behind the server, and who keeps its connections."""
        where = HostPort("127.0.0.1", self.tcp if carrier == "tcp" else self.ws)
        network = ProxyNetwork(clientFromString(or_global(None), f"{carrier}:{where}"))
        collector = Collector()
        swarm = Swarm(network, collector)
        self.addCleanup(swarm.close)
        await network.when_online()
        return swarm, collector

    def their_client(self: Any, carrier: str, **options: Any) -> NodeProcess:
        """A JavaScript client of the server that has joined the topic."""
        script = "proxy_session_client.js" if carrier == "tcp" else "proxy_ws_client.js"
        where = {"tcp": self.tcp} if carrier == "tcp" else {"ws": f"ws://127.0.0.1:{self.ws}"}
        return ProxyTestCase.script(self, script, **where, topic=TOPIC.hex(), updates=True, **options)

    def their_swarm(self: Any, **roles: str) -> NodeProcess:
        """A JavaScript peer that greets whom it meets, and sends back what it hears."""
        return self.script("swarm_peer.js", bootstrap=self.net.bootstrap, topic=TOPIC, say="hello", **roles)

    # Conversations.

    async def we_talk(self: Any, collector: Collector, key: str) -> None:
        """Our client has one connection, with this peer, and text goes both ways over it."""
        protocol = await collector.connected()
        self.assertEqual(key, protocol.transport.getPeer().public_key.hex())
        await protocol.receives(b"hello")
        protocol.transport.write(b"from Python")
        await protocol.receives(b"helloecho:from Python")
        self.assertEqual(1, len(collector.built))

    async def they_talk(self: Any, client: NodeProcess, key: str) -> None:
        """The same of a JavaScript client."""
        connection = await client.event("connection")
        self.assertEqual((key, TOPIC.hex()), (connection["peer"], connection["topic"]))
        self.assertEqual("hello", (await client.event("data"))["text"])
        client.write(f"write {connection['id']} from JavaScript")
        self.assertEqual("echo:from JavaScript", (await client.event("data"))["text"])
        self.assertEqual(1, len([event for event in client.events if event["event"] == "connection"]))

    # Tests.

    async def test_they_are_found(self: Any) -> None:
        """Clients of every kind find a peer, which sees each of them once, as somebody else; a text goes both ways."""
        await self.begin()
        theirs = self.their_swarm(client="false")
        key = (await theirs.event("ready"))["publicKey"]
        await theirs.event("announced")
        ours = [await self.our_client(carrier) for carrier in ("tcp", "ws")]
        for swarm, _ in ours:
            swarm.join(TOPIC, server=False)
        clients = [self.their_client(carrier) for carrier in ("tcp", "ws")]
        for _, collector in ours:
            await self.we_talk(collector, key)
        for client in clients:
            await self.they_talk(client, key)
        connections = [event["remotePublicKey"] for event in theirs.events if event["event"] == "connection"]
        self.assertEqual((4, 4), (len(connections), len(set(connections))))
        self.assertLess({swarm.network.public_key.hex() for swarm, _ in ours}, set(connections))
        await self.end()

    async def test_they_find_us(self: Any) -> None:
        """A peer finds clients of ours and, where the operator has said so, of theirs; nobody finds them afterwards."""
        await self.begin("--announce")
        ours = [await self.our_client(carrier) for carrier in ("tcp", "ws")]
        for swarm, _ in ours:
            self.assertTrue(await swarm.join(TOPIC, client=False).flushed())
        clients = [self.their_client(carrier, autoconnect=False) for carrier in ("tcp", "ws")]
        await until(lambda: self.found(4))
        theirs = self.their_swarm(server="false")
        key = (await theirs.event("ready"))["publicKey"]
        for _, collector in ours:
            await self.we_talk(collector, key)
        for client in clients:
            await self.they_talk(client, key)
        await self.end()
        self.assertTrue(await self.found(0))

    async def found(self: Any, count: int) -> bool:
        """Do the nodes of theirs tell of so many peers of the topic?"""
        replies = await collected(self.onlooker.lookup(TOPIC))
        return len({peer.public_key for reply in replies for peer in reply.value.peers}) == count

    async def test_neighbours(self: Any) -> None:
        """
        Clients of one server meet each other once, although the network tells of them too.

        Two who connect to each other at the same moment may both see the one that goes; it is gone at once.
        """
        await self.begin()
        swarm, collector = await self.our_client("tcp")
        self.assertTrue(await swarm.join(TOPIC).flushed())
        other, others = await self.our_client("ws")
        await other.join(TOPIC).flushed()
        client = self.their_client("tcp", greeting="hello")
        keys = {(await client.event("connection"))["peer"] for _ in range(2)}
        self.assertEqual({each.network.public_key.hex() for each in (swarm, other)}, keys)
        await collector.connected(1)
        await others.connected(1)
        for each in (swarm, other):
            await each.flush()
            self.assertEqual(2, len(each.connections))
        for each in (collector, others):
            self.assertEqual(2, len([protocol for protocol in each.built if protocol.lost is None]))
        await self.end()

    async def test_farewell(self: Any) -> None:
        """A client that keeps its key is found until it leaves, and then no more: it signs that, too."""
        await self.begin()
        swarm, _ = await self.our_client("tcp")
        self.assertTrue(swarm.network.seals)
        self.assertTrue(await swarm.join(TOPIC).flushed())
        self.assertTrue(await self.found(1))
        await swarm.close()
        self.assertTrue(await self.found(0))
        await self.end()

    async def test_grace(self: Any) -> None:
        """
        A link that is lost and comes back changes nothing for others; without it the client is found no more, as the
        server has its key.
        """
        await self.begin("--identity-grace", str(GRACE))
        key_pair = KeyPair.generate()
        for _ in range(2):
            transport = await self.announced(key_pair)
            self.assertTrue(await self.found(1))
            transport.abortConnection()
            self.assertTrue(await self.found(1))
        await until(lambda: self.found(0))
        await self.end()

    async def announced(self: Any, key_pair: KeyPair) -> Any:
        """A client of ours that is announced.  :returns: the transport of its link, which does not come back."""
        carrier = await clientFromString(or_global(None), f"tcp:127.0.0.1:{self.tcp}").connect(
            Factory.forProtocol(Protocol)
        )
        network = ProxyNetwork.over(carrier.transport, key_pair=key_pair, end_to_end=False)
        self.addCleanup(network.close)
        await network.listen(Collector())
        await network.announce(TOPIC).flushed()
        return carrier.transport


class SpaceswarmTests(WithService, DHTTestCase):
    """On a Spaceswarm network."""

    profile = "spaceswarm"


class HyperswarmTests(WithService, DHTTestCase):
    """On a Hyperswarm network."""

    profile = "hyperswarm"
