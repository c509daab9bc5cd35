"""Connections between our nodes and JavaScript ones: what goes over them, and how they end."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.errors import StreamAbortedError, StreamResetError
from tests.interop.connections_support import OURS, THEIRS, ConnectionCase, EndTests
from tests.interop.proxy_support import eventually

TEXTS = ("knock knock", "who is there", "it is me")


class TalkTests(EndTests):
    """What holds whoever connects."""

    async def test_who_is_there(self: Any) -> None:
        """Each side knows the key of the other, and a few words go both ways."""
        protocol, end, _, _ = await self.open()
        self.assertEqual(protocol.transport.getPeer().public_key, THEIRS.public_key)
        self.assertEqual(protocol.transport.getHost().public_key, OURS.public_key)
        protocol.say("hello JavaScript")
        self.assertEqual("hello JavaScript", (await end.event("data"))["text"])
        end.tell("write", text="hello Python")
        await protocol.receives(b"hello Python")

    async def test_boundaries(self: Any) -> None:
        """What is written at once arrives at once, and nothing else with it."""
        protocol, end, _, _ = await self.open()
        for text in TEXTS:
            protocol.say(text)
            end.tell("write", text=text)
        for text in TEXTS:
            self.assertEqual(text, (await end.event("data"))["text"])
        await protocol.when(lambda: len(protocol.records) == len(TEXTS))
        self.assertEqual([text.encode() for text in TEXTS], protocol.records)

    async def test_messages(self: Any) -> None:
        """Unordered messages go both ways beside the stream, once both sides have been heard."""
        protocol, end, _, _ = await self.open()
        protocol.say("now")
        await end.event("data")
        protocol.transport.send_message(b"from Python")
        self.assertEqual("from Python", (await end.event("message"))["text"])
        end.tell("message", text="from JavaScript")
        await protocol.when(lambda: protocol.messages == [b"from JavaScript"])

    async def test_they_end_first(self: Any) -> None:
        """The same the other way round."""
        protocol, end, _, _ = await self.open()
        end.tell("write", text="question")
        end.tell("end")
        await protocol.when(lambda: protocol.read_lost)
        self.assertEqual(b"question", protocol.received)
        protocol.say("answer")
        protocol.transport.loseConnection()
        self.assertEqual(len("answer"), (await end.event("end"))["bytes"])
        self.assertIsNone((await end.event("close"))["code"])
        await protocol.loses()
        self.assertTrue(protocol.clean)

    async def test_we_abort(self: Any) -> None:
        """They are told at once when we destroy a connection."""
        protocol, end, _, _ = await self.open()
        protocol.transport.abortConnection()
        self.assertEqual("ECONNRESET", (await end.event("close"))["code"])
        await protocol.loses()
        self.assertTrue(protocol.lost.check(StreamAbortedError))

    async def test_they_destroy(self: Any) -> None:
        """So are we."""
        protocol, end, _, _ = await self.open()
        protocol.say("hello")
        await end.event("data")
        end.tell("destroy")
        await protocol.loses()
        self.assertTrue(protocol.lost.check(StreamResetError), protocol.lost)
        await end.event("close")

    async def test_their_node_ends(self: Any) -> None:
        """A node that is closed takes its connections with it."""
        protocol, _, _, theirs = await self.open()
        await theirs.process.stop()
        await protocol.loses()

    async def test_our_node_ends(self: Any) -> None:
        """So does ours."""
        _, end, ours, _ = await self.open()
        await ours.close()
        await end.event("close")

    async def test_our_keep_alive(self: Any) -> None:
        """An idle connection is not idle: they hear of us again and again."""
        protocol, _, _, _ = await self.open(**self.keep_alive(0.05))
        before = protocol.transport.raw_bytes_written
        await eventually(lambda: protocol.transport.raw_bytes_written > before + 100)
        self.assertEqual(b"", protocol.received)

    async def test_their_keep_alive(self: Any) -> None:
        """We hear of them as well, and nobody is told of it."""
        protocol, _, _, _ = await self.open(theirs={"keep_alive": 50})
        before = protocol.transport.raw_bytes_read
        await eventually(lambda: protocol.transport.raw_bytes_read > before + 100)
        self.assertEqual([], protocol.records)


class WeConnect(TalkTests):
    """We open it."""

    open = ConnectionCase.we_connect

    def keep_alive(self, seconds: float) -> dict[str, Any]:
        """The option of our side."""
        return {"ask": {"keep_alive": seconds}}


class TheyConnect(TalkTests):
    """They open it."""

    open = ConnectionCase.they_connect

    def keep_alive(self, seconds: float) -> dict[str, Any]:
        """The option of our side."""
        return {"serve": {"keep_alive": seconds}}


class SpaceswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Spaceswarm peers."""

    profile = "spaceswarm"


class HyperswarmClientTests(WeConnect, ConnectionCase):
    """We connect to Hyperswarm peers."""

    profile = "hyperswarm"


class SpaceswarmServerTests(TheyConnect, ConnectionCase):
    """Spaceswarm peers connect to us."""

    profile = "spaceswarm"


class HyperswarmServerTests(TheyConnect, ConnectionCase):
    """Hyperswarm peers connect to us."""

    profile = "hyperswarm"
