"""Which way connections between our nodes and JavaScript ones take; :mod:`tests.interop.test_nat` has more of that."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.contact import host_port
from tests.interop.connections_support import NODES_OWN, SIZE, THEIRS, ConnectionCase, Talker, raw
from tests.interop.peer_process import PeerProcess
from tests.network.support import Collector

#: Everybody can reach such a node, and knows it or not.
PERSISTENT, OPEN = ({"firewalled": "false", "ephemeral": ephemeral} for ephemeral in ("false", "true"))


def option(theirs: dict[str, str]) -> dict[str, Any]:
    """What our node is told for the same."""
    return {name: value == "true" for name, value in theirs.items()}


class WayTests:
    """What holds whoever connects."""

    async def talk(self: Any, opened: Any) -> None:
        """Text goes both ways."""
        opened.protocol.say("from Python")
        self.assertEqual("from Python", (await opened.end.event("data"))["text"])
        opened.end.tell("write", text="from JavaScript")
        await opened.protocol.receives(b"from JavaScript")

    async def test_punched(self: Any) -> None:
        """Without a local network and an open side, each side takes a socket of its own for the connection."""
        opened = await self.open(theirs=self.behind_firewalls(), **self.only_punching)
        await self.talk(opened)
        self.assertNotIn(raw(opened.protocol).socket, NODES_OWN)

    async def test_on_their_network(self: Any) -> None:
        """The same where all nodes that help are theirs."""
        self.network = await self.their_network(SIZE)
        await self.talk(await self.open(theirs=self.behind_firewalls(), **self.only_punching))

    async def test_slow_opening(self: Any) -> None:
        """Without the fast opening, which may let data come before all is agreed, it works as well."""
        await self.talk(await self.open(**self.without_fast_open))


class WeConnect(WayTests):
    """We open them."""

    open = ConnectionCase.we_connect
    only_punching = {"ask": {"local_connection": False}, "serve": {"shareLocalAddress": False}}
    without_fast_open = {"ask": {"fast_open": False}}

    async def test_persistent_server(self: Any) -> None:
        """A server that everybody can reach, and that knows its own record, is reached with the node's own socket."""
        await self.reach(PERSISTENT)

    async def test_open_server(self: Any) -> None:
        """So is one that others keep the record of."""
        await self.reach(OPEN)

    async def reach(self: Any, kind: dict[str, str]) -> None:
        """Connect to a server of this kind."""
        opened = await self.open(theirs=kind)
        await self.talk(opened)
        stream = raw(opened.protocol)
        ready = next(event for event in opened.theirs.process.events if event["event"] == "ready")
        self.assertEqual(ready["port"], host_port(stream.address).port)
        self.assertIn(stream.socket, NODES_OWN)

    async def test_open_client(self: Any) -> None:
        """To a client that everybody can reach the server comes."""
        opened = await self.open(ours=option(PERSISTENT))
        await self.talk(opened)
        self.assertIn(raw(opened.protocol).socket, NODES_OWN)

    async def test_reused_way(self: Any) -> None:
        """The second connection goes the way that the first has found."""
        ask = {"local_connection": False, "reusable_socket": True}
        serve = {"shareLocalAddress": False, "reusableSocket": True}
        opened = await self.open(theirs=self.behind_firewalls(), ask=ask, serve=serve)
        await self.talk(opened)
        again = await opened.ours.connect(THEIRS.public_key, Collector(Talker), **ask)
        end = await opened.theirs.accepted()
        await self.talk(opened._replace(protocol=again, end=end))
        self.assertEqual(raw(opened.protocol).socket, raw(again).socket)


class TheyConnect(WayTests):
    """They open them."""

    open = ConnectionCase.they_connect
    only_punching = {"ask": {"localConnection": False}, "serve": {"share_local_address": False}}
    without_fast_open = {"ask": {"fastOpen": False}}

    async def test_persistent_server(self: Any) -> None:
        """A server that everybody can reach, and that knows its own record, is reached at the node's own socket."""
        await self.reach(PERSISTENT)

    async def test_open_server(self: Any) -> None:
        """So is one that others keep the record of."""
        await self.reach(OPEN)

    async def reach(self: Any, kind: dict[str, str]) -> None:
        """Let them connect to a server of this kind."""
        opened = await self.open(ours=option(kind))
        await self.talk(opened)
        self.assertIn(raw(opened.protocol).socket, NODES_OWN)

    async def test_open_client(self: Any) -> None:
        """To a client that everybody can reach the server comes."""
        opened = await self.open(theirs=PERSISTENT)
        await self.talk(opened)
        self.assertIn(raw(opened.protocol).socket, NODES_OWN)


class SpaceswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Hyperswarm peers."""

    profile = "hyperswarm"


class SpaceswarmServerTests(TheyConnect, ConnectionCase):
    """Spaceswarm peers connect to us."""

    profile = "spaceswarm"


class HyperswarmServerTests(TheyConnect, ConnectionCase):
    """Hyperswarm peers connect to us."""

    profile = "hyperswarm"


class LabelTests(ConnectionCase):
    """What Spaceswarm peers call their streams is not certain: ours have four names for it."""

    profile = "spaceswarm"

    async def test_their_clients(self) -> None:
        """A server of ours waits for the client's first message, and learns it from that."""
        for label in SPACESWARM.stream_labels:
            opened = await self.they_connect(theirs={"stream_namespace": label})
            opened.end.tell("write", text=label)
            await opened.protocol.receives(label.encode())
            opened.protocol.say("understood")
            self.assertEqual("understood", (await opened.end.event("data"))["text"])
            await self.over(opened.protocol, label, opened.theirs)
            await opened.ours.close()

    async def test_their_servers(self) -> None:
        """A client of ours speaks first, and begins anew until it is understood."""
        for label in SPACESWARM.stream_labels:
            server = await self.their_end(stream_namespace=label)
            node = await self.our_end()
            protocol = await node.connect(await server.listen(echo=True), Collector(Talker))
            protocol.say(label)
            await protocol.receives(label.encode())
            await self.over(protocol, label, server)

    async def over(self, protocol: Any, label: str, theirs: PeerProcess) -> None:
        """Both have called it so; they go."""
        self.assertEqual(label, protocol.transport.label)
        await theirs.process.stop()
