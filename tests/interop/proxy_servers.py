"""Proxy servers for tests with JavaScript peers: theirs, and ours."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.interfaces import INetwork
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.server import ProxyServer
from tests.interop.node import Event, NodeProcess
from tests.interop.proxy_support import POLL, POLLS, TOPIC, ProxyTestCase, Service, eventually


class TheirServer:
    """The JavaScript server in a process of its own, with a fixed table of peers."""

    process: NodeProcess | None = None
    tcp_port: int
    url: str

    def __init__(self, test: ProxyTestCase, *arguments: str) -> None:
        """:param arguments: of the script ``proxy_server.js``, to say what its network is like."""
        self.test = test
        self.arguments = arguments

    async def start(self, port: int = 0) -> TheirServer:
        where = ("--tcp", str(port), "--ws", "0")
        self.process = process = self.test.node("proxy_server.js", "--stats", *where, *self.arguments)
        self.test.addCleanup(lambda: Deferred.fromCoroutine(self.stop()))
        ready = await process.event("ready")
        self.tcp_port, self.url = ready["tcp"], f"ws://127.0.0.1:{ready['ws']}"
        return self

    async def stop(self) -> None:
        """End it; that nothing that our client did has ended it before, or made it complain, is part of each test."""
        process, self.process = self.process, None
        if process is not None:
            self.test.assertEqual((None, ""), (process.reason, process.noise))
            await process.stop()

    async def counts(self, **expected: int) -> None:
        """Wait until the server's statistics are as they should be."""
        stats: Event = {}
        assert self.process is not None
        for _ in range(POLLS):
            self.process.write("stats")
            stats = await self.process.event("stats")
            if expected.items() <= stats.items():
                return
            await deferLater(or_global(None), POLL)
        self.test.fail(f"{expected} has not come about; it is {stats}")


class OurServer:
    """Our server, listening on TCP and WebSocket, in front of a hub of its own."""

    def __init__(self, test: ProxyTestCase, network: INetwork | None = None, **options: Any) -> None:
        """
        :param network: what to show instead of the hub.
        :param options: of the ``ProxyServer``.
        """
        self.test = test
        self.hub = LocalHub()
        self.server = ProxyServer(network or self.hub.network(), **options)
        self.ports: list[IListeningPort] = []
        self.tcp_port = self.ws_port = 0

    async def start(self) -> OurServer:
        self.test.addCleanup(self.hub.close)
        self.test.addCleanup(self.server.close)
        await self.listen()
        return self

    async def listen(self) -> None:
        """Be reachable; the second time at the same ports."""
        self.ports = [
            await self.test.listen(f"tcp:{self.tcp_port}", self.server),
            await self.test.listen(f"ws:{self.ws_port}", self.server),
        ]
        self.tcp_port, self.ws_port = (port.getHost().port for port in self.ports)

    async def stop_listening(self) -> None:
        """Be no longer reachable; links that are there stay."""
        for port in self.ports:
            await port.stopListening()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}"

    def announce(self, *services: Service, topic: bytes = TOPIC) -> None:
        """Let services be found."""
        for service in services:
            self.hub.announce_address(topic, *service.address)

    @property
    def link(self) -> Any:
        """The one client's link."""
        (link,) = self.server.links
        return link


class ServerTestCase(ProxyTestCase):
    """Tests with one server of ours."""

    ours: OurServer

    async def server(self, **options: Any) -> OurServer:
        self.ours = await OurServer(self, **options).start()
        return self.ours

    def client(self, ws: bool = False, **options: Any) -> NodeProcess:
        """A client that joins the topic, over TCP or a WebSocket."""
        where = {"ws": self.ours.url} if ws else {"tcp": self.ours.tcp_port}
        return self.script("proxy_session_client.js", **{"topic": TOPIC.hex(), **where, **options})

    async def connected(self, service: Service, **options: Any) -> tuple[NodeProcess, Any]:
        """A client that is connected with a service of its topic, and the service's end of that."""
        self.ours.announce(service)
        client = self.client(**options)
        connection = await client.event("connection")
        self.assertEqual((0, service.peer_in()), (connection["id"], connection["peer"]))
        return client, await service.connected()

    async def left_open(self, count: int) -> None:
        """The server holds so many connections to peers, and no more."""
        await eventually(lambda: self.ours.server.open_streams == count)
