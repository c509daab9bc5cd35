"""What a client has sent before its link ends still gets to its peer, however slowly that reads."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.server import ProxyServer

reactor: Any = global_reactor
TEXT = b"0123456789abcdef" * 12_500


class SlowReader(Protocol):
    """Reads nothing until it is told to."""

    transport: Any

    def __init__(self) -> None:
        self.text = b""
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.text += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class LastWordsTests(TestCase):
    """A client that says something and goes."""

    async def test_delivered(self) -> None:
        """Its link is long closed, and its peer reads all of it; then nothing of the client is left in the server."""
        hub = LocalHub(reactor, window=16 * 1024)
        self.addCleanup(hub.close)
        server = ProxyServer(hub.network(), reactor=reactor)
        self.addCleanup(server.close)
        port = reactor.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        reader, peer = SlowReader(), hub.network()
        await peer.listen(Factory.forProtocol(lambda: reader))
        client = ProxyNetwork(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), reactor=reactor)
        speaker: Any = await client.connect(Peer.keyed(peer.public_key), Factory.forProtocol(Protocol))
        speaker.transport.write(TEXT)
        speaker.transport.loseConnection()
        await deferLater(reactor, 0)
        await client.close()
        while server.links:
            await deferLater(reactor, 0.01)
        reader.transport.resumeProducing()
        await reader.lost
        self.assertTrue(reader.text == TEXT, len(reader.text))
        await server.when_idle()
        await deferLater(reactor, 0)
        self.assertEqual([0, 2], [server.open_streams, len(hub)])
