"""``spaceswarm send``."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import CancelledError, Deferred

from spaceswarm_proxy.commands import send
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import Have, Verdict
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectError, PeerNotFoundError, StreamError
from tests.commands.file_support import CONTENT, HASH, NAME, NOTHING, OFFER, FileCommandCase
from tests.commands.peer_support import IDENTITY, KEY


def beginning(count: int) -> Have:
    return Have(count, hashlib.sha256(CONTENT[:count]).digest())


class SendTests(FileCommandCase):
    """Receivers of all kinds."""

    def offered(self) -> Deferred[bytes]:
        """:returns: a Deferred of what ``send`` says first to one more receiver."""

        async def listen() -> bytes:
            return await (await self.end()).message()

        return Deferred.fromCoroutine(listen())

    async def test_given(self) -> None:
        """The file is given to everybody who comes, one after the other and at once."""
        _, terminal = await self.sending()
        first, second = await self.end(), await self.end()
        for stream in (second, first, await self.end()):
            self.assertTrue((OFFER, CONTENT) == await self.take(stream))
        await terminal.shows(b'"sent"')
        sent = self.named(terminal, "sent")[0]
        key = second.transport.getHost().public_key.hex()
        wanted = {"remote_public_key": key, "name": NAME, "size": len(CONTENT), "sha256": HASH.hex()}
        self.assertEqual({"event": "sent", **wanted}, sent)

    async def test_goes_on(self) -> None:
        """Who has the beginning gets the rest; who has all gets nothing; who has something else gets everything."""
        await self.sending()
        for have, offset in (
            (beginning(1_000_000), 1_000_000),
            (beginning(len(CONTENT)), len(CONTENT)),
            (Have(1_000_000, HASH), 0),
        ):
            _, content = await self.take(await self.end(), have)
            self.assertTrue(CONTENT[offset:] == content)

    async def test_once(self) -> None:
        """With ``--once`` it ends when somebody has received it; who was cut off has not."""
        status, terminal = await self.sending("--once")
        cut = await self.end()
        await cut.message()
        cut.abort()
        await terminal.shows(b'"error"')
        self.assertFalse(status.called)
        await self.take(await self.end())
        self.assertEqual(0, await status)
        self.assertEqual("reset", self.named(terminal, "error")[0]["code"])

    async def test_mismatch(self) -> None:
        """That the receiver has something else is told."""
        _, terminal = await self.sending()
        stream = await self.end()
        await stream.message()
        stream.say(beginning(len(CONTENT)).encode())
        await stream.message()
        stream.say(Verdict.MISMATCH.encode())
        await terminal.shows(b'"file-mismatch"')

    async def test_liar(self) -> None:
        """Who breaks the protocol is cut off, and others are served."""
        _, terminal = await self.sending()
        for nonsense in (b"", b"nonsense", Have(len(CONTENT) + 1, HASH).encode()):
            stream = await self.end()
            await stream.message()
            stream.say(nonsense)
            await self.assertFailure(stream.message(), StreamError)
        await self.take(await self.end())
        await terminal.shows(b'"sent"')
        self.assertEqual(3 * ["message-error"], [each["code"] for each in self.named(terminal, "error")])

    async def test_changed(self) -> None:
        """A file that has changed is not sent: the hash would be wrong."""
        _, terminal = await self.sending()
        self.source.write_bytes(b"something else")
        await self.assertFailure(self.offered(), StreamError, ConnectError)
        await terminal.shows(b"has changed")

    async def test_too_many(self) -> None:
        """There is a limit to how many there can be."""
        self.patch(send, "MAX_RECEIVERS", 1)
        await self.sending()
        stream = await self.end()
        await stream.message()
        await self.assertFailure(self.offered(), ConnectError)

    async def test_allowed(self) -> None:
        """With ``--allow`` it is given to those only."""
        await self.sending("--allow", KeyPair.generate().public_key.hex())
        await self.assertFailure(self.offered(), ConnectError)

    async def test_leaves(self) -> None:
        """When it is told to leave, streams end, and it is found no more."""
        status, _ = await self.sending()
        stream = await self.end()
        await stream.message()
        status.cancel()
        await self.assertFailure(status, CancelledError)
        await self.assertFailure(stream.message(), StreamError)
        await self.assertFailure(self.offered(), PeerNotFoundError)

    async def test_no_file(self) -> None:
        """What is no file is told at once."""
        for wrong in (self.here, self.here / "nothing"):
            status, _ = self.visit("send", str(wrong))
            self.assertEqual(f"{wrong} is not a file", str(await self.assertFailure(status, CommandError)))

    async def test_long_name(self) -> None:
        """So is a name that others could not use."""
        path = self.here / ("x" * 250)
        path.write_bytes(b"")
        status, _ = self.visit("send", str(path))
        self.assertIn("240 bytes at most", str(await self.assertFailure(status, CommandError)))

    async def test_people(self) -> None:
        """People get the key in a line of its own, and hear who has received it."""
        status, terminal = self.visit("send", str(self.source), "--once", *IDENTITY)
        await terminal.shows(KEY.hex().encode() + b"\n")
        stream = await self.end()
        await self.take(stream, NOTHING)
        self.assertEqual(0, await status)
        key = stream.transport.getHost().public_key.hex()
        self.assertIn(f"send: {key} has received it\n", self.errors.getvalue())
