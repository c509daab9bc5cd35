"""
A network behind a proxy, over every kind of carrier, and behind two: the same promises, over real sockets.

A class here is a carrier, what the server shows, and who has the clients' keys; more are where those networks are
tested.
"""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.certificates import Authority, write
from tests.network.conformance import NetworkConformance
from tests.network.support import Collector


class ProxiedConformance(NetworkConformance):
    """
    Every network is a client of its own of one server, by loopback TCP unless a carrier says otherwise.

    They keep their keys unless :attr:`modes` says otherwise.
    """

    #: Whether each network keeps its key: the first, the second, the first again...
    modes: tuple[bool, ...] = (True,)

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        return Deferred.fromCoroutine(self._make_networks(count))

    async def _make_networks(self, count: int) -> list[Any]:
        where = await self.serve(await self.shown())
        modes = [self.modes[index % len(self.modes)] for index in range(count)]
        networks = [ProxyNetwork(where, end_to_end=None if sealed else False) for sealed in modes]
        for network, sealed in zip(networks, modes, strict=True):
            await network.when_online()
            self.assertEqual(sealed, network.seals)
        return networks

    async def shown(self) -> Any:
        """:returns: the network that the server shows."""
        return LocalHub().network()

    async def serve(self, network: Any) -> IStreamClientEndpoint:
        """Let a server show the network.  :returns: by what its clients reach it."""
        server = ProxyServer(network)
        port = await serverFromString(reactor, self.listen_at()).listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(server.close)
        return self.connect_to(port.getHost())

    def listen_at(self) -> str:
        return "tcp:0:interface=127.0.0.1"

    def connect_to(self, address: Any) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, f"tcp:127.0.0.1:{address.port}")
        return endpoint


class TwoProxiesConformance(ProxiedConformance):
    """A proxy may stand behind a proxy; it keeps its own key as its clients do theirs."""

    backpressure_limit = 2 * ProxiedConformance.backpressure_limit

    async def serve(self, network: Any) -> IStreamClientEndpoint:
        inner = ProxyNetwork(await super().serve(network))
        await inner.when_online()
        return await super().serve(inner)


class TCPConformanceTests(ProxiedConformance, TestCase):
    """Over loopback TCP."""

    async def test_end_to_end(self) -> None:
        """What clients that keep their keys say to each other is secret all the way, and they are told so."""
        one, two = await self.networks(2)
        listening = await self.listening(two)
        protocol = await one.connect(Peer.keyed(two.public_key), Collector())
        await listening.when(lambda: listening.built)
        for each in (protocol, listening.built[0]):
            self.assertTrue(each.transport.getPeer().end_to_end)


class CustodialConformanceTests(ProxiedConformance, TestCase):
    """Over loopback TCP, the server having all the keys."""

    modes = (False,)

    async def test_not_end_to_end(self) -> None:
        """Clients whose server has their keys are not told that anything is secret."""
        one, two = await self.networks(2)
        listening = await self.listening(two)
        protocol = await one.connect(Peer.keyed(two.public_key), Collector())
        await listening.when(lambda: listening.built)
        for each in (protocol, listening.built[0]):
            self.assertFalse(each.transport.getPeer().end_to_end)


class MixedConformanceTests(ProxiedConformance, TestCase):
    """Over loopback TCP, the server having the keys of some."""

    modes = (True, False)


class TwoProxiesConformanceTests(TwoProxiesConformance, TestCase):
    """Over loopback TCP, twice."""


class TwoCustodialProxiesConformanceTests(TwoProxiesConformance, TestCase):
    """Over loopback TCP, twice, the outer server having all its clients' keys."""

    modes = (False,)


class UNIXConformanceTests(ProxiedConformance, TestCase):
    """Over a UNIX socket."""

    def listen_at(self) -> str:
        directory = mkdtemp(prefix="proxied")  # not trial's: such a path must be short
        self.addCleanup(rmtree, directory)
        return f"unix:{directory}/socket"

    def connect_to(self, address: Any) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, f"unix:{address.name.decode()}")
        return endpoint


class TLSConformanceTests(ProxiedConformance, TestCase):
    """Over TLS."""

    def listen_at(self) -> str:
        key, cert = Authority("tests").issue("server")
        write(directory := self.mktemp(), key=key, cert=cert)
        return f"ssl:0:interface=127.0.0.1:privateKey={directory}/key.pem:certKey={directory}/cert.pem"

    def connect_to(self, address: Any) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = wrapClientTLS(CertificateOptions(), super().connect_to(address))
        return endpoint


class WebSocketConformanceTests(ProxiedConformance, TestCase):
    """Over a WebSocket."""

    def listen_at(self) -> str:
        return "ws:0"

    def connect_to(self, address: Any) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, f"ws:127.0.0.1:{address.port}")
        return endpoint


class SecretConformanceTests(ProxiedConformance, TestCase):
    """Over an encrypted connection of our own."""

    server = KeyPair.generate()

    def listen_at(self) -> str:
        Path(seed := self.mktemp()).write_text(self.server.seed.hex())
        return f"secret:endpoint=tcp\\:0\\:interface=127.0.0.1:key={seed}"

    def connect_to(self, address: Any) -> IStreamClientEndpoint:
        text = f"secret:tcp\\:127.0.0.1\\:{address.port}:server={self.server.public_key.hex()}"
        endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
        return endpoint
