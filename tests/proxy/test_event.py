"""Tests of spaceswarm_proxy.proxy.event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.varint import encode_varint
from spaceswarm_proxy.crypto.keeper import CHALLENGE_LENGTH, TOKEN_LENGTH
from spaceswarm_proxy.crypto.noise import HASH_LENGTH, MAX_MESSAGE
from spaceswarm_proxy.crypto.profile import PROFILES
from spaceswarm_proxy.errors import EventError, LimitError, PeerUnreachableError
from spaceswarm_proxy.proxy import asks, sealer
from spaceswarm_proxy.proxy.client_link import FAREWELL
from spaceswarm_proxy.proxy.event import (
    FIELDS,
    MAX_TEXT,
    SWARM_EVENT,
    Event,
    EventType,
    check_semantics,
    encode_body,
    tell_problem,
    told_problem,
)
from spaceswarm_proxy.proxy.introduction import MAX_LABEL, MAX_LABELS
from spaceswarm_proxy.proxy.wire import decode, encode, grammar_decode, grammar_encode
from tests.proxy.strategies import VECTORS, bodies, events, int32

#: Bodies that JavaScript takes, or makes something odd of, and we refuse: docs/protocol.md, section 2.
STRICTER = {
    "unknown fixed64 running past the end": "field-overruns",
    "unknown bytes running past the end": "field-overruns",
    "data shorter than its length": "field-overruns",
    "peer shorter than its length": "field-overruns",
    "field number 0": "field-number-zero",
    "stream with wire type 2 (read as a varint anyway)": "wrong-wire-type",
    "type with wire type 2 (read as a varint anyway)": "wrong-wire-type",
    "topic with wire type 0 (read as bytes anyway)": "wrong-wire-type",
    "peer with wire type 0 (read as a string anyway)": "wrong-wire-type",
    "varint of 11 bytes as stream": "varint-too-long",
}

#: Bodies that both refuse, and what we call it.
REFUSED = {
    "group start": "group",
    "group end": "group",
    "wire type 6": "bad-wire-type",
    "wire type 7": "bad-wire-type",
    "empty body": "no-type",
    "type missing": "no-type",
    "type missing, topic there": "no-type",
    "type varint cut off": "varint-cut",
    "type key only": "varint-cut",
    "key varint cut off": "varint-cut",
    "stream varint cut off": "varint-cut",
    "data length cut off": "varint-cut",
    "stream with wire type 5 (read as a varint anyway)": "wrong-wire-type",
}

#: Stream ids of more than 32 bits, of which we take the low 32.
OTHER_STREAM = {
    "stream -1 as standard protobuf writes it (10 bytes)": -1,
    "stream 2^35 + 1": 1,
}


def outcome(reader: Callable[[bytes], Event], body: bytes) -> Event | str:
    """The event, or the kind of the refusal."""
    try:
        return reader(body)
    except EventError as problem:
        return problem.kind


def as_javascript(event: Event) -> dict[str, Any]:
    """How the vectors would put it: hex, U+FFFD, and the defaults of absent fields."""
    return {
        "type": event.type,
        "topic": None if event.topic is None else event.topic.hex(),
        "data": None if event.data is None else event.data.hex(),
        "peer": (event.peer or b"").decode("utf-8", "replace"),
        "stream": event.stream or 0,
    }


class BodyVectorTests(SynchronousTestCase):
    """The bodies that were given to the JavaScript decoder."""

    def test_bodies(self) -> None:
        """We make of each what JavaScript does, but for the deviations in the tables above."""
        for row in VECTORS["bodies"]:
            name, theirs = row["name"], dict(row["decoded"])
            self.assertEqual("error" in theirs, name in REFUSED, name)
            ours = outcome(decode, bytes.fromhex(row["body"]))
            if name in STRICTER or name in REFUSED:
                self.assertEqual(ours, {**STRICTER, **REFUSED}[name], name)
                continue
            assert isinstance(ours, Event), (name, ours)
            if name in OTHER_STREAM:
                self.assertNotEqual(theirs["stream"], ours.stream)
                theirs["stream"] = OTHER_STREAM[name]
            self.assertEqual(as_javascript(ours), theirs, name)

    def test_tables(self) -> None:
        """Each deviation is one of a vector that exists."""
        names = {row["name"] for row in VECTORS["bodies"]}
        self.assertLessEqual(STRICTER.keys() | REFUSED.keys() | OTHER_STREAM.keys(), names)


class EqualityTests(SynchronousTestCase):
    """The codec by hand and the grammar are one."""

    @settings(deadline=None, max_examples=100)
    @given(events)
    def test_writing(self, event: Event) -> None:
        """Every event is written alike by both, and read back the same by both."""
        frame, body = encode(event), encode_body(event)
        self.assertEqual(frame, encode_varint(len(body)) + body)
        self.assertEqual(grammar_encode(event), frame)
        self.assertEqual(decode(body), event)
        self.assertEqual(grammar_decode(body), event)

    @settings(deadline=None, max_examples=300)
    @given(bodies)
    def test_reading(self, body: bytes) -> None:
        """Of whatever comes, both make the same event, or refuse it for the same reason."""
        self.assertEqual(outcome(decode, body), outcome(grammar_decode, body))

    @settings(deadline=None, max_examples=50)
    @given(bodies)
    def test_memoryview(self, body: bytes) -> None:
        """A view is read as the bytes are, and nothing of it is kept."""
        scratch = bytearray(body)
        ours = outcome(decode, memoryview(scratch))
        scratch[:] = bytes(len(scratch))
        self.assertEqual(ours, outcome(decode, body))

    def test_every_body_vector(self) -> None:
        """The recorded bodies too are the same to both."""
        for row in VECTORS["bodies"]:
            body = bytes.fromhex(row["body"])
            self.assertEqual(outcome(decode, body), outcome(grammar_decode, body), row["name"])

    def test_limit_of_a_varint(self) -> None:
        """Ten bytes are read, eleven are not, and whoever is cut off in the tenth is cut off."""
        for body, expected in [
            (b"\x08" + b"\x80" * 9 + b"\x01", Event(1 << 63)),
            (b"\x08" + b"\x80" * 10 + b"\x00", "varint-too-long"),
            (b"\x08" + b"\x80" * 10, "varint-too-long"),
            (b"\x08" + b"\x80" * 9, "varint-cut"),
            (b"\x88" + b"\x80" * 8 + b"\x00\x01", Event(1)),
        ]:
            self.assertEqual(outcome(decode, body), expected)
            self.assertEqual(outcome(grammar_decode, body), expected)


class StreamTests(SynchronousTestCase):
    """Stream ids are int32."""

    @settings(deadline=None, max_examples=50)
    @given(int32)
    def test_written_in_32_bits(self, stream: int) -> None:
        """A negative id takes 5 bytes; the 10 bytes of standard protobuf mean the same."""
        short = encode_varint(stream & 0xFFFFFFFF)
        self.assertEqual(encode_body(Event(5, stream=stream)), b"\x08\x05\x28" + short)
        self.assertEqual(decode(b"\x08\x05\x28" + encode_varint(stream & 0xFFFFFFFFFFFFFFFF)).stream, stream)

    def test_out_of_range(self) -> None:
        """An id that is no int32 is not written."""
        for stream in (2**31, -(2**31) - 1):
            self.assertRaises(ValueError, encode_body, Event(5, stream=stream))


class TextTests(SynchronousTestCase):
    """What is text, and what only looks so."""

    def test_peer_is_bytes(self) -> None:
        """A peer's id comes through byte for byte, whatever it is."""
        self.assertEqual(decode(b"\x08\x08\x22\x02\xff\xfe").peer, b"\xff\xfe")

    def test_code_is_text(self) -> None:
        """Of a code that is not UTF-8, the bad bytes are replaced."""
        self.assertEqual(decode(b"\x08\x10\x92\x01\x03a\xffb").code, "a\ufffdb")


class SemanticsTests(SynchronousTestCase):
    """Well-formed events that say nothing that can be meant."""

    def test_kinds(self) -> None:
        """A JOIN or LEAVE needs a topic of 32 bytes, an error a text; all else passes."""
        for event, kind in [
            (Event(EventType.JOIN), "no-topic"),
            (Event(EventType.LEAVE, topic=b""), "bad-topic"),
            (Event(EventType.JOIN, topic=bytes(33)), "bad-topic"),
            (Event(EventType.ON_STREAM_ERROR, stream=1), "no-error-data"),
        ]:
            self.assertEqual(self.assertRaises(EventError, check_semantics, event).kind, kind)
        for event in [
            Event(EventType.JOIN, topic=bytes(32)),
            Event(EventType.ON_STREAM_ERROR, data=b""),
            Event(EventType.ON_PEER),
            Event(99),
        ]:
            self.assertIsNone(check_semantics(event))


class ProblemTests(SynchronousTestCase):
    """What REPLY and ANSWER say of what went wrong."""

    def test_both_ways(self) -> None:
        """What one side tells is what the other is told."""
        for problem in (LimitError("max_topics", 3), PeerUnreachableError("gone \N{SNOWMAN}"), EventError("odd", "x")):
            told = told_problem(decode(encode(tell_problem(Event(EventType.REPLY, request=1), problem))[1:]))
            self.assertEqual((type(problem), str(problem)), (type(told), str(told)))

    def test_nothing(self) -> None:
        """Without a code it went well, whatever else is said."""
        for code in (None, ""):
            self.assertIsNone(told_problem(Event(EventType.REPLY, code=code, data=b"text")))

    def test_long(self) -> None:
        """Of a long text the beginning counts; a character that is cut is replaced."""
        told = told_problem(Event(EventType.REPLY, code="unreachable", data="\N{SNOWMAN}".encode() * 1_000_000))
        self.assertEqual("\N{SNOWMAN}" * (MAX_TEXT // 3) + "\N{REPLACEMENT CHARACTER}", str(told))


def tables(page: str, *columns: str) -> Iterator[list[str]]:
    """The rows of the one Markdown table that begins with these columns."""
    head = page.index("| " + " | ".join(columns))
    for line in page[head:].split("\n\n", 1)[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


class PageTests(SynchronousTestCase):
    """docs/protocol.md is the law."""

    def setUp(self) -> None:
        self.page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()

    def test_types(self) -> None:
        """The page and the code number the events alike."""
        rows = {cells[1]: int(cells[0]) for cells in tables(self.page, "type", "event")}
        self.assertEqual(rows, {member.name: member.value for member in EventType})

    def test_fields(self) -> None:
        """The page and the grammar agree on each field's number, name, wire type and key."""
        rows = {}
        for number, name, wire, key, *_ in tables(self.page, "no", "field", "wire type", "key bytes"):
            rows[int(number)] = (name, {"varint": 0, "bytes": 2}[re.split("[ ,]", wire)[0]])
            self.assertEqual(bytes.fromhex(key.strip("`")), encode_varint(int(number) << 3 | rows[int(number)][1]))
        self.assertEqual(rows, {number: (name, wire) for number, (name, wire, _) in FIELDS.items()})

    def test_end_to_end(self) -> None:
        """The page's numbers of end-to-end mode are those that hold."""
        for text in (
            f"{CHALLENGE_LENGTH} fresh random",
            f"at most {MAX_LABELS} of at most {MAX_LABEL} characters",
            f"waits {asks.PATIENCE:g} s for an answer, and has at most {asks.MAX_ASKS:,} questions open",
            f"messages have {MAX_MESSAGE:,} bytes at most",
            f"that of the whole handshake, {HASH_LENGTH} bytes",
            f"so do {sealer.PATIENCE:g} s",
            f"a token that is not {TOKEN_LENGTH} bytes",
            f"more than {sealer.MAX_HANDSHAKES:,} handshakes at a time",
            f"more than {sealer.MAX_ASKED:,} questions",
            f"waits {FAREWELL:g} s for the REPLY",
            f"{MAX_TEXT:,} bytes\nare looked at",
            " or ".join(f"`{name}`" for name in PROFILES),
        ):
            self.assertIn(text, self.page)

    def test_every_field_is_written_under_its_key(self) -> None:
        """By hand, each field has the key that the grammar gives it."""
        for number, (name, wire, _) in FIELDS.items():
            value = "x" if name in ("code", "profile") else 1 if wire == 0 else b"x"
            event = Event(**{"type": 9, name: value})
            key = encode_varint(number << 3 | wire)
            self.assertEqual(encode_body(event), SWARM_EVENT.build(event))
            self.assertIn(key + (b"\x01" if wire == 0 else b"\x01x"), encode_body(event))
