"""``spaceswarm announce``."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import CancelledError

from spaceswarm_proxy.commands.announce import INTERVAL, RETRY, SPREAD
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.results import TopicPeers
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.topics import topic
from tests.commands.dht_support import DHTCommandCase, OwnTime, events
from tests.commands.support import Terminal

ROOM = "a room"
SEED = bytes(range(32))
KEY = KeyPair.from_seed(SEED).public_key
IDENTITY = ("--seed", SEED.hex())


class AnnounceTests(DHTCommandCase):
    """Being found."""

    async def found(self) -> list[TopicPeers]:
        """:returns: what the nodes tell of the topic."""
        node = self.net.node()
        await node.ready()
        return [reply.value async for reply in node.lookup(topic(ROOM)) if reply.value.peers]

    async def test_once(self) -> None:
        """With ``--once`` it is announced, and stays so."""
        announced, finished = await self.told("announce", ROOM, "--once", *IDENTITY)
        stored = announced.pop("stored")
        self.assertEqual({"event": "announced", "topic": topic(ROOM).hex(), "public_key": KEY.hex()}, announced)
        self.assertEqual({"event": "finished", "announces": 1}, finished)
        found = await self.found()
        self.assertEqual((3, [KEY] * 3), (stored, [peers.peers[0].public_key for peers in found]))
        self.assertEqual([0, 0, 0], [peers.bump for peers in found])

    async def test_relays(self) -> None:
        """Its relays are told to whoever looks, and with ``--bump`` that there is news."""
        relays = ("--relay", "10.0.0.1:1", "--relay", "10.0.0.2:2")
        await self.told("announce", ROOM, "--once", "--bump", *relays)
        for peers in await self.found():
            self.assertEqual((HostPort("10.0.0.1", 1), HostPort("10.0.0.2", 2)), peers.peers[0].relay_addresses)
            self.assertGreater(peers.bump, 1_600_000_000_000)

    async def test_stays(self) -> None:
        """It is announced until the command is told to leave, and then no more."""
        status, terminal = self.visit("announce", ROOM, "--json")
        await terminal.shows(b'"announced"')
        self.assertEqual(3, len(await self.found()))
        status.cancel()
        await self.assertFailure(status, CancelledError)
        self.assertEqual([], await self.found())
        names = [event["event"] for event in events(await terminal.ended)]
        self.assertEqual(["listening", "ready", "announced", "unannounced", "finished"], names)

    async def test_people(self) -> None:
        """People are told under which key they are found."""
        status, _ = self.visit("announce", ROOM, "--once", *IDENTITY)
        self.assertEqual(0, await status)
        self.assertIn(f"announce: announced at 3 nodes as {KEY.hex()}\n", self.errors.getvalue())

    async def begin(self, time: OwnTime) -> tuple[Any, Terminal]:
        """:returns: a command that has announced once, in this time."""
        status, terminal = self.visit("announce", ROOM, "--json", reactor=time)
        await terminal.shows(b'"announced"')
        return status, terminal

    async def test_again(self) -> None:
        """It is announced again before it is forgotten, not at a time that could be foreseen."""
        self.patch(random, "random", lambda: 0.5)
        time = OwnTime()
        _, terminal = await self.begin(time)
        due = INTERVAL + SPREAD / 2
        self.assertIn(due, [call.getTime() for call in time.getDelayedCalls()])
        terminal.text = b""
        time.advance(due)
        await terminal.shows(b'"announced"')

    async def test_trouble(self) -> None:
        """When the network is away for a while it is told, and tried again soon."""
        time = OwnTime()
        status, terminal = await self.begin(time)
        for node in self.net.nodes:
            await node.suspend()
        time.advance(INTERVAL + SPREAD)
        time.pump([1] * 20)
        await terminal.shows(b'"error"')
        terminal.text = b""
        self.assertRegex(self.errors.getvalue(), r"announce: .*; trying again\n$")
        for node in self.net.nodes:
            await node.resume()
        time.advance(RETRY)
        await terminal.shows(b'"announced"')
        status.cancel()
        await self.assertFailure(status, CancelledError)

    async def test_cannot_leave(self) -> None:
        """When nobody can be told that we are gone, it leaves all the same, and says so."""
        time = OwnTime()
        status, terminal = await self.begin(time)
        await self.net.close()
        status.cancel()
        self.assertFalse(terminal.ended.called)
        time.pump([1] * 5)
        await self.assertFailure(status, CancelledError)
        self.assertIn("nobody could be told that we are gone", self.errors.getvalue())

    async def test_process(self) -> None:
        """As the shell runs it: SIGTERM is how it ends, and no failure."""
        child: Any = self.spawn("announce", ROOM, "--host", "127.0.0.1", "--bootstrap", self.bootstrap, "--json")
        await child.prints(b'"announced"')
        child.transport.signalProcess("TERM")
        self.assertEqual((0, b""), (await child.status, child.errors))
        self.assertEqual("finished", events(child.output)[-1]["event"])
        self.assertEqual([], await self.found())
