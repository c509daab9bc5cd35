"""Tests for ``spaceswarm_proxy.endpoint_strings`` and the plugin that offers it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.endpoint_strings import SpaceswarmParser
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.own_network import OwnNetworkClientEndpoint, OwnNetworkServerEndpoint
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.secret.connection import Settings
from spaceswarm_proxy.secret.endpoints import SecretClientEndpoint, SecretServerEndpoint
from spaceswarm_proxy.testing import TestNet
from spaceswarm_proxy.websocket import MAX_MESSAGE, WebSocketClientEndpoint, WebSocketServerEndpoint
from tests.dht.stepping import SteppedReactor
from tests.websocket.test_endpoints import Echo, Sink

SEED = "01" * 32


class WebSocketStringTests(SynchronousTestCase):
    """``ws:``"""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def server(self, text: str) -> Any:
        endpoint = serverFromString(self.reactor, text)
        self.assertIsInstance(endpoint, WebSocketServerEndpoint)
        return endpoint

    def client(self, text: str) -> Any:
        endpoint = clientFromString(self.reactor, text)
        self.assertIsInstance(endpoint, WebSocketClientEndpoint)
        return endpoint

    def test_server(self) -> None:
        """A port alone means the loopback, any path, any origin and the class's limits."""
        endpoint = self.server("ws:4977")
        self.assertEqual((endpoint.path, endpoint.origins, endpoint.subprotocols), (None, None, ()))
        self.assertEqual((endpoint.max_message, endpoint.ping_interval, endpoint.ping_timeout), (MAX_MESSAGE, 30, 30))
        self.successResultOf(endpoint.listen(Factory.forProtocol(Echo)))
        (port, _, _, interface) = self.reactor.tcpServers[0]
        self.assertEqual((port, interface), (4977, "127.0.0.1"))

    def test_server_arguments(self) -> None:
        """Everything can be said in the string."""
        endpoint = self.server(
            "ws:4977:interface=\\:\\::path=proxy:origins=https\\://a.example,https\\://b.example"
            ":maxMessage=1000:ping=5:pingTimeout=6:subprotocol=x,y"
        )
        self.assertIsInstance(endpoint.endpoint, TCP6ServerEndpoint)
        self.assertEqual((endpoint.path, endpoint.origins), ("/proxy", ("https://a.example", "https://b.example")))
        self.assertEqual((endpoint.max_message, endpoint.ping_interval, endpoint.ping_timeout), (1000, 5, 6))
        self.assertEqual(endpoint.subprotocols, ("x", "y"))

    def test_server_over_another(self) -> None:
        """Any endpoint can be wrapped."""
        self.assertIsInstance(self.server("ws:endpoint=unix\\:/run/ws").endpoint, UNIXServerEndpoint)
        self.assertIsInstance(self.server("ws:endpoint=tcp\\:80:path=/").endpoint, TCP4ServerEndpoint)

    def test_client(self) -> None:
        """Host, port and path, or a URL, or another endpoint with what to ask for."""
        for text, url in (
            ("ws:127.0.0.1:4977:path=/proxy", "ws://127.0.0.1:4977/proxy"),
            ("ws:a.example:80:path=proxy", "ws://a.example:80/proxy"),
            ("ws:host=\\:\\:1:port=4977", "ws://[::1]:4977/"),
            ("ws:a.example", "ws://a.example/"),
            ("ws:url=wss\\://a.example/proxy", "wss://a.example/proxy"),
            ("ws:endpoint=unix\\:/run/ws", "ws://localhost/"),
            ("ws:endpoint=tls\\:a.example\\:443:host=a.example:path=/proxy", "ws://a.example/proxy"),
        ):
            self.assertEqual(self.client(text).url, url)
        self.assertIsInstance(self.client("ws:endpoint=unix\\:/run/ws").endpoint, UNIXClientEndpoint)

    def test_client_arguments(self) -> None:
        """The rest can be said too."""
        endpoint = self.client(
            "ws:a.example:80:origin=https\\://b.example:subprotocol=x:maxMessage=9:ping=0:pingTimeout=1"
        )
        self.assertEqual((endpoint.origin, endpoint.subprotocols), ("https://b.example", ("x",)))
        self.assertEqual((endpoint.max_message, endpoint.ping_interval, endpoint.ping_timeout), (9, 0, 1))

    def test_mistakes(self) -> None:
        """What is missing, contradictory or malformed is told when the string is read."""
        for text in ("ws:", "ws:80:endpoint=tcp\\:80", "ws:http", "ws:80:ping=often"):
            self.assertRaises(ValueError, serverFromString, self.reactor, text)
        for text in ("ws:", "ws:url=http\\://a.example/", "ws:a.example:http"):
            self.assertRaises(ValueError, clientFromString, self.reactor, text)
        self.assertRaises(TypeError, serverFromString, self.reactor, "ws:80:colour=blue")


class SecretStringTests(SynchronousTestCase):
    """``secret:``"""

    KEY = "ab" * 32

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def server(self, text: str) -> Any:
        endpoint = serverFromString(self.reactor, f"secret:{text}")
        self.assertIsInstance(endpoint, SecretServerEndpoint)
        return endpoint

    def client(self, text: str) -> Any:
        endpoint = clientFromString(self.reactor, f"secret:{text}")
        self.assertIsInstance(endpoint, SecretClientEndpoint)
        return endpoint

    def test_server(self) -> None:
        """An endpoint to listen on and who we are is enough: then everybody may connect."""
        endpoint = self.server(f"tcp\\:4978:key={SEED}")
        self.assertIsInstance(endpoint.endpoint, TCP4ServerEndpoint)
        self.assertEqual((bytes.fromhex(SEED), None), (endpoint.key_pair.seed, endpoint.client_keys))
        self.assertEqual(("XX", Settings()), (endpoint.pattern, endpoint.settings))

    def test_client(self) -> None:
        """An endpoint to connect to and whose it must be; without a key of our own we are somebody new."""
        endpoint = self.client(f"unix\\:/run/proxy:server={self.KEY}")
        self.assertIsInstance(endpoint.endpoint, UNIXClientEndpoint)
        self.assertEqual((None, (bytes.fromhex(self.KEY),)), (endpoint.key_pair, endpoint.server_keys))
        self.assertIsNone(self.client("unix\\:/run/proxy:server=any").server_keys)

    def test_arguments(self) -> None:
        """The rest can be said too, the same for both, but for what only a server has."""
        common = "pattern=IK:profile=hyperswarm:timeout=5:keepAlive=6:silence=7:maxMessage=8"
        settings = Settings(HYPERSWARM.stream_labels, 8, 5, 6, 7)
        server = self.server(f"tcp\\:1:key={SEED}:clients={self.KEY},{SEED}:maxPending=9:{common}")
        self.assertEqual(((bytes.fromhex(self.KEY), bytes.fromhex(SEED)), 9), (server.client_keys, server.max_pending))
        client = self.client(f"tcp\\:a.example\\:1:key={SEED}:server={self.KEY}:{common}")
        self.assertEqual(bytes.fromhex(SEED), client.key_pair.seed)
        for endpoint in (server, client):
            self.assertEqual(("IK", settings), (endpoint.pattern, endpoint.settings))

    def test_key_file(self) -> None:
        """The seed may stand in a file."""
        path = self.mktemp()
        Path(path).write_text(SEED + "\n")
        self.assertEqual(bytes.fromhex(SEED), self.server(f"tcp\\:1:key={path}").key_pair.seed)
        Path(path).write_text("something else")
        problem = self.assertRaises(ValueError, self.server, f"tcp\\:1:key={path}")
        self.assertEqual(f"{path} is no seed: 64 hex digits", str(problem))
        self.assertRaises(OSError, self.server, f"tcp\\:1:key={path}.not")

    def test_secret_kept(self) -> None:
        """A seed with a mistake in it is not shown around."""
        problem = self.assertRaises(ValueError, self.server, f"tcp\\:1:key={SEED[:-1]}x")
        self.assertNotIn(SEED[:-1], str(problem))

    def test_mistakes(self) -> None:
        """What is missing, contradictory or malformed is told when the string is read."""
        for text in ("", "tcp\\:1", f"key={SEED}", f"tcp\\:1:key={SEED}:clients=", f"tcp\\:1:key={SEED}:clients=ab"):
            self.assertRaises(ValueError, serverFromString, self.reactor, f"secret:{text}")
        for text in (
            "",
            "tcp\\:a\\:1",
            f"server={self.KEY}",
            "tcp\\:a\\:1:server=ab",
            f"tcp\\:a\\:1:server={self.KEY}:pattern=NN",
            "tcp\\:a\\:1:server=any:pattern=IK",
            f"tcp\\:a\\:1:server={self.KEY}:profile=nowhere",
            f"tcp\\:a\\:1:server={self.KEY}:timeout=soon",
        ):
            self.assertRaises(ValueError, clientFromString, self.reactor, f"secret:{text}")
        self.assertRaises(
            TypeError, clientFromString, self.reactor, f"secret:tcp\\:a\\:1:server={self.KEY}:colour=blue"
        )


class SpaceswarmStringTests(SynchronousTestCase):
    """``spaceswarm:``"""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def test_kinds(self) -> None:
        """A topic is listened at or connected to, a peer is connected to; no network is made before that."""
        server = serverFromString(self.reactor, f"spaceswarm:topic=my room:proxy=tcp\\:127.0.0.1\\:9:seed={SEED}")
        self.assertIsInstance(server, OwnNetworkServerEndpoint)
        for text in ("topic=my room:timeout=5", f"peer={'AB' * 32}:token=secret", "peer=10.0.0.1\\:80"):
            self.assertIsInstance(clientFromString(self.reactor, f"spaceswarm:{text}"), OwnNetworkClientEndpoint)
        self.assertEqual((self.reactor.tcpClients, self.reactor.getDelayedCalls()), ([], []))

    def test_proxy(self) -> None:
        """A connection goes to the proxy's default port."""
        connecting = clientFromString(self.reactor, "spaceswarm:topic=my room").connect(Factory.forProtocol(Echo))
        self.reactor.advance(1)
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 4978))
        connecting.addErrback(lambda _: None)
        connecting.cancel()

    def test_secrets(self) -> None:
        """Seed and token may stand in files."""
        seed, token = self.mktemp(), self.mktemp()
        Path(seed).write_text(SEED + "\n")
        Path(token).write_text("secret\n")
        make: Any = SpaceswarmParser().client(self.reactor, topic="x", seedFile=seed, tokenFile=token)
        network = make._make_network()
        self.addCleanup(network.close)
        self.assertEqual((network.key_pair.seed, network.token), (bytes.fromhex(SEED), b"secret"))

    def test_end_to_end(self) -> None:
        """Whether a server may have the secret key can be said; anything but yes and no is a mistake."""
        for text, expected in (("", None), (":endToEnd=yes", True), (":endToEnd=no", False)):
            made: Any = clientFromString(self.reactor, f"spaceswarm:topic=x{text}")
            network = made._make_network()
            self.addCleanup(network.close)
            self.assertIs(expected, network.end_to_end)
        self.assertRaises(ValueError, serverFromString, self.reactor, "spaceswarm:topic=x:endToEnd=maybe")

    def test_node(self) -> None:
        """Without a server it is a node of the real network, where the string says."""
        reactor = SteppedReactor()
        text = f"spaceswarm:topic=x:network=dht:profile=hyperswarm:bootstrap=127.0.0.1\\:1:host=127.0.0.1:seed={SEED}"
        network: Any = clientFromString(reactor, text)._make_network()  # type: ignore[attr-defined]
        self.assertEqual(bytes.fromhex(SEED), network.key_pair.seed)
        self.assertEqual(("hyperswarm", "127.0.0.1"), (network.node.profile.name, network.node.address.host))
        self.successResultOf(network.close())
        self.assertEqual((set(), []), (reactor.readers, reactor.getDelayedCalls()))

    def test_node_mistakes(self) -> None:
        """So is what a node can't be."""
        for text in ("profile=moon", "bootstrap=a", "host=a.example", "port=x", "port=65536", "token=a", "proxy=tcp"):
            text = f"spaceswarm:topic=x:network=dht:{text}"
            self.assertRaises((ValueError, TypeError), serverFromString, self.reactor, text)

    def test_mistakes(self) -> None:
        """What is missing, contradictory or malformed is told when the string is read."""
        for text in ("", "topic=x:seed=01", "topic=x:seed=zz", "topic=x:token=a:tokenFile=b", "topic=x:network=moon"):
            self.assertRaises(ValueError, serverFromString, self.reactor, f"spaceswarm:{text}")
        for text in ("", f"topic=x:peer={'ab' * 32}", "topic=x:timeout=soon"):
            self.assertRaises(ValueError, clientFromString, self.reactor, f"spaceswarm:{text}")
        self.assertRaises(TypeError, clientFromString, self.reactor, "spaceswarm:topic=x:colour=blue")


class PluginTests(TestCase):
    """What Twisted makes of it."""

    async def test_strings_alone(self) -> None:
        """Two strings make a connection."""
        from twisted.internet import reactor

        echo, sink = Echo(), Sink(5)
        port = await serverFromString(reactor, "ws:0").listen(Factory.forProtocol(lambda: echo))
        self.addCleanup(port.stopListening)
        text = f"ws:127.0.0.1:{port.getHost().port}"
        await clientFromString(reactor, text).connect(Factory.forProtocol(lambda: sink))
        sink.transport.write(b"hello")
        await sink.full
        sink.transport.loseConnection()
        await echo.done
        await sink.done

    async def test_whole_house(self) -> None:
        """Strings alone carry two programs through a proxy, over WebSockets, and leave nothing when they are done."""
        from twisted.internet import reactor

        hub = LocalHub(reactor)
        self.addCleanup(hub.close)
        proxy = ProxyServer(hub.network(), reactor=reactor)
        self.addCleanup(proxy.close)
        proxy_port: Any = await serverFromString(reactor, "ws:0").listen(proxy)
        self.addCleanup(proxy_port.stopListening)
        text = f"spaceswarm:topic=my room:proxy=ws\\:127.0.0.1\\:{proxy_port.getHost().port}"
        await self.meets_itself(text)

    async def meets_itself(self, text: str) -> None:
        """Serve and connect by the same string: what is said comes back."""
        from twisted.internet import reactor

        echo, sink = Echo(), Sink(5)
        port: Any = await serverFromString(reactor, text).listen(Factory.forProtocol(lambda: echo))
        await clientFromString(reactor, text).connect(Factory.forProtocol(lambda: sink))
        sink.transport.write(b"hello")
        await sink.full
        sink.transport.loseConnection()
        await echo.done
        await sink.done
        await port.stopListening()

    async def test_without_a_proxy(self) -> None:
        """They do so on the real network too, where each is a node."""
        from twisted.internet import reactor

        net = TestNet(reactor, 3)
        self.addCleanup(net.close)
        await net.ready()
        bootstrap = quoteStringArgument(str(net.bootstrap[0]))
        text = f"spaceswarm:topic=my room:network=dht:host=127.0.0.1:port=0:bootstrap={bootstrap}"
        await self.meets_itself(text)

    def test_light(self) -> None:
        """The plugin, which every program with an endpoint string loads, brings no reactor, WebSockets or crypto."""
        code = (
            "import sys; import twisted.plugins.spaceswarm_endpoints;"
            "print([name for name in ('twisted.internet.reactor', 'websockets', 'nacl') if name in sys.modules])"
        )
        root = Path(__file__).resolve().parent.parent
        out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        self.assertEqual(out.stdout.strip(), "[]")
