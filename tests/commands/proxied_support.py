"""The same commands behind a proxy server, on a network where others are nodes of their own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.commands.peer_support import PeerCommandCase
from tests.commands.support import Terminal, reactor


class ProxiedCommandCase(PeerCommandCase):
    """A network, and a proxy server that is a node of it."""

    async def proxy_server(self, **options: Any) -> None:
        """Start it, or another one in its place."""
        node = self.net.node()
        await node.ready()
        self.front = ProxyServer(node_network(node, LocalHub(reactor)), reactor=reactor, **options)
        self.addCleanup(self.front.close)
        port = reactor.listenTCP(0, self.front, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.proxy = f"tcp:127.0.0.1:{port.getHost().port}"

    def behind(self, name: str, *arguments: str) -> tuple[Deferred[int], Terminal]:
        """Run a command behind the proxy server here."""
        return self.start(name, *arguments, "--proxy", self.proxy)

    def cut_links(self) -> None:
        """All clients lose their links, and may come back."""
        for link in tuple(self.front.links):
            link.transport.abortConnection()
