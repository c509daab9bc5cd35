"""What becomes of an attempt to connect once there is a way: :mod:`spaceswarm_proxy.peering.attempt`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.errors import ConnectError, HandshakeError
from spaceswarm_proxy.testing import TestNet
from tests.network.support import Collector, Echo, Recorder

SERVER = KeyPair.from_seed(bytes([1]) * 32)
LABELS = SPACESWARM.stream_labels


class LabelTests(TestCase):
    """Servers that are certain of what streams are called, and clients that are not."""

    timeout = 30

    async def serve(self, profile: Any, build: Any = Echo) -> None:
        """A network, and a server in it."""
        self.net = TestNet(or_global(None), 6, profile=SPACESWARM)
        self.addCleanup(self.net.close)
        await self.net.ready()
        self.clients = Collector(build)
        self.server = self.net.node(profile=profile)
        await self.server.listen(SERVER, self.clients)

    async def talk(self, node: Any, label: str) -> None:
        """Connect, and be understood."""
        protocol = await node.connect(SERVER.public_key, Collector())
        self.assertEqual(label, protocol.transport.label)
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")

    async def test_every_label(self) -> None:
        """Whatever the server calls it, in the end both call it so; each attempt has one connection to show for it."""
        for label in LABELS:
            await self.serve(SPACESWARM.with_stream_label(label))
            await self.talk(self.net.node(), label)
            self.assertEqual(1, len(self.clients.built))
            await self.net.close()

    async def test_learned(self) -> None:
        """The next attempt begins with what the first has learned."""
        await self.serve(SPACESWARM.with_stream_label(LABELS[-1]))
        node = self.net.node()
        await self.talk(node, LABELS[-1])
        labels = node._securing.labels
        self.assertEqual((LABELS[-1], True), (labels.all[0], labels.are_certain))
        self.assertEqual(set(LABELS), set(labels.all))
        await self.talk(node, LABELS[-1])

    async def test_unknown_label(self) -> None:
        """A server that calls it as nobody else does is given up."""
        await self.serve(SPACESWARM.with_stream_label("something else"))
        collector = Collector()
        await self.assertFailure(self.net.node().connect(SERVER.public_key, collector), ConnectError, HandshakeError)
        self.assertEqual([], collector.built)

    async def test_both_uncertain(self) -> None:
        """Two who know all names take the likeliest."""
        await self.serve(SPACESWARM)
        await self.talk(self.net.node(), LABELS[0])

    async def test_refused(self) -> None:
        """A server that wants nobody is not asked for ever."""
        await self.serve(SPACESWARM, lambda: None)
        connecting = self.net.node().connect(SERVER.public_key, Collector(Recorder))
        try:
            protocol = await connecting
        except ConnectError:
            self.assertLessEqual(len(self.clients.addresses), len(LABELS))
        else:
            await protocol.loses()

    async def test_cancelled(self) -> None:
        """An attempt can be cancelled in its second round as well."""
        await self.serve(SPACESWARM.with_stream_label(LABELS[-1]))
        node = self.net.node()
        collector = Collector()
        begun: list[Any] = []
        connect = node._peering.core.connect

        def counted(*arguments: Any) -> Any:
            begun.append(connect(*arguments))
            if len(begun) == 2:
                or_global(None).callLater(0, connecting.cancel)
            return begun[-1]

        self.patch(node._peering.core, "connect", counted)
        connecting = node.connect(SERVER.public_key, collector)
        await self.assertFailure(connecting, ConnectError)
        self.assertEqual((2, []), (len(begun), collector.built))
