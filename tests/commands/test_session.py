"""What the commands of the DHT have in common."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred

from spaceswarm_proxy.commands import make_parser
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.errors import NetworkUnreachableError
from tests.commands.dht_support import DHTCommandCase, OwnTime, events
from tests.commands.support import reactor


class SessionTests(DHTCommandCase):
    """A node for as long as the command works."""

    NODES = 1

    def setUp(self) -> Any:
        self.sessions: list[Session] = []
        return super().setUp()

    async def run_work(self, work: Any, *arguments: str) -> tuple[Any, bytes]:
        """:returns: what became of it, and the output."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        here = ("--host", "127.0.0.1", "--bootstrap", self.bootstrap)
        options = make_parser().parse_args(["lookup", "a room", *here, *arguments])

        async def remembered(session: Session) -> None:
            self.sessions.append(session)
            await work(session)

        try:
            result: Any = await run_with_node(reactor, options, writing, remembered)
        except Exception as problem:
            result = problem
        finally:
            os.close(writing)
        return result, os.read(reading, 10_000)

    async def test_works(self) -> None:
        """The node is listening before the work begins, finds the network, and is closed when it is done."""
        result, output = await self.run_work(Session.reach_network, "--json")
        listening, ready = events(output)
        self.assertEqual(0, result)
        port = listening.pop("port")
        self.assertEqual({"event": "listening", "host": "127.0.0.1"}, listening)
        self.assertTrue(0 < port < 65536)
        self.assertEqual({"event": "ready", "online": True, "nodes": 1}, ready)
        self.assertTrue(self.sessions[0].node.suspended)

    async def test_people(self) -> None:
        """People are told so on standard error."""
        result, output = await self.run_work(Session.reach_network)
        self.assertEqual((0, b""), (result, output))
        self.assertRegex(
            self.errors.getvalue(), r"^lookup: listening on 127\.0\.0\.1:\d+\nlookup: ready; nodes known: 1\n$"
        )

    async def test_fails(self) -> None:
        """What goes wrong is an event too, and the node is closed all the same."""

        async def work(session: Session) -> None:
            raise CommandError("no tea", "no-tea")

        result, output = await self.run_work(work, "--json")
        self.assertIsInstance(result, CommandError)
        self.assertEqual({"event": "error", "code": "no-tea", "message": "no tea"}, events(output)[-1])
        self.assertTrue(self.sessions[0].node.suspended)

    async def test_nobody_reads(self) -> None:
        """When nobody reads its output any more it leaves, and that is no failure."""
        options = make_parser().parse_args(
            ["lookup", "a room", "--host", "127.0.0.1", "--bootstrap", self.bootstrap, "--json"]
        )
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)

        async def work(session: Session) -> None:
            self.sessions.append(session)
            os.close(reading)
            await session.reach_network()
            self.fail("nobody reads this")

        self.assertEqual(0, await run_with_node(reactor, options, writing, work))
        self.assertTrue(self.sessions[0].node.suspended)

    async def test_no_network(self) -> None:
        """That no node answers is an error, and told while it is being tried."""
        await self.net.close()
        time = OwnTime()
        status, terminal = self.visit("lookup", "a room", reactor=time)
        failing = self.assertFailure(status, NetworkUnreachableError)
        time.pump([1] * 10)
        self.assertEqual("no node of the spaceswarm network answers", str(await failing))
        self.assertIn("looking for the network: 0 answers, 0 without one, 1 still asked\n", self.errors.getvalue())
        self.assertIn("ready, but nobody answers\n", self.errors.getvalue())
        self.assertEqual(b"", await terminal.ended)

    async def test_cancelled(self) -> None:
        """Ctrl-C closes the node."""
        never: Deferred[None] = Deferred()

        async def work(session: Session) -> None:
            never.callback(None)
            await Deferred()

        running = Deferred.fromCoroutine(self.run_work(work, "--json"))
        await never
        running.cancel()
        await running.addErrback(lambda failure: None)
        self.assertTrue(self.sessions[0].node.suspended)
