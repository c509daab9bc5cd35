"""``spaceswarm receive``, and both commands together."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from spaceswarm_proxy.commands import make_parser, partial_file, receive
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import Begin, Have, Offer, Verdict
from spaceswarm_proxy.commands.file_stream import FileStream
from spaceswarm_proxy.errors import ConnectError, FileMismatchError, MessageError, PeerNotFoundError
from tests.commands.dht_support import events
from tests.commands.file_support import CONTENT, HASH, NAME, OFFER, FileCommandCase
from tests.commands.peer_support import IDENTITY, KEY
from tests.commands.proxied_support import ProxiedCommandCase
from tests.commands.support import TerminalCase, reactor


class ReceiveTests(FileCommandCase):
    """Senders of all kinds."""

    def sender(self, end: int | None = None, offer: Offer = OFFER, content: bytes = CONTENT) -> Any:
        """:returns: a script: send as far as ``end``, then cut the stream; or all, and wait for the verdict."""

        async def send(stream: FileStream) -> None:
            stream.say(offer.encode())
            have = Have.parse(await stream.message(), offer)
            self.haves.append(have.size)
            stream.say(Begin(have.size).encode())
            stream.transport.write(content[have.size : end])
            if end is None:
                self.verdicts.append(Verdict.parse(await stream.message()))
                stream.transport.loseConnection()
            else:
                while (self.partial.stat().st_size if self.partial.exists() else 0) < end:
                    await self.a_moment()
                stream.abort()

        return send

    def setUp(self) -> Any:
        self.haves: list[int] = []
        self.verdicts: list[Verdict] = []
        return super().setUp()

    async def a_moment(self) -> None:
        await deferLater(reactor, 0.005)

    async def test_received(self) -> None:
        """It comes whole, has its name, and the sender hears of it."""
        await self.play(self.sender())
        status, terminal = self.receiving()
        self.assertEqual(0, await status)
        await terminal.ended
        self.assertTrue(CONTENT == self.received.read_bytes())
        self.assertEqual([NAME], os.listdir(self.there))
        self.assertEqual([Verdict.RECEIVED], self.verdicts)
        path = str(self.received)
        fields = {"path": path, "name": NAME, "size": len(CONTENT)}
        self.assertEqual([{"event": "begun", "offset": 0, **fields}], self.named(terminal, "begun"))
        more = {"sha256": HASH.hex(), "remote_public_key": KEY.hex()}
        self.assertEqual([{"event": "received", **fields, **more}], self.named(terminal, "received"))

    async def test_cut(self) -> None:
        """After each cut it goes on by itself where it was."""
        cuts = (1_000_000, 2_000_000)
        await self.play(*map(self.sender, cuts), self.sender())
        status, terminal = self.receiving()
        self.assertEqual(0, await status)
        await terminal.ended
        self.assertTrue(CONTENT == self.received.read_bytes())
        self.assertEqual([0, *cuts], self.haves)
        self.assertEqual([0.01, 0.01], [each["delay"] for each in self.named(terminal, "retry")])

    async def test_left(self) -> None:
        """What an earlier run has left is used."""
        self.partial.write_bytes(CONTENT[:2_000_000])
        await self.play(self.sender())
        status, _ = self.receiving()
        self.assertEqual(0, await status)
        self.assertTrue(CONTENT == self.received.read_bytes())
        self.assertEqual([2_000_000], self.haves)

    async def test_mismatch(self) -> None:
        """Content that does not have the hash is an error, and nothing of it is kept."""
        await self.play(self.sender(content=CONTENT[:-1] + b"?"))
        status, terminal = self.receiving()
        await self.assertFailure(status, FileMismatchError)
        self.assertEqual([], os.listdir(self.there))
        self.assertEqual([Verdict.MISMATCH], self.verdicts)
        await terminal.ended
        self.assertEqual("file-mismatch", events(terminal.text)[-1]["code"])

    async def test_name(self) -> None:
        """A name that leads elsewhere is refused; with a name of our own nobody looks at it."""
        offer = OFFER._replace(name="../" + NAME)
        await self.play(self.sender(offer=offer), self.sender(offer=offer))
        status, _ = self.receiving()
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("bad-name: '../big.iso': it needs another name, with --output", str(problem))
        self.assertEqual([[], [NAME]], [os.listdir(each) for each in (self.there, self.here)])
        status, _ = self.visit("receive", KEY.hex(), "--output", str(self.there / "mine"))
        self.assertEqual(0, await status)
        self.assertEqual(["mine"], os.listdir(self.there))

    async def test_there(self) -> None:
        """A file that is there stays as it is."""
        self.received.write_bytes(b"old")
        await self.play(self.sender())
        status, _ = self.receiving()
        self.assertEqual(f"{self.received} is there already", str(await self.assertFailure(status, CommandError)))
        self.assertEqual(b"old", self.received.read_bytes())

    async def test_liar(self) -> None:
        """A sender that breaks the protocol is not asked again."""

        async def lie(stream: FileStream) -> None:
            stream.say(b"nonsense")

        await self.play(lie)
        status, _ = self.receiving()
        await self.assertFailure(status, MessageError)

    async def test_silent(self) -> None:
        """Whoever listens and offers nothing is left, and asked again."""

        async def say_nothing(stream: FileStream) -> None:
            await stream.message()

        await self.play(say_nothing, self.sender())
        self.patch(receive, "OFFER_TIMEOUT", 0.01)
        status, terminal = self.receiving()
        await terminal.shows(b"the peer offers no file")
        self.patch(receive, "OFFER_TIMEOUT", 20.0)
        self.assertEqual(0, await status)

    async def test_timeout(self) -> None:
        """With ``--timeout`` it gives up when nothing has come in that time."""
        status, terminal = self.receiving("--timeout", "0.3")
        await self.assertFailure(status, ConnectError)
        await terminal.ended
        self.assertEqual("error", events(terminal.text)[-1]["event"])

    async def test_waits(self) -> None:
        """It may be started before the sender."""
        status, terminal = self.receiving()
        await terminal.shows(b'"retry"')
        await self.play(self.sender())
        self.assertEqual(0, await status)
        self.assertIn(PeerNotFoundError.reference_code, self.named(terminal, "retry")[0]["message"])

    async def test_full(self) -> None:
        """A full disk is told, and not tried again."""

        def full(descriptor: int, data: bytes) -> None:
            if data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        await self.play(self.sender())
        self.patch(partial_file, "write_all", full)
        status, _ = self.receiving()
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual(f"cannot write {self.partial}: No space left on device", str(problem))

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it, at once; what has come is kept for the next time."""

        async def half(stream: FileStream) -> None:
            stream.say(OFFER.encode())
            await stream.message()
            stream.say(Begin(0).encode())
            stream.transport.write(CONTENT[:100])

        await self.play(half)
        status, terminal = self.receiving()
        await terminal.shows(b'"begun"')
        while self.partial.stat().st_size < 100:
            await self.a_moment()
        status.cancel()
        await self.assertFailure(status, CancelledError)
        self.assertEqual(CONTENT[:100], self.partial.read_bytes())


class BothTests(FileCommandCase):
    """``send`` and ``receive``."""

    async def test_here(self) -> None:
        """Both in this process; an empty file is one too."""
        for content in (CONTENT, b""):
            self.source.write_bytes(content)
            sending, _ = await self.sending("--once")
            status, terminal = self.visit("receive", KEY.hex(), "--output", str(self.there))
            self.assertEqual([0, 0], [await status, await sending])
            self.assertEqual(f"{self.received}\n".encode(), await terminal.ended)
            self.assertTrue(content == self.received.read_bytes())
            self.received.unlink()

    async def test_processes(self) -> None:
        """As the shell runs them: the sender is stopped in the middle and started again, and the file comes whole."""
        content = CONTENT * 10
        self.source.write_bytes(content)
        network = ("--host", "127.0.0.1", "--bootstrap", self.bootstrap)
        receiving: Any = self.spawn("receive", KEY.hex(), "--json", "--output", str(self.there), *network)
        first: Any = self.spawn("send", str(self.source), *IDENTITY, *network)
        await receiving.prints(b'"begun"')
        first.transport.signalProcess("TERM")
        self.assertEqual(0, await first.status, first.errors)
        if not receiving.status.called:
            self.spawn("send", str(self.source), *IDENTITY, *network)
        self.assertEqual(0, await receiving.status, receiving.errors)
        self.assertTrue(content == self.received.read_bytes())
        self.assertEqual([NAME], os.listdir(self.there))


class ProxiedTests(FileCommandCase, ProxiedCommandCase):
    """One of them, or both, behind a proxy server."""

    def setUp(self) -> Any:
        return super().setUp().addCallback(lambda _: Deferred.fromCoroutine(self.proxy_server()))

    async def received_whole(self, sending: Deferred[int], receiving: Deferred[int]) -> None:
        """The file comes, and both end well."""
        self.assertEqual([0, 0], [await receiving, await sending])
        self.assertTrue(CONTENT == self.received.read_bytes())
        self.received.unlink()

    async def test_here(self) -> None:
        """Either, and both."""
        where = str(self.there)
        for send, take in ((self.behind, self.visit), (self.visit, self.behind), (self.behind, self.behind)):
            sending, terminal = send("send", str(self.source), "--json", "--once", *IDENTITY)
            await terminal.shows(b'"listening"')
            receiving, _ = take("receive", KEY.hex(), "--output", where)
            await self.received_whole(sending, receiving)

    async def test_links_lost(self) -> None:
        """When the links are cut in the middle, the file goes on where it was, under the same key."""
        self.source.write_bytes(CONTENT * 10)
        sending, sender = self.behind("send", str(self.source), "--json", "--once")
        await sender.shows(b'"listening"')
        (key,) = (each["public_key"] for each in self.named(sender, "listening"))
        receiving, receiver = self.behind("receive", key, "--json", "--output", str(self.there))
        await receiver.shows(b'"begun"')
        while self.partial.stat().st_size < len(CONTENT):
            await deferLater(reactor, 0)
        self.cut_links()
        self.assertEqual([0, 0], [await receiving, await sending])
        self.assertTrue(CONTENT * 10 == self.received.read_bytes())
        offsets = [each["offset"] for each in self.named(receiver, "begun")]
        self.assertEqual((0, True), (offsets[0], offsets[-1] >= len(CONTENT)))


class UsageTests(TerminalCase):
    """Arguments that make no sense."""

    def test_refused(self) -> None:
        """They are told before anything is done."""
        for wrong in (("send",), ("receive",), ("receive", "me"), ("receive", KEY.hex(), "--timeout", "0")):
            ended = self.assertRaises(SystemExit, make_parser().parse_args, wrong)
            self.assertEqual(2, ended.code)
