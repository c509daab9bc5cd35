"""
A service that is there already, and a proxy server embedded in the same program, which leads its clients to it.

The service is any that speaks TCP; ``embed`` is all that is new.  It listens on this machine only, at a port that
nobody needs to know: clients of the proxy server find it by its topic::

    python examples/embedded.py
    spaceswarm pipe "examples/greeting" --proxy tcp:127.0.0.1:4978

An argument is where to listen; without, ``tcp:4978:interface=127.0.0.1``.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react

from spaceswarm_proxy import LocalHub, ProxyServer, topic


class Greeting(Protocol):
    def connectionMade(self):
        self.transport.write(b"Good day! You did not need my address.\n")
        self.transport.loseConnection()


async def embed(reactor, listen, service):
    """Let clients of a proxy server, listening at an endpoint, find a port of this machine by a topic."""
    hub = LocalHub()
    hub.announce_address(topic("examples/greeting"), "127.0.0.1", service.getHost().port)
    server = ProxyServer(hub.network())
    reactor.addSystemEventTrigger("before", "shutdown", server.drain, 5.0)  # clients then have five seconds
    return await serverFromString(reactor, listen).listen(server)


async def main(reactor, listen="tcp:4978:interface=127.0.0.1"):
    service = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Greeting))
    port = await embed(reactor, listen, service)
    print(f"listening on port {port.getHost().port}")
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
