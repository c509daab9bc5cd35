"""
A web site that has no address: it is found by a topic, and so are its pages.

Twisted's own web server and client, which know nothing of the swarm, on endpoints that are texts.  With ``./serve``
running, in two terminals::

    python examples/web.py serve
    python examples/web.py get
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer


class Page(Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return f"Hello {request.getClientAddress()}, this is {request.uri.decode()}.".encode()


@implementer(IAgentEndpointFactory)
class Everywhere:
    """All URLs lead to one endpoint."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def endpointForURI(self, uri):
        return self.endpoint


class Printer(Protocol):
    """Prints a page as it comes."""

    def __init__(self):
        self.done = Deferred()

    def dataReceived(self, data):
        sys.stdout.write(data.decode())

    def connectionLost(self, reason):
        print()
        self.done.callback(None)


async def serve(reactor, endpoint):
    await serverFromString(reactor, endpoint).listen(Site(Page()))
    print("ready:", endpoint)
    await Deferred()  # until Ctrl-C


async def get(reactor, endpoint):
    agent = Agent.usingEndpointFactory(reactor, Everywhere(clientFromString(reactor, endpoint)))
    response = await agent.request(b"GET", b"http://my-site/a/page")
    printer = Printer()
    response.deliverBody(printer)
    await printer.done


async def main(reactor):
    parser = ArgumentParser()
    parser.add_argument("role", choices=["serve", "get"])
    parser.add_argument("--proxy", default="tcp:127.0.0.1:4978")
    options = parser.parse_args()
    run = serve if options.role == "serve" else get
    await run(reactor, f"spaceswarm:topic=my site:proxy={quoteStringArgument(options.proxy)}")


if __name__ == "__main__":
    react(main)
