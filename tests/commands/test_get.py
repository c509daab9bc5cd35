"""``spaceswarm get``."""

from __future__ import annotations

from spaceswarm_proxy.codec.key_text import encode_key
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import HostPort
from tests.commands.dht_support import DHTCommandCase

VALUE = b"\xff\x00 no text\n"
HASH = hash32(VALUE)


class GetTests(DHTCommandCase):
    """Getting."""

    async def put(self, key_pair: KeyPair | None = None, seq: int = 0) -> None:
        node = self.net.node()
        await node.ready()
        await (node.immutable_put(VALUE) if key_pair is None else node.mutable_put(key_pair, VALUE, seq))

    async def test_immutable(self) -> None:
        """The value is written as it is, without anything else."""
        await self.put()
        for text in (HASH.hex(), encode_key(HASH)):
            self.assertEqual(VALUE, await self.output("get", text))
        self.assertRegex(self.errors.getvalue(), r"get: 11 bytes from 127\.0\.0\.1:\d+\n$")

    async def test_json(self) -> None:
        """Programs get it in hex."""
        await self.put()
        value, finished = await self.told("get", HASH.hex())
        self.assertIn(HostPort.parse(value.pop("from")), [node.address for node in self.net.nodes])
        self.assertEqual({"event": "value", "target": HASH.hex(), "value": VALUE.hex()}, value)
        self.assertEqual({"event": "finished", "size": 11}, finished)

    async def test_mutable(self) -> None:
        """With ``--mutable`` it is the latest value of a key, with its number."""
        key_pair = KeyPair.generate()
        key = key_pair.public_key.hex()
        await self.put(key_pair, 7)
        self.assertEqual(VALUE, await self.output("get", key, "--mutable"))
        value, _ = await self.told("get", key, "--mutable", "--seq", "7")
        del value["from"]
        target = hash32(key_pair.public_key).hex()
        wanted = {"event": "value", "target": target, "public_key": key, "value": VALUE.hex(), "seq": 7}
        self.assertEqual(wanted, value)
        text, _ = await self.refused(CommandError, "get", key, "--mutable", "--seq", "8")
        self.assertIn("nobody has such a value", text)

    async def test_nobody(self) -> None:
        """What nobody has is an error."""
        text, error = await self.refused(CommandError, "get", HASH.hex())
        self.assertEqual({"event": "error", "code": "not-found", "message": text}, error)

    async def test_number(self) -> None:
        """What is found by its hash has no number."""
        text, _ = await self.refused(CommandError, "get", HASH.hex(), "--seq", "1")
        self.assertIn("--seq goes with --mutable", text)
