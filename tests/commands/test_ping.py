"""``spaceswarm ping``."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import DNSLookupError

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.errors import RequestTimeoutError
from tests.commands.dht_support import DHTCommandCase, OwnTime, events


def resolve(name: str) -> Deferred[str]:
    """A name server that knows one."""
    return succeed("127.0.0.1") if name == "node.example" else fail(DNSLookupError(name))


class PingTests(DHTCommandCase):
    """Is it there?"""

    NODES = 1

    def time(self) -> OwnTime:
        time = OwnTime()
        time.resolve = resolve
        return time

    async def test_answers(self) -> None:
        """Each answer is a line: how long it took, and how the node sees us."""
        output = await self.output("ping", self.bootstrap, "--count", "1")
        self.assertRegex(output.decode(), rf"^{self.bootstrap}: \d+\.\d ms, sees us at 127\.0\.0\.1:\d+\n$")
        self.assertRegex(self.errors.getvalue(), r"ping: 1 of 1 answered; \d+\.\d ms to \d+\.\d ms\n$")

    async def test_json(self) -> None:
        """Programs are told the same."""
        output = await self.output("ping", self.bootstrap, "--count", "1", "--json")
        listening, pong, finished = events(output)
        to = pong.pop("to")
        self.assertTrue(to.startswith("127.0.0.1:"), to)
        self.assertTrue(0 < pong.pop("seconds") < 10)
        host, port = self.net.nodes[0].address
        self.assertEqual({"event": "pong", "host": host, "port": port}, pong)
        self.assertEqual({"event": "finished", "sent": 1, "answered": 1}, finished)
        self.assertEqual("listening", listening["event"])

    async def test_once_a_second(self) -> None:
        """It asks once a second, as often as it is told."""
        time = self.time()
        status, terminal = self.visit("ping", self.bootstrap, "--count", "3", "--json", reactor=time)
        for number in range(3):
            await terminal.shows(b'"pong"')
            if number < 2:
                self.assertIn(number + 1.0, [call.getTime() for call in time.getDelayedCalls()])
                terminal.text = b""
                time.advance(1)
        self.assertEqual(0, await status)
        pong, finished = events(await terminal.ended)
        self.assertEqual(("pong", 3, 3), (pong["event"], finished["sent"], finished["answered"]))

    async def test_name(self) -> None:
        """A node may be given by a name."""
        port = self.net.nodes[0].address.port
        status, terminal = self.visit("ping", f"node.example:{port}", "--count", "1", reactor=self.time())
        self.assertEqual(0, await status)
        self.assertTrue((await terminal.ended).startswith(f"127.0.0.1:{port}: ".encode()))

    async def test_no_such_name(self) -> None:
        """A name that nobody knows is told as such."""
        status, _ = self.visit("ping", "nobody.example:1", reactor=self.time())
        self.assertEqual("nobody.example: no such host", str(await self.assertFailure(status, CommandError)))

    async def test_cancelled(self) -> None:
        """Ctrl-C ends it, even while a name is being looked up."""
        time = OwnTime()
        time.resolve = lambda name: Deferred()
        status, _ = self.visit("ping", "node.example:1", reactor=time)
        status.cancel()
        await self.assertFailure(status, CancelledError)

    async def test_lost(self) -> None:
        """An answer that does not come is told, and the next one is waited for."""
        time = self.time()
        (node,) = self.net.nodes
        await node.suspend()
        status, terminal = self.visit("ping", self.bootstrap, "--count", "2", reactor=time)
        time.advance(0.9)
        self.assertEqual(0, self.errors.getvalue().count("no answer"))
        await node.resume()
        time.advance(0.1)
        self.assertEqual(1, self.errors.getvalue().count(f"ping: {self.bootstrap}: no answer\n"))
        time.advance(0)
        self.assertEqual(0, await status)
        self.assertEqual(1, (await terminal.ended).count(b"sees us at"))
        self.assertIn("ping: 1 of 2 answered; ", self.errors.getvalue())

    async def test_silence(self) -> None:
        """That it never answers is a failure."""
        await self.net.close()
        time = self.time()
        status, _ = self.visit("ping", self.bootstrap, "--count", "2", reactor=time)
        failing = self.assertFailure(status, RequestTimeoutError)
        time.pump([1] * 4)
        self.assertEqual(f"{self.bootstrap} does not answer", str(await failing))
        self.assertEqual(2, self.errors.getvalue().count(f"ping: {self.bootstrap}: no answer\n"))
