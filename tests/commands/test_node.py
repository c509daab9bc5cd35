"""``spaceswarm node``."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.node import NEWS
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.interfaces import HostPort
from tests.commands.dht_support import DHTCommandCase, Event, OwnTime, events
from tests.commands.support import Terminal, reactor

#: For tests: any port.
ANY = ("--port", "0")


class NodeTests(DHTCommandCase):
    """A node that stays."""

    NODES = 2

    async def leave(self, status: Any, terminal: Terminal) -> list[Event]:
        """:returns: all that a node has told, after it was told to leave."""
        status.cancel()
        await self.assertFailure(status, CancelledError)
        return events(await terminal.ended)

    async def until(self, text: bytes, terminal: Terminal, time: OwnTime) -> None:
        """Let time go by until something is told."""
        while text not in terminal.text:
            time.advance(0.1)
            await deferLater(reactor, 0)

    async def test_persistent(self) -> None:
        """It listens, finds the network and who it is in it, and tells so; at the end, what it has done."""
        status, terminal = self.visit("node", "--open", "--json", *ANY)
        await terminal.shows(b'"ready"')
        listening, changed, persistent, ready, finished = await self.leave(status, terminal)
        host, port = listening["host"], listening["port"]
        self.assertEqual({"event": "listening", "host": "127.0.0.1", "port": port}, listening)
        self.assertEqual({"event": "network_changed", "host": host, "port": port}, changed)
        id = hash32(address_of(host, port)).hex()
        self.assertEqual({"event": "persistent", "node_id": id, "host": host, "port": port}, persistent)
        self.assertEqual({"event": "ready", "online": True, "nodes": 2}, ready)
        self.assertEqual("finished", finished["event"])
        self.assertLess(0, finished["requests_answered"])

    async def test_firewall(self) -> None:
        """Without ``--open`` it has others try to reach it, before it is persistent."""
        status, terminal = self.visit("node", "--json", *ANY)
        await terminal.shows(b'"persistent"')
        await terminal.shows(b'"ready"')
        *_, finished = await self.leave(status, terminal)
        self.assertLess(0, finished["requests_answered"])

    async def test_bootstrap_node(self) -> None:
        """A network's first node is there at once, and others begin at it."""
        status, terminal = self.start("node", "--bootstrap-node", "--host", "127.0.0.1", "--json", *ANY)
        await terminal.shows(b'"ready"')
        listening, persistent, ready = events(terminal.text)
        self.assertEqual((True, 0), (ready["online"], ready["nodes"]))
        self.assertEqual(listening["port"], persistent["port"])
        node = self.net.node(bootstrap=[("127.0.0.1", listening["port"])])
        await node.ready()
        self.assertEqual(1, node.stats.nodes)
        await self.leave(status, terminal)

    async def test_public_host(self) -> None:
        """Its address from outside may be another one; none at all will not do."""
        bootstrap = ("node", "--bootstrap-node", "--json", *ANY)
        status, terminal = self.start(*bootstrap, "--host", "127.0.0.1", "--public-host", "10.0.0.1")
        await terminal.shows(b'"ready"')
        _, persistent, *_ = await self.leave(status, terminal)
        self.assertEqual("10.0.0.1", persistent["host"])
        status, terminal = self.start(*bootstrap)
        self.assertIn("needs --public-host", str(await self.assertFailure(status, CommandError)))

    async def test_state(self) -> None:
        """With ``--state`` it remembers whom it knew, and finds the network by them."""
        directory = self.mktemp()
        status, terminal = self.visit("node", "--open", "--state", directory, "--json", *ANY)
        await terminal.shows(b'"ready"')
        await self.leave(status, terminal)
        self.assertEqual(2, len(json.loads((Path(directory) / "node.json").read_text())["nodes"]))
        time = OwnTime()
        wrong = ("--host", "127.0.0.1", "--bootstrap", "127.0.0.1:1")
        _, terminal = self.start("node", "--open", "--state", directory, "--json", *ANY, *wrong, reactor=time)
        await self.until(b'"persistent"', terminal, time)

    async def test_state_is_a_file(self) -> None:
        """A state directory that cannot be one is told in a line."""
        path = Path(self.mktemp())
        path.write_text("")
        status, _ = self.visit("node", "--state", str(path), *ANY)
        self.assertIn(str(path), str(await self.assertFailure(status, CommandError)))

    async def test_network_lost(self) -> None:
        """It tells when nobody answers, and when somebody does again."""
        for node in self.net.nodes:
            await node.suspend()
        time = OwnTime()
        status, terminal = self.visit("node", "--json", *ANY, reactor=time)
        time.pump([1] * 10)
        await terminal.shows(b'"online": false')
        self.assertIn(b'{"event": "unreachable"}\n', terminal.text)
        for node in self.net.nodes:
            await node.resume()
        await self.until(b'{"event": "reachable"}\n', terminal, time)
        await self.leave(status, terminal)

    async def test_process(self) -> None:
        """As the shell runs it: each line comes at once, SIGTERM is how it ends, and no failure."""
        child: Any = self.spawn("node", "--open", "--host", "127.0.0.1", "--bootstrap", self.bootstrap, "--json", *ANY)
        await child.prints(b'"ready"')
        self.assertTrue(child.output.endswith(b"}\n"))
        child.transport.signalProcess("TERM")
        self.assertEqual((0, b""), (await child.status, child.errors))
        self.assertEqual("finished", events(child.output)[-1]["event"])

    async def test_people(self) -> None:
        """People are told on standard error; Ctrl-C ends it with the status that shells know."""
        child: Any = self.spawn("node", "--open", "--host", "127.0.0.1", "--bootstrap", self.bootstrap, *ANY)
        await child.says(b"node: ready")
        child.transport.signalProcess("INT")
        self.assertEqual((130, b""), (await child.status, child.output))
        address = r"127\.0\.0\.1:\d+"
        first, *middle, last = child.errors.decode().splitlines()
        self.assertRegex(first, f"^node: listening on {address}$")
        self.assertRegex(last, r"^node: \d+ requests answered, \d+ of our own$")
        # What it hears of itself comes as it comes.
        others, persistent, ready = sorted(middle)
        self.assertRegex(others, f"^node: others see us at {address}$")
        self.assertRegex(persistent, f"^node: persistent: others know us at {address}$")
        self.assertEqual("node: ready; nodes known: 2", ready)


class NewsTests(SynchronousTestCase):
    """What happens rarely."""

    def tell(self, name: str, address: HostPort | None = None) -> list[Any]:
        told: list[Any] = []
        node = SimpleNamespace(public_address=address, node_id=None)
        output = SimpleNamespace(news=lambda event, text, **fields: told.append((event, text, fields)))
        session: Any = SimpleNamespace(node=node, output=output)
        NEWS[name](session)
        return told

    def test_address(self) -> None:
        """Our address may be one for each who sees it, or be unknown."""
        ((_, text, fields),) = self.tell("network_changed", HostPort("10.0.0.1", 0))
        self.assertEqual("others see us at 10.0.0.1, each at another port", text)
        self.assertEqual({"host": "10.0.0.1", "port": 0}, fields)
        ((_, text, fields),) = self.tell("network_changed")
        self.assertEqual(("our address is not known", {"host": None, "port": None}), (text, fields))

    def test_retired(self) -> None:
        """A node that is not persistent any more says so; and not that it is."""
        ((event, _, fields),) = self.tell("ephemeral")
        self.assertEqual(("ephemeral", {}), (event, fields))
        self.assertEqual([], self.tell("persistent"))
