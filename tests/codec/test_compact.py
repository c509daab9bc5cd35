"""Tests of spaceswarm_proxy.codec.compact."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from unittest import mock

from construct import Bytes, Construct, ConstructError
from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec import compact
from spaceswarm_proxy.codec.compact import (
    ADDRESS,
    ADDRESS_LENGTH,
    ADDRESSES,
    BUFFER,
    FIXED32,
    FIXED64,
    MAX_ITEMS,
    MAX_UINT,
    TEXT,
    UINT,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Counted,
    encode_buffer,
    encode_uint,
    read_addresses,
    read_buffer,
    read_fixed,
    read_uint,
)
from spaceswarm_proxy.codec.varint import Refusal
from spaceswarm_proxy.errors import MessageError
from tests.dht.strategies import addresses, damaged, uints
from tests.dht.vectors import address, vectors

#: A reader, called as ``read(data, offset)``.
Reader = Callable[[bytes, int], tuple[Any, int]]

#: The grammar of each primitive of the vectors.
GRAMMARS: dict[str, Construct] = {
    "uint": UINT,
    "uint8": UINT8,
    "uint16": UINT16,
    "uint32": UINT32,
    "uint64": UINT64,
    "buffer": BUFFER,
    "string": TEXT,
    "ipv4Address": ADDRESS,
    "ipv4Address array": ADDRESSES,
}
#: Those that are read by hand too.
READERS: dict[str, Reader] = {
    "uint": read_uint,
    "buffer": read_buffer,
    "ipv4Address": lambda data, offset: read_fixed(data, offset, ADDRESS_LENGTH),
    "ipv4Address array": lambda data, offset: read_addresses(data, offset, MAX_ITEMS),
}
#: Those that are written by hand too.
WRITERS: dict[str, Callable[[Any], bytes]] = {
    "uint": encode_uint,
    "buffer": encode_buffer,
    "ipv4Address": lambda value: value,
    "ipv4Address array": lambda items: encode_uint(len(items)) + b"".join(items),
}

quick = settings(deadline=None, max_examples=150)


def meant(name: str, value: Any) -> Any:
    """The value that a vector says it is."""
    if name == "buffer":
        return bytes.fromhex(value)
    if name == "ipv4Address":
        return address(value)
    if name == "ipv4Address array":
        return [address(item) for item in value]
    return value


def by_grammar(grammar: Construct, data: bytes, offset: int = 0) -> tuple[Any, int] | None:
    """The value and where it ends, or ``None`` where the grammar refuses."""
    stream = BytesIO(data)
    stream.seek(offset)
    try:
        return grammar.parse_stream(stream), stream.tell()
    except ConstructError:
        return None


def by_hand(read: Reader, data: bytes, offset: int = 0) -> tuple[Any, int] | None:
    """The same from a reader."""
    try:
        return read(data, offset)
    except MessageError:
        return None


class VectorTests(SynchronousTestCase):
    """The primitives as JavaScript writes them."""

    def test_both_ways(self) -> None:
        """Each is written alike, by the grammar and by hand, and read back."""
        for row in vectors("primitives"):
            name, data = row["name"], bytes.fromhex(row["hex"])
            value = meant(name, row["value"])
            self.assertEqual(GRAMMARS[name].build(value), data, row)
            self.assertEqual(by_grammar(GRAMMARS[name], data), (value, len(data)), row)
            if name in READERS:
                self.assertEqual(WRITERS[name](value), data, row)
                self.assertEqual(by_hand(READERS[name], data), (value, len(data)), row)

    def test_decode_only(self) -> None:
        """What JavaScript does not write, but reads or refuses, is read or refused."""
        for row in vectors("primitives_decode_only"):
            data = bytes.fromhex(row["hex"])
            expected = None if row["error"] else (row["value"], len(data))
            self.assertEqual(by_grammar(GRAMMARS[row["name"]], data), expected, row)
            self.assertEqual(by_hand(READERS[row["name"]], data), expected, row)

    def test_all_are_known(self) -> None:
        """The vectors have every primitive of ours, the raw ones of fixed length aside."""
        self.assertEqual({row["name"] for row in vectors("primitives")}, set(GRAMMARS))

    def test_fixed(self) -> None:
        """Those are the bytes as they are, and no fewer."""
        for grammar, length in ((FIXED32, 32), (FIXED64, 64)):
            data = bytes(range(length))
            self.assertEqual(by_grammar(grammar, data + b"more"), (data, length))
            self.assertIsNone(by_grammar(grammar, data[:-1]))


#: A primitive's name with bytes that begin with one, or nearly.
encodings = st.one_of(
    st.tuples(st.just("uint"), damaged(uints.map(encode_uint))),
    st.tuples(
        st.just("uint"),
        st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0xF0, 0xFF), st.binary(max_size=9)),
    ),
    st.tuples(st.just("buffer"), damaged(st.binary(max_size=20).map(encode_buffer))),
    st.tuples(st.just("ipv4Address"), st.binary(max_size=10)),
    st.tuples(st.just("ipv4Address array"), damaged(st.lists(addresses, max_size=4).map(ADDRESSES.build))),
    st.tuples(st.sampled_from(sorted(READERS)), st.binary(max_size=20)),
)


class ReaderTests(SynchronousTestCase):
    """The hand-written ways and the grammar are one."""

    @settings(deadline=None, max_examples=400)
    @given(encodings, st.binary(max_size=3))
    def test_reading(self, encoding: tuple[str, bytes], before: bytes) -> None:
        """Of valid, truncated and damaged bytes, at any offset, both make the same, or both refuse."""
        name, data = encoding
        expected = by_grammar(GRAMMARS[name], before + data, len(before))
        self.assertEqual(by_hand(READERS[name], before + data, len(before)), expected)

    @quick
    @given(uints)
    def test_uint(self, value: int) -> None:
        """A number is written in the shortest form that holds it, by both, and read back by both."""
        data = encode_uint(value)
        self.assertEqual(data, UINT.build(value))
        self.assertEqual(len(data), 1 if value < 253 else 3 if value < 2**16 else 5 if value < 2**32 else 9)
        self.assertEqual(by_grammar(UINT, data), (value, len(data)))
        self.assertEqual(by_hand(read_uint, data), (value, len(data)))

    @quick
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def test_text(self, text: str) -> None:
        """A text comes back as it was; its length counts bytes."""
        data = TEXT.build(text)
        self.assertEqual(data, encode_buffer(text.encode()))
        self.assertEqual(by_grammar(TEXT, data + b"more"), (text, len(data)))

    @quick
    @given(st.binary(max_size=20))
    def test_text_that_is_none(self, data: bytes) -> None:
        """Bytes that are not UTF-8 are a text too, with replacement characters, as in JavaScript."""
        text, end = by_grammar(TEXT, encode_buffer(data)) or ("", 0)
        self.assertEqual((text, end), (data.decode("utf-8", "replace"), len(data) + 1))

    @quick
    @given(damaged(st.lists(addresses, max_size=6).map(ADDRESSES.build)), st.integers(0, 7))
    def test_most(self, data: bytes, most: int) -> None:
        """Who wants the first addresses only gets these, and is told where all of them end."""
        all_of_them = by_grammar(ADDRESSES, data)
        some = by_hand(lambda data, offset: read_addresses(data, offset, most), data)
        if all_of_them is None:
            self.assertIsNone(some)
        else:
            self.assertEqual(some, (all_of_them[0][:most], all_of_them[1]))


class BoundTests(SynchronousTestCase):
    """What is too large."""

    def test_largest_uint(self) -> None:
        """JavaScript's largest exact integer is the last one that is written or read."""
        self.assertEqual(MAX_UINT, 9007199254740991)
        data = encode_uint(MAX_UINT)
        self.assertEqual((by_grammar(UINT, data), by_hand(read_uint, data)), ((MAX_UINT, 9), (MAX_UINT, 9)))
        over = b"\xff" + (MAX_UINT + 1).to_bytes(8, "little")
        self.assertEqual(self.assertRaises(Refusal, UINT.parse, over).kind, "uint-too-large")
        self.assertEqual(self.assertRaises(MessageError, read_uint, over, 0).kind, "uint-too-large")
        for value in (-1, MAX_UINT + 1, 2**64):
            self.assertRaises(ValueError, encode_uint, value)
            self.assertRaises(ValueError, UINT.build, value)

    def test_most_items(self) -> None:
        """An array of the most items is taken, one of one more is refused, though all its bytes are there."""
        self.assertEqual(MAX_ITEMS, 0x100000)
        items = bytes(6 * (MAX_ITEMS + 1))
        end = 5 + 6 * MAX_ITEMS
        self.assertEqual(read_addresses(encode_uint(MAX_ITEMS) + items, 0, 1), ([bytes(6)], end))
        problem = self.assertRaises(MessageError, read_addresses, encode_uint(MAX_ITEMS + 1) + items, 0, 1)
        self.assertEqual(problem.kind, "array-too-long")
        refused = self.assertRaises(Refusal, ADDRESSES.parse, encode_uint(MAX_ITEMS + 1) + items)
        self.assertEqual(refused.kind, problem.kind)

    def test_most_items_both_ways(self) -> None:
        """The bound is the same one for both."""
        with mock.patch.object(compact, "MAX_ITEMS", 3):
            for count in range(6):
                data = ADDRESSES.build([bytes(6)] * count)
                expected = ([bytes(6)] * count, len(data)) if count <= 3 else None
                self.assertEqual(by_grammar(ADDRESSES, data), expected)
                self.assertEqual(by_hand(READERS["ipv4Address array"], data), expected)

    def test_nothing_is_stored_for_a_lie(self) -> None:
        """No item is read of an array whose items cannot all be there."""
        item = Bytes(4)
        with mock.patch.object(item, "_parsereport", wraps=item._parsereport) as parsed:
            self.assertEqual(Counted(item, 4).parse(b"\x02" + bytes(8)), [bytes(4)] * 2)
            self.assertEqual(parsed.call_count, 2)
            for count in (3, 0xFD, MAX_ITEMS, MAX_UINT):
                refused = self.assertRaises(Refusal, Counted(item, 4).parse, encode_uint(count) + bytes(11))
                self.assertEqual(refused.kind, "array-too-long")
            self.assertEqual(parsed.call_count, 2)

    def test_huge_lengths(self) -> None:
        """A buffer that says it is larger than any memory is cut, and costs none."""
        for length in (21, 2**32, MAX_UINT):
            data = encode_uint(length) + bytes(20)
            self.assertIsNone(by_grammar(BUFFER, data))
            self.assertIsNone(by_grammar(TEXT, data))
            self.assertEqual(self.assertRaises(MessageError, read_buffer, data, 0).kind, "cut")
