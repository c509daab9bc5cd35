"""Tests of spaceswarm_proxy.dht.message."""

from __future__ import annotations

from typing import Any

from construct import ConstructError
from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import ADDRESSES, encode_buffer, encode_uint
from spaceswarm_proxy.dht import commands
from spaceswarm_proxy.dht.message import (
    HAS_CLOSER,
    HAS_ERROR,
    HAS_ID,
    HAS_TARGET,
    HAS_TOKEN,
    HAS_VALUE,
    INTERNAL,
    MAX_CLOSER,
    REQUEST,
    REQUEST_BYTE,
    RESPONSE,
    RESPONSE_BYTE,
    Command,
    Request,
    Response,
    encode_request,
    encode_response,
    parse_request,
    parse_response,
)
from spaceswarm_proxy.errors import MessageError
from tests.dht.strategies import addresses, damaged, hashes, tids, uints, values
from tests.dht.vectors import address, addresses as meant_addresses, octets, vectors

#: The transaction id of the request that the malformed responses could answer.
TID = (0xABCD).to_bytes(2, "little")

maybe_hash = st.none() | hashes
flag_sets = st.integers(0, 31) | st.integers(0, 255) | st.integers(0, 70000)
address_lists = st.lists(addresses, max_size=4) | st.integers(15, 25).map(lambda count: [bytes(6)] * count)


def encoded_closer(closer: list[bytes]) -> bytes:
    """The array as :func:`encode_response` takes it."""
    return encode_uint(len(closer)) + b"".join(closer) if closer else b""


def meant_request(row: dict[str, Any]) -> Request:
    """The request that a vector says it is."""
    return Request(
        tid=row["tid"].to_bytes(2, "little"),
        to=address(row["to"]),
        id=octets(row["id"]),
        token=octets(row["token"]),
        internal=row["internal"],
        command=row["command"],
        target=octets(row["target"]),
        value=octets(row["value"]),
    )


def meant_response(row: dict[str, Any], id: str | None) -> Response:
    """The response that a vector says it is."""
    return Response(
        tid=row["tid"].to_bytes(2, "little"),
        to=address(row["to"]),
        id=octets(id),
        token=octets(row["token"]),
        closer=meant_addresses(row["closerNodes"]),
        error=row["error"],
        value=octets(row["value"]),
    )


def request_by_grammar(data: bytes) -> Request | None:
    """What the grammar makes of a datagram, or ``None`` where it refuses."""
    try:
        fields = REQUEST.parse(data)
    except ConstructError:
        return None
    return Request(
        fields.tid.to_bytes(2, "little"),
        fields.to,
        fields.id,
        fields.token,
        bool(fields.flags & INTERNAL),
        fields.command,
        fields.target,
        fields.value,
    )


def response_by_grammar(data: bytes) -> Response | None:
    """The same of a response, with no more addresses than are kept."""
    try:
        fields = RESPONSE.parse(data)
    except ConstructError:
        return None
    closer = (fields.closer or [])[:MAX_CLOSER]
    tid = fields.tid.to_bytes(2, "little")
    return Response(tid, fields.to, fields.id, fields.token, closer, fields.error or 0, fields.value)


def request_by_hand(data: bytes) -> Request | None:
    """What the node makes of it, or ``None``."""
    try:
        return parse_request(data)
    except MessageError:
        return None


def response_by_hand(data: bytes) -> Response | None:
    """The same of a response."""
    try:
        return parse_response(data)
    except MessageError:
        return None


class RequestVectorTests(SynchronousTestCase):
    """The requests that the JavaScript encoder writes."""

    def test_both_ways(self) -> None:
        """We write every one the same to the byte, and read back what was meant, by the grammar too."""
        for row in vectors("requests"):
            data, request = bytes.fromhex(row["hex"]), meant_request(row)
            command = Command.make(request.internal, request.command, request.target, request.value)
            self.assertEqual(encode_request(command, request.tid, request.to, request.id, request.token), data, row)
            self.assertEqual(command.target, request.target)
            self.assertEqual(parse_request(data), request, row)
            self.assertEqual(request_by_grammar(data), request, row)

    def test_malformed(self) -> None:
        """What a JavaScript node ignored is no request, and what it answered or handled is one."""
        rows = [row for row in vectors("malformed") if row["kind"] == "request"]
        self.assertEqual({row["result"] for row in rows}, {"ignored", "reply", "decoded, handler stays silent"})
        for row in rows:
            data = bytes.fromhex(row["hex"])
            if data[:1] == bytes([REQUEST_BYTE]):
                request = request_by_hand(data)
                self.assertEqual(request is None, row["result"] == "ignored", row["name"])
                self.assertEqual(request_by_grammar(data), request, row["name"])
            else:
                self.assertEqual(row["result"], "ignored", row["name"])
                self.assertIsNone(request_by_grammar(data), row["name"])

    def test_commands(self) -> None:
        """The commands' numbers are those of the JavaScript packages."""
        for numbers in vectors("commands").values():
            self.assertEqual({name: getattr(commands, name) for name in numbers}, numbers)


class ResponseVectorTests(SynchronousTestCase):
    """The responses that the JavaScript encoder writes."""

    def test_both_ways(self) -> None:
        """We write every one the same to the byte, and read back what was meant, by the grammar too."""
        for row in vectors("responses"):
            data, meant = bytes.fromhex(row["hex"]), meant_response(row, row["id"])
            closer = encoded_closer(meant.closer)
            written = encode_response(meant.tid, meant.to, meant.id, meant.token, closer, meant.error, meant.value)
            self.assertEqual(written, data, row)
            self.assertEqual(parse_response(data), meant, row)
            self.assertEqual(response_by_grammar(data), meant, row)

    def test_malformed(self) -> None:
        """What a JavaScript node took is read as it read it, and what it ignored is no answer to its request."""
        for row in vectors("malformed"):
            if row["kind"] == "request":
                continue
            data = bytes.fromhex(row["hex"])
            response = response_by_hand(data)
            self.assertEqual(response_by_grammar(data), response, row["name"])
            if row["decoded"] is None:
                self.assertTrue(response is None or response.tid != TID, row["name"])
                continue
            assert response is not None
            meant = meant_response(row["decoded"], row["decoded"]["from"]["id"])
            # Whether an id is true is seen by who knows where it came from.
            self.assertEqual(response._replace(id=None), meant._replace(id=None), row["name"])
            self.assertIn(meant.id, (None, response.id), row["name"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A valid request, with any flags."""
    flags = draw(flag_sets)
    data = bytes([REQUEST_BYTE]) + encode_uint(flags) + draw(tids) + draw(addresses)
    data += draw(hashes) if flags & HAS_ID else b""
    data += draw(hashes) if flags & HAS_TOKEN else b""
    data += encode_uint(draw(uints))
    data += draw(hashes) if flags & HAS_TARGET else b""
    return data + (encode_buffer(draw(values)) if flags & HAS_VALUE else b"")


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A valid response, with any flags."""
    flags = draw(flag_sets)
    data = bytes([RESPONSE_BYTE]) + encode_uint(flags) + draw(tids) + draw(addresses)
    data += draw(hashes) if flags & HAS_ID else b""
    data += draw(hashes) if flags & HAS_TOKEN else b""
    data += ADDRESSES.build(draw(address_lists)) if flags & HAS_CLOSER else b""
    data += encode_uint(draw(uints)) if flags & HAS_ERROR else b""
    return data + (encode_buffer(draw(values)) if flags & HAS_VALUE else b"")


def kept(kind: int, datagrams: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Damaged, but for the first byte: readers are given what has it."""
    return damaged(datagrams).map(lambda data: bytes([kind]) + data[1:])


class RequestTests(SynchronousTestCase):
    """Requests in general."""

    @settings(deadline=None, max_examples=250)
    @given(kept(REQUEST_BYTE, requests()) | st.binary(max_size=120).map(lambda data: bytes([REQUEST_BYTE]) + data))
    def test_two_readers(self, data: bytes) -> None:
        """Of valid, truncated and damaged datagrams the reader makes what the grammar makes, or both refuse."""
        self.assertEqual(request_by_hand(data), request_by_grammar(data))

    @settings(deadline=None, max_examples=100)
    @given(requests())
    def test_valid(self, data: bytes) -> None:
        """A valid one is taken, with anything after it, and refused when a byte is missing."""
        request = parse_request(data)
        self.assertEqual(parse_request(data + b"from the future"), request)
        self.assertIsNone(request_by_hand(data[:-1]))

    @settings(deadline=None, max_examples=100)
    @given(st.booleans(), uints, tids, addresses, maybe_hash, maybe_hash, maybe_hash, st.none() | values)
    def test_round_trip(
        self,
        internal: bool,
        number: int,
        tid: bytes,
        to: bytes,
        id: bytes | None,
        token: bytes | None,
        target: bytes | None,
        value: bytes | None,
    ) -> None:
        """Any request is written alike by hand and by the grammar, and is itself again."""
        command = Command.make(internal, number, target, value)
        data = encode_request(command, tid, to, id, token)
        request = Request(tid, to, id, token, internal, number, target, value)
        self.assertEqual(parse_request(data), request)
        fields = {**request._asdict(), "flags": data[1], "tid": int.from_bytes(tid, "little")}
        self.assertEqual(REQUEST.build(fields), data)

    def test_same_command(self) -> None:
        """A command is encoded once for all who are asked; ids and tokens come and go."""
        command = Command.make(False, commands.LOOKUP, bytes(32), b"value")
        for id, token in ((None, None), (bytes(32), None), (None, bytes(32)), (None, None)):
            data = encode_request(command, b"\x01\x02", bytes(6), id, token)
            self.assertTrue(data.endswith(command.tail))
            self.assertEqual((parse_request(data).id, parse_request(data).token), (id, token))


class ResponseTests(SynchronousTestCase):
    """Responses in general."""

    @settings(deadline=None, max_examples=250)
    @given(kept(RESPONSE_BYTE, responses()) | st.binary(max_size=120).map(lambda data: bytes([RESPONSE_BYTE]) + data))
    def test_two_readers(self, data: bytes) -> None:
        """Of valid, truncated and damaged datagrams the reader makes what the grammar makes, or both refuse."""
        self.assertEqual(response_by_hand(data), response_by_grammar(data))

    @settings(deadline=None, max_examples=100)
    @given(responses())
    def test_valid(self, data: bytes) -> None:
        """A valid one is taken, with anything after it, and refused when a byte is missing."""
        response = parse_response(data)
        self.assertEqual(parse_response(data + b"from the future"), response)
        self.assertIsNone(response_by_hand(data[:-1]))

    @settings(deadline=None, max_examples=100)
    @given(tids, addresses, maybe_hash, maybe_hash, st.lists(addresses, max_size=MAX_CLOSER), uints, st.none() | values)
    def test_round_trip(
        self,
        tid: bytes,
        to: bytes,
        id: bytes | None,
        token: bytes | None,
        closer: list[bytes],
        error: int,
        value: bytes | None,
    ) -> None:
        """Any response is written alike by hand and by the grammar, and is itself again."""
        data = encode_response(tid, to, id, token, encoded_closer(closer), error, value)
        response = Response(tid, to, id, token, closer, error, value)
        self.assertEqual(parse_response(data), response)
        fields = {**response._asdict(), "flags": data[1], "tid": int.from_bytes(tid, "little")}
        self.assertEqual(RESPONSE.build(fields), data)

    def test_most_closer_nodes(self) -> None:
        """Of more closer nodes than anybody sends, the first are taken, and what follows them is found."""
        nodes = [bytes([number]) * 6 for number in range(MAX_CLOSER + 30)]
        for count in (0, MAX_CLOSER, MAX_CLOSER + 1, MAX_CLOSER + 30):
            data = encode_response(TID, bytes(6), None, None, encoded_closer(nodes[:count]), 17, b"value")
            response = parse_response(data)
            self.assertEqual(response.closer, nodes[: min(count, MAX_CLOSER)])
            self.assertEqual((response.error, response.value), (17, b"value"))
