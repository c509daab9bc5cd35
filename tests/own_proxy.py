"""A proxy server for the programs that a test runs."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import TestCase

from spaceswarm_proxy import LocalHub, ProxyServer
from spaceswarm_proxy._reactor import or_global


async def own_proxy(case: TestCase) -> str:
    """:returns: the endpoint of one in this process, until the test is over."""
    server = ProxyServer(LocalHub().network())
    port = await TCP4ServerEndpoint(or_global(None), 0, interface="127.0.0.1").listen(server)
    case.addCleanup(server.close)
    case.addCleanup(port.stopListening)
    return f"tcp:127.0.0.1:{port.getHost().port}"
