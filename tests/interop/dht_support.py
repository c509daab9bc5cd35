"""
What the tests of our DHT node with JavaScript nodes are written with.

Each test is written once, for both profiles: a class without a profile holds them, and one for each profile runs them.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.interfaces import HostPort, Peer
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.testing import TestNet
from tests.interop.node import Event, InteropTestCase, NodeProcess
from tests.interop.proxy_support import POLL, POLLS

LOOPBACK = "127.0.0.1"
TOPIC = bytes(range(32))
OTHER_PROFILE = {"spaceswarm": "hyperswarm", "hyperswarm": "spaceswarm"}
#: Addresses as they are announced; nobody ever asks there.
RELAYS = (HostPort(LOOPBACK, 1001), HostPort("192.0.2.7", 65535))
OTHER_RELAYS = (HostPort(LOOPBACK, 1002),)
#: Nodes of a network in which everything is stored by everybody, as there are no more than a query ends with.
SIZE = 20
#: For nodes that are asked a lot, all from this host.
PLENTY = {"max_requests_of_host": 100_000}
#: What the counts of a :class:`~spaceswarm_proxy.dht.stats.NodeStats` are called in ``testnet.js``.
THEIR_COUNTS = {
    "topic_records": "records", "forwards": "forwards", "mutable_values": "mutables", "immutable_values": "immutables"
}  # fmt: skip


def argument(value: Any) -> str:
    """A value as the scripts take it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, HostPort | str | int):
        return str(value)
    return ",".join(map(str, value))


def arguments(options: dict[str, Any]) -> list[str]:
    """The command line for these options; ``True`` is for those that stand alone."""
    words = []
    for name, value in options.items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(argument(value))
    return words


def host_port(fields: Event) -> HostPort:
    """An address in an event."""
    return HostPort(fields["host"], fields["port"])


def their_table(node: Event) -> set[HostPort]:
    """Whom a node knows, by what is known of it."""
    return set(map(host_port, node["table"]))


def keyed(seed: int) -> KeyPair:
    """A key pair, the same for the same number."""
    return KeyPair.from_seed(bytes([seed]) * 32)


def milliseconds() -> int:
    """Since 1970, as bumps are."""
    return int(time.time() * 1000)


def facts(peer: Peer) -> tuple[str, tuple[HostPort, ...]]:
    """What two records of a peer are compared by."""
    assert peer.public_key is not None
    return peer.public_key.hex(), peer.relay_addresses


def their_facts(peer: Event) -> tuple[str, tuple[HostPort, ...]]:
    """The same of a record in an event."""
    return peer["public_key"], tuple(map(host_port, peer["relay_addresses"]))


async def collected(replies: AsyncIterable[Any]) -> list[Any]:
    """All of them."""
    return [reply async for reply in replies]


async def until(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again, until the answer is yes."""
    for _ in range(POLLS):
        if await ask():
            return
        await deferLater(or_global(None), POLL)
    raise AssertionError("it has not come about")


class TheirNetwork:
    """JavaScript nodes, all persistent, in one process."""

    def __init__(self, process: NodeProcess, ready: Event) -> None:
        self.process = process
        #: Where others begin.
        self.bootstrap = host_port(ready["bootstrap"][0])
        self.nodes = [host_port(node) for node in ready["nodes"]]
        #: ``None`` for a node that has none.
        self.ids = [node["id"] and bytes.fromhex(node["id"]) for node in ready["nodes"]]

    def tell(self, command: str, **fields: Any) -> None:
        """Give the process a command."""
        self.process.write(json.dumps({"cmd": command, **fields}))

    async def info(self) -> list[Event]:
        """What is to be known of each node that is not killed."""
        self.tell("info")
        return [node for node in (await self.process.event("info"))["nodes"] if "destroyed" not in node]

    async def counts(self, name: str) -> list[int]:
        """How many of something each node keeps."""
        return [node[THEIR_COUNTS[name]] for node in await self.info()]

    async def kill(self, *indexes: int) -> None:
        """Let some of them vanish, without a word to anybody."""
        for index in indexes:
            self.tell("kill", index=index)
            await self.process.event("killed")

    async def know(self, *nodes: HostPort) -> bool:
        """Have all of them these nodes in their tables?"""
        return all(set(nodes) <= their_table(node) for node in await self.info())


_numbers = count(1)


class TheirClient:
    """A script that runs in a process with others."""

    def __init__(self, process: NodeProcess, script: str, *words: str) -> None:
        self._process = process
        self._number = next(_numbers)
        command = {"cmd": "run", "client": self._number, "script": script, "args": words}
        process.write(json.dumps(command))

    def event(self, name: str) -> Deferred[Event]:
        """The next event of that name; as a process has it."""
        return self._process.event(name, self._is_own)

    @property
    def events(self) -> list[Event]:
        """Every event so far."""
        return list(filter(self._is_own, self._process.events))

    def _is_own(self, event: Event) -> bool:
        return event.get("client") == self._number


class OurNetwork:
    """Nodes of ours, looked at in the same way."""

    def __init__(self, net: TestNet) -> None:
        self.net = net
        self.bootstrap = net.bootstrap[0]

    @property
    def nodes(self) -> list[HostPort]:
        return [node.address for node in self.net.nodes]

    async def counts(self, name: str) -> list[int]:
        """How many of something each node keeps."""
        return [getattr(node.stats, name) for node in self.net.nodes]

    async def know(self, *nodes: HostPort) -> bool:
        """Have all of them these nodes in their tables?"""
        return all(set(nodes) <= set(node.closest(count=1000)) for node in self.net.nodes)


class DHTTestCase(InteropTestCase):
    """Nodes of both kinds, which end with the test and leave nothing behind."""

    #: Of our nodes.
    profile: str
    #: The process that clients of theirs run in.
    clients: NodeProcess | None = None

    @property
    def their_profile(self) -> str:
        """Of theirs."""
        return self.profile

    def script(self, name: str, /, *words: str, **options: Any) -> NodeProcess:
        """Run a script; its options are strings, numbers, bytes, addresses, several of these, or ``True``."""
        return self.node(name, *words, *arguments({"profile": self.their_profile, **options}))

    async def their_network(self, size: int, **options: Any) -> TheirNetwork:
        """A network of JavaScript nodes, or some that join one."""
        process = self.script("testnet.js", str(size), **options)
        self.clients = self.clients or process
        return TheirNetwork(process, await process.event("ready"))

    async def our_network(self, size: int, **options: Any) -> OurNetwork:
        """A network of ours."""
        net = TestNet(or_global(None), size, **{"profile": self.profile, **options})
        self.addCleanup(net.close)
        await net.ready()
        return OurNetwork(net)

    async def our_node(self, bootstrap: HostPort, **options: Any) -> DHTNode:
        """A node of ours, ephemeral unless told otherwise, that has looked for the network."""
        node = self.our_new_node(bootstrap, **options)
        await node.ready()
        return node

    def our_new_node(self, bootstrap: HostPort, **options: Any) -> DHTNode:
        """The same, just begun."""
        settings = {"profile": self.profile, "bootstrap": [bootstrap], "host": LOOPBACK, "port": 0, "ephemeral": True}
        node = DHTNode(or_global(None), **{**settings, **options})
        self.addCleanup(node.close)
        return node

    async def our_persistent_node(self, bootstrap: HostPort, **options: Any) -> DHTNode:
        """A node of ours that stores for others."""
        node = await self.our_node(bootstrap, **{"ephemeral": False, "firewalled": False, **options})
        self.assertFalse(node.ephemeral)
        return node

    def client(self, script: str, /, *words: str, **options: Any) -> TheirClient:
        """Begin to run a script as a client of theirs, in the first process with a network of theirs, or in its own."""
        if self.clients is None:
            self.clients = self.script("testnet.js", "0", bootstrap=1)
        return TheirClient(self.clients, script, *words, *arguments({"profile": self.their_profile, **options}))

    async def run_client(self, script: str, /, *words: str, **options: Any) -> list[Event]:
        """Run a client to its end; all that it has said."""
        client = self.client(script, *words, **options)
        await client.event("ended")
        events = client.events
        self.assertEqual([], [event for event in events if event["event"] == "error"])
        return events[:-1]

    async def their_lookup(self, bootstrap: HostPort, /, **what: Any) -> tuple[list[Event], Event]:
        """What a client of theirs finds: the replies, and how its query has ended."""
        *replies, done = await self.run_client("dht_lookup.js", bootstrap=bootstrap, **what)
        return replies, done

    async def they_announce(self, bootstrap: HostPort, /, topic: bytes = TOPIC, **options: Any) -> Event:
        """A client of theirs announces, or takes an announce back."""
        return (await self.run_client("dht_announce.js", bootstrap=bootstrap, topic=topic, **options))[-1]

    async def they_put(self, bootstrap: HostPort, kind: str, /, **options: Any) -> Event:
        """A client of theirs stores a value."""
        return (await self.run_client("dht_put_get.js", f"{kind}-put", bootstrap=bootstrap, **options))[-1]

    async def they_get(self, bootstrap: HostPort, kind: str, /, **options: Any) -> Event:
        """A client of theirs looks for a value."""
        return (await self.run_client("dht_put_get.js", f"{kind}-get", bootstrap=bootstrap, **options))[-1]

    async def they_ask(self, node: HostPort, /, *words: str, **options: Any) -> Event:
        """A client of theirs sends one request to one node: the response, or that there was none in time."""
        return (await self.run_client("dht_request.js", *words, to=node, **options))[-1]

    def impatient(self) -> None:
        """From now on our nodes wait for an answer no longer than this machine takes for it."""
        self.patch(requests, "TIMEOUT", 0.3)


def each(coroutines: Iterable[Awaitable[Any]]) -> Deferred[list[Any]]:
    """:returns: a Deferred of all their results; they run at the same time."""
    return gatherResults([ensureDeferred(coroutine) for coroutine in coroutines], consumeErrors=True)
