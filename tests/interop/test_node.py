"""The harness itself: :mod:`tests.interop.node` and :mod:`tests.interop.javascript`."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy._reactor import or_global
from tests.interop import javascript
from tests.interop.node import InteropTestCase, NodeError, NodeProcess

TOPIC = "07" * 32

SAY = "const say = (event, more) => console.log(JSON.stringify({event, ...more}));\n"
#: Says every line of its standard input, and ends with that.
PARROT = SAY + "require('readline').createInterface({input: process.stdin}).on('line', (text) => say('line', {text}));"
DEAF = SAY + "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); say('ready');"
SICK = "console.error('it hurts'); process.exit(3);"


class NodeProcessTests(InteropTestCase):
    """What a test may expect of a :class:`NodeProcess`."""

    def script(self, text: str) -> NodeProcess:
        path = Path(self.mktemp()).with_suffix(".js").absolute()
        path.write_text(text)
        return self.node(str(path))

    async def test_events_in_order(self) -> None:
        """Each wait gets the first event that none had before, whether it has come already or not."""
        process = self.script(SAY + "say('a', {n: 1}); say('b', {n: 2}); say('a', {n: 3});")
        await process.ended()
        first, second, other = await process.event("a"), await process.event("a"), await process.event("b")
        self.assertEqual([1, 3, 2], [first["n"], second["n"], other["n"]])
        self.assertEqual([1, 2, 3], [event["n"] for event in process.events])

    async def test_predicate(self) -> None:
        """A wait with a predicate passes over what does not fit, and leaves it to others."""
        process = self.script(PARROT)
        waiting = process.event("line", lambda event: event["text"] == "two")
        process.write("one")
        process.write("two")
        self.assertEqual("two", (await waiting)["text"])
        self.assertEqual("one", (await process.event("line"))["text"])

    async def test_timeout(self) -> None:
        """What does not come in time fails, with what came instead."""
        process = self.script(PARROT)
        process.write("something else")
        await process.event("line")
        problem = await self.assertFailure(process.event("never", timeout=0.01), NodeError)
        self.assertIn("no 'never' within", str(problem))
        self.assertIn("something else", str(problem))

    async def test_cancelled(self) -> None:
        """Who gives up waiting takes no event from others."""
        process = self.script(PARROT)
        abandoned = process.event("line")
        abandoned.cancel()
        self.failureResultOf(abandoned, CancelledError)
        process.write("for the next")
        self.assertEqual("for the next", (await process.event("line"))["text"])

    async def test_death(self) -> None:
        """When the process dies, whoever waits (or comes later) is told so, with its standard error."""
        process = self.script(SICK)
        for waiting in (process.event("ready"), process.event("ready")):
            problem = await self.assertFailure(waiting, NodeError)
            self.assertIn("it hurts", str(problem))
        late = await self.assertFailure(process.event("ready"), NodeError)
        self.assertIn("exit code 3", str(late))
        self.assertIsNotNone(process.reason and process.reason.check(ProcessTerminated))

    async def test_stop(self) -> None:
        """After stop the process is gone; to stop it again is harmless."""
        process = self.script(PARROT)
        process.write("I live")
        await process.event("line")
        await process.stop()
        self.assertIsNotNone(process.reason)
        await process.stop()

    async def test_deaf(self) -> None:
        """A process that does not hear SIGTERM is killed, and that is an error."""
        process = self.script(DEAF)
        await process.event("ready")
        with patch("tests.interop.node.GRACE", 0.05):
            with self.assertRaisesRegex(NodeError, "had to be killed"):
                await process.stop()
        self.assertIsNotNone(process.reason)

    async def test_noise(self) -> None:
        """Lines that are no events do no harm; they are kept for the error message."""
        process = self.script(SAY + "console.log('plain text'); console.log('[1]'); say('ready');")
        await process.event("ready")
        await process.ended()
        self.assertEqual("plain text\n[1]\n", process.noise)
        self.assertIsNotNone(process.reason and process.reason.check(ProcessDone))


class JavaScriptPeersTests(InteropTestCase):
    """The JavaScript client and server against each other: what the other tests here replace one end of."""

    async def test_they_talk(self) -> None:
        """The client finds a TCP service through the server, and what it sends comes back."""
        reactor = or_global(None)
        service = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Echo))
        self.addCleanup(service.stopListening)
        peer = f"127.0.0.1:{service.getHost().port}"
        server = self.node("proxy_server.js", "--tcp", "0", "--peer", f"{TOPIC}={peer}")
        port = (await server.event("ready"))["tcp"]
        client = self.node("proxy_client.js", "--tcp", f"127.0.0.1:{port}", "--topic", TOPIC, "--send", "hello")
        self.assertEqual(f"{peer}:{TOPIC}", (await client.event("connection"))["peer"])
        self.assertEqual("hello", (await client.event("data"))["utf8"])
        await client.stop()


class WhyNotTests(SynchronousTestCase):
    """When tests with JavaScript are skipped, and what they say."""

    def why_not(self, wish: str = "", node: str | None = "/bin/node", packages: str = ".") -> str | None:
        with (
            patch.dict(os.environ, INTEROP=wish),
            patch.object(javascript, "find_node", lambda: node),
            patch.object(javascript, "PACKAGES", Path(packages)),
        ):
            return javascript.why_not()

    def test_nothing_missing(self) -> None:
        """With Node and the packages they run."""
        self.assertIsNone(self.why_not())

    def test_missing(self) -> None:
        """Without them they are skipped, and the reason says what to do."""
        self.assertIn("no Node", str(self.why_not(node=None)))
        self.assertIn("no JavaScript packages", str(self.why_not(packages="nowhere")))

    def test_wishes(self) -> None:
        """One can leave them out although they could run, and insist although they can't."""
        self.assertIn("on request", str(self.why_not("skip")))
        self.assertIsNone(self.why_not("require", node=None))


class FindNodeTests(SynchronousTestCase):
    """Which Node is used."""

    def node(self, answer: str) -> str:
        """A program that answers ``--version``."""
        path = Path(self.mktemp()).absolute()
        path.write_text(f"#!/bin/sh\necho {answer}\n")
        path.chmod(0o755)
        return str(path)

    def find(self, machine: str | None, wheel: str | None) -> str | None:
        find = javascript.find_node.__wrapped__
        with (
            patch("tests.interop.javascript.shutil.which", lambda name: machine),
            patch.object(javascript, "_in_wheel", lambda path: wheel),
        ):
            return find()

    def test_own_first(self) -> None:
        """The machine's own, if it is new enough."""
        own = self.node("v20.1.0")
        self.assertEqual(own, self.find(own, self.node("v24.0.0")))

    def test_wheel(self) -> None:
        """The wheel's if the machine has none, an old one, or something else of that name."""
        wheel = self.node("v24.0.0")
        for machine in (None, self.node("v18.20.0"), self.node("hello"), "/nowhere/node"):
            self.assertEqual(wheel, self.find(machine, wheel))

    def test_none(self) -> None:
        """None if neither is there."""
        self.assertIsNone(self.find(None, None))
