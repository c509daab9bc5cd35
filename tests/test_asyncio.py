"""Programs on the loop of asyncio, which drops all that is in it when the program ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from tests.service.child import Child, Twistd

#: Says ``begun`` when the reactor runs and it has begun to listen or connect at an endpoint, and goes on until Ctrl-C;
#: a service is stopped then, all else is dropped as it is.
PROGRAM = """
import asyncio, sys
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react

async def stay(reactor, role, endpoint):
    factory = Factory.forProtocol(Protocol)
    reactor.callLater(0, print, "begun")
    if role == "serve":
        service = StreamServerEndpointService(serverFromString(reactor, endpoint), factory)
        service.startService()
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    elif role == "listen":
        port = await serverFromString(reactor, endpoint).listen(factory)
    else:
        protocol = await clientFromString(reactor, endpoint).connect(factory)
    await Deferred()

react(lambda reactor, *arguments: Deferred.fromCoroutine(stay(reactor, *arguments)), sys.argv[1:])
"""
#: Where nobody answers: a proxy server, and a node.
NOWHERE = (
    f"spaceswarm:topic=room:proxy={quoteStringArgument('tcp:127.0.0.1:1')}",
    f"spaceswarm:topic=room:network=dht:bootstrap={quoteStringArgument('127.0.0.1:1')}:host=127.0.0.1",
)


class EndTests(TestCase):
    """Ctrl-C ends them in silence, whatever was under way."""

    timeout = 120

    def setUp(self) -> None:
        self.reactor: Any = or_global(None)
        self.directory = self.mktemp()

    async def check_interrupt(self, child: Child, began: str) -> None:
        """A program that has begun is interrupted, and has nothing to complain of."""
        self.addCleanup(child.kill)
        await child.line(began)
        child.signal("INT")
        self.assertEqual(0, await child.ended, child.output + child.errors)
        self.assertNotIn("Traceback", child.output)
        self.assertEqual("", child.errors)

    async def test_dropped(self) -> None:
        """Endpoints that a program drops as they are, while they look for somebody."""
        await self.check_program("connect", "listen")

    async def test_closed(self) -> None:
        """Endpoints of services, which are stopped while they become known to others."""
        await self.check_program("serve")

    async def check_program(self, *roles: str) -> None:
        """All at once: whoever is stopped takes its leave for some seconds."""
        children = [
            Child(self.reactor, self.directory, "-c", PROGRAM, role, where) for role in roles for where in NOWHERE
        ]
        await gatherResults([Deferred.fromCoroutine(self.check_interrupt(each, "begun")) for each in children])

    async def test_server(self) -> None:
        """The proxy server."""
        where = ("--listen", "tcp:0:interface=127.0.0.1", "--metrics", "tcp:0:interface=127.0.0.1")
        node = ("--host", "127.0.0.1", "--port", "0", "--bootstrap", "127.0.0.1:1")
        server = Twistd(self.reactor, self.directory, "--reactor", "asyncio", "spaceswarm-proxy", *where, *node)
        await self.check_interrupt(server, "metrics on")
