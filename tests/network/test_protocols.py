"""Twisted's own protocols over a stream to a peer, unchanged."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.protocols.amp import AMP, Command, Integer
from twisted.trial.unittest import TestCase
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data
from zope.interface import implementer

from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub


class Double(Command):
    arguments = [(b"number", Integer())]
    response = [(b"doubled", Integer())]


class Doubler(AMP):
    @Double.responder
    def double(self, number: int) -> dict[str, int]:
        return {"doubled": 2 * number}


@implementer(IPushProducer)
class Flood(Resource):
    """A body of many pieces, written as fast as the client takes it."""

    isLeaf = True
    pieces = 200

    def render_GET(self, request: Any) -> Any:
        self.request, self.paused, self.left = request, False, self.pieces
        request.registerProducer(self, True)
        self.resumeProducing()
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self.request.write(b"x" * 10_000)
        if not self.left and self.request is not None:
            self.request, request = None, self.request
            request.unregisterProducer()
            request.finish()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.left = 0


class ProtocolTests(TestCase):
    """What runs over TCP runs over a stream."""

    timeout = 30

    async def connect(self, listening: Factory, connecting: Factory) -> Any:
        hub = LocalHub()
        self.addCleanup(hub.close)
        one, two = hub.network(), hub.network()
        await two.listen(listening)
        return await one.connect(Peer.keyed(two.public_key), connecting)

    async def test_amp(self) -> None:
        """AMP asks and answers."""
        client = await self.connect(Factory.forProtocol(Doubler), Factory.forProtocol(AMP))
        self.assertEqual(await client.callRemote(Double, number=21), {"doubled": 42})

    async def get(self, resource: Resource) -> bytes:
        site = Site(resource)
        client = await self.connect(site, Factory.forProtocol(HTTP11ClientProtocol))
        request = Request(b"GET", b"/", Headers({b"host": [b"peer"]}), None)
        response = await client.request(request)
        self.assertEqual(response.code, 200)
        return await readBody(response)

    async def test_http(self) -> None:
        """HTTP: a page is fetched from a Site."""
        page = Data(b"a page", "text/plain")
        page.isLeaf = True
        self.assertEqual(await self.get(page), b"a page")

    async def test_http_producer(self) -> None:
        """HTTP: a long page is written at the pace of the one who reads it."""
        self.assertEqual(len(await self.get(Flood())), 2_000_000)
