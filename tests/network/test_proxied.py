"""A network behind a proxy, and behind two: the same promises, over real sockets."""

from __future__ import annotations

from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.network.conformance import NetworkConformance


class ProxiedConformance(NetworkConformance):
    """Every network is a client of its own of one server."""

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        return Deferred.fromCoroutine(self._make_networks(count))

    async def _make_networks(self, count: int) -> list[Any]:
        where = await self.serve(await self.shown())
        networks = [self.client(where) for _ in range(count)]
        for network in networks:
            await network.when_online()
        return networks

    async def shown(self) -> Any:
        """:returns: the network that the server shows."""
        return LocalHub().network()

    async def serve(self, network: Any) -> str:
        """Let a server show the network.  :returns: the endpoint string by which its clients reach it."""
        server = ProxyServer(network)
        port = await serverFromString(reactor, self.listen_at()).listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(server.close)
        return self.connect_to(port.getHost())

    def client(self, where: str) -> ProxyNetwork:
        return ProxyNetwork(clientFromString(reactor, where))

    def listen_at(self) -> str:
        return "tcp:0:interface=127.0.0.1"

    def connect_to(self, address: Any) -> str:
        return f"tcp:127.0.0.1:{address.port}"


class TCPConformanceTests(ProxiedConformance, TestCase):
    """Over loopback TCP."""


class UNIXConformanceTests(ProxiedConformance, TestCase):
    """Over a UNIX socket."""

    def listen_at(self) -> str:
        directory = mkdtemp(prefix="proxied")  # not trial's: such a path must be short
        self.addCleanup(rmtree, directory)
        return f"unix:{directory}/socket"

    def connect_to(self, address: Any) -> str:
        return f"unix:{address.name.decode()}"


class TwoProxiesConformanceTests(ProxiedConformance, TestCase):
    """A proxy may stand behind a proxy."""

    backpressure_limit = 2 * ProxiedConformance.backpressure_limit

    async def serve(self, network: Any) -> str:
        inner = self.client(await super().serve(network))
        await inner.when_online()
        return await super().serve(inner)
