"""
The proxy's own link over ``secret:``, with nothing but endpoint strings; that it keeps every promise of a network is in
``tests/network/test_proxied.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.errors import ConnectError, HandshakeError
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.original import SpaceswarmProxyServer
from spaceswarm_proxy.proxy.client import ProxyNetwork
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.network.support import Collector


class PinnedTests(TestCase):
    """A proxy server for one client."""

    timeout = 30

    async def serve(self) -> int:
        seed = self.mktemp()
        Path(seed).write_text(SERVER.seed.hex() + "\n")
        server = SpaceswarmProxyServer(LocalHub(reactor).network())
        text = f"secret:endpoint=tcp\\:0\\:interface=127.0.0.1:key={seed}:clients={CLIENT.public_key.hex()}"
        port: Any = await serverFromString(reactor, text).listen(server)
        self.addCleanup(port.stopListening)
        self.addCleanup(server.destroy)
        number: int = port.getHost().port
        return number

    async def test_admitted(self) -> None:
        """Who has the key is served."""
        text = f"secret:tcp\\:127.0.0.1\\:{await self.serve()}:key={CLIENT.seed.hex()}"
        endpoint = clientFromString(reactor, f"{text}:server={SERVER.public_key.hex()}")
        network = ProxyNetwork(endpoint, reactor=reactor)
        self.addCleanup(network.close)
        await network.when_online()
        self.assertTrue(network.status().online)

    async def test_stranger(self) -> None:
        """Nobody else is; nor does a client speak with any other server."""
        port = await self.serve()
        text = f"secret:tcp\\:127.0.0.1\\:{port}"
        stranger = clientFromString(reactor, f"{text}:server={SERVER.public_key.hex()}")
        await self.assertFailure(stranger.connect(Collector()), ConnectError)
        misled = clientFromString(reactor, f"{text}:server={CLIENT.public_key.hex()}:key={CLIENT.seed.hex()}")
        await self.assertFailure(misled.connect(Collector()), HandshakeError)
