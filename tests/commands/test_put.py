"""``spaceswarm put``."""

from __future__ import annotations

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import SequenceReusedError, SequenceTooLowError
from tests.commands.dht_support import DHTCommandCase

SEED = bytes(range(32))
KEY = KeyPair.from_seed(SEED).public_key
MUTABLE = ("--mutable", "--seed", SEED.hex())


class PutTests(DHTCommandCase):
    """Storing."""

    async def test_immutable(self) -> None:
        """A value is stored under its hash, which is printed."""
        self.assertEqual(f"{hash32(b'hello').hex()}\n".encode(), await self.output("put", "hello"))
        self.assertIn("put: stored at 3 nodes", self.errors.getvalue())
        node = self.net.node()
        await node.ready()
        reply = await node.immutable_get(hash32(b"hello"))
        self.assertEqual(b"hello", reply and reply.value)

    async def test_json(self) -> None:
        """Programs are told the same, and how many nodes have it."""
        target = hash32(b"hello").hex()
        wanted = [{"event": "put", "target": target, "copies": 3}, {"event": "finished", "copies": 3}]
        self.assertEqual(wanted, await self.told("put", "hello"))

    async def test_standard_input(self) -> None:
        """What ``-`` stands for are the bytes of standard input, to their end."""
        status, terminal = self.visit("put", "-")
        terminal.type(b"\xff\x00")
        terminal.type(b"\n")
        terminal.end_input()
        self.assertEqual(0, await status)
        target = hash32(b"\xff\x00\n").hex()
        self.assertEqual(f"{target}\n".encode(), await terminal.ended)

    async def test_mutable(self) -> None:
        """With a seed it is stored under the public key, in place of what had a lower number."""
        put, _ = await self.told("put", "one", *MUTABLE)
        wanted = {"event": "put", "target": hash32(KEY).hex(), "public_key": KEY.hex(), "seq": 0, "copies": 3}
        self.assertEqual(wanted, put)
        self.assertEqual(f"{KEY.hex()}\n".encode(), await self.output("put", "two", *MUTABLE, "--seq", "5"))
        node = self.net.node()
        await node.ready()
        reply = await node.mutable_get(KEY)
        self.assertEqual((b"two", 5), reply and (reply.value.value, reply.value.seq))

    async def test_number(self) -> None:
        """A number that is too low, or was used for something else, is refused with the one that is there."""
        await self.output("put", "five", *MUTABLE, "--seq", "5")
        text, error = await self.refused(SequenceTooLowError, "put", "four", *MUTABLE, "--seq", "4")
        self.assertIn("number 5", text)
        self.assertEqual({"event": "error", "code": "sequence-too-low", "message": text}, error)
        await self.refused(SequenceReusedError, "put", "another", *MUTABLE, "--seq", "5")

    async def test_size(self) -> None:
        """A value has 1 to 1,000 bytes; more are not even read."""
        await self.output("put", "x" * 1000)
        text, error = await self.refused(CommandError, "put", "é" * 501)
        self.assertEqual("the value is too large: nodes keep up to 1000 bytes", text)
        self.assertEqual("value-too-large", error["code"])
        text, _ = await self.refused(CommandError, "put", "")
        self.assertIn("empty", text)
        status, terminal = self.visit("put", "-")
        terminal.type(b"x" * 1001)
        self.assertIn("too large", str(await self.assertFailure(status, CommandError)))

    async def test_whose(self) -> None:
        """What can be replaced must have an owner; what cannot has no number."""
        text, _ = await self.refused(CommandError, "put", "x", "--mutable")
        self.assertIn("--mutable needs --seed", text)
        text, _ = await self.refused(CommandError, "put", "x", "--seq", "1")
        self.assertIn("--seq goes with --mutable", text)
