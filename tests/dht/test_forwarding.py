"""Passing on what is for others: :mod:`spaceswarm_proxy.dht.forwarding`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import PEER_HANDSHAKE, PEER_HOLEPUNCH
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake, PeerHolepunch
from spaceswarm_proxy.dht.message import (
    REQUEST_BYTE,
    RESPONSE_BYTE,
    Command,
    encode_request,
    parse_request,
    parse_response,
)
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.store import Forward
from spaceswarm_proxy.dht.table import Entry
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.errors import MessageError
from tests.dht.world import Alone

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "connect.json").read_text())
TARGET = bytes(range(32))
TID = b"\xcd\xab"
CLIENT, SERVER, OTHER = (address_of(f"10.0.0.{number}", 1000 + number) for number in (1, 2, 3))
NOBODY = address_of("10.0.0.4", 0)


def address(fields: dict[str, Any] | None) -> bytes | None:
    return None if fields is None else address_of(fields["host"], fields["port"])


def handshake_of(fields: dict[str, Any]) -> PeerHandshake:
    peer, relay = address(fields["peerAddress"]), address(fields["relayAddress"])
    return PeerHandshake(fields["mode"], bytes.fromhex(fields["noise"]), peer, relay)


def holepunch_of(fields: dict[str, Any]) -> PeerHolepunch:
    payload = bytes.fromhex(fields["payload"])
    return PeerHolepunch(fields["mode"], fields["id"], payload, address(fields["peerAddress"]))


class ValueTests(SynchronousTestCase):
    """The values of both commands."""

    def test_vectors(self) -> None:
        """They are written and read as the reference writes them."""
        for section, make in (("peerHandshake", handshake_of), ("peerHolepunch", holepunch_of)):
            for vector in VECTORS[section]:
                value, encoded = make(vector["value"]), bytes.fromhex(vector["encoded"])
                self.assertEqual(encoded, value.encode(), vector["name"])
                self.assertEqual(value, type(value).parse(encoded), vector["name"])

    def test_decode_only(self) -> None:
        """What the reference refuses is refused, and what it takes is taken for the same."""
        for section, make in (("peerHandshake", handshake_of), ("peerHolepunch", holepunch_of)):
            parse = type(make(VECTORS[section][0]["value"])).parse
            for vector in VECTORS[section + "DecodeOnly"]:
                encoded = bytes.fromhex(vector["encoded"])
                if vector["ok"]:
                    self.assertEqual(make(vector["decoded"]), parse(encoded), vector["name"])
                else:
                    self.assertRaises(MessageError, parse, encoded)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_anything(self, data: bytes) -> None:
        """Bytes of any kind are a value, or refused with an error of ours."""
        for kind in (PeerHandshake, PeerHolepunch):
            try:
                kind.parse(data)
            except MessageError:
                continue


class ForwardingTests(SynchronousTestCase):
    """A persistent node that knows one server."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)
        self.core = self.alone.core
        assert self.core.store is not None
        self.core.store.forwards.put(TARGET, Forward(PeerRecord(bytes(32)), SERVER), self.alone.now)
        self.alone.take_sent()

    def send(self, number: int, value: bytes, source: bytes, target: bytes | None = TARGET, socket: int = 1) -> Any:
        """Have a request come.  :returns: the answer, and what was sent elsewhere."""
        command = Command.make(False, number, target, value)
        answer = self.core.receive(
            encode_request(command, TID, Alone.ADDRESS, None, None), source, socket, self.alone.now
        )
        return answer, [(to, data) for _, to, data in self.alone.take_sent()]

    def passed(self, number: int, value: bytes, source: bytes, **options: Any) -> tuple[bytes, Any]:
        """:returns: where a request was passed on to, and the one that it is there."""
        answer, [(to, data)] = self.send(number, value, source, **options)
        self.assertIsNone(answer)
        self.assertEqual(REQUEST_BYTE, data[0])
        request = parse_request(data)
        self.assertEqual((TID, to, None, number), (request.tid, request.to, request.token, request.command))
        return to, request

    def test_from_client(self) -> None:
        """What a client says goes to the server, with the client's address, and our id if it may be told."""
        for socket, id in ((SERVER_SOCKET, self.core.own_id), (CLIENT_SOCKET, None)):
            value = PeerHandshake(Mode.FROM_CLIENT, b"noise").encode()
            to, request = self.passed(PEER_HANDSHAKE, value, CLIENT, socket=socket)
            self.assertEqual((SERVER, TARGET, id), (to, request.target, request.id))
            self.assertEqual(PeerHandshake(Mode.FROM_RELAY, b"noise", CLIENT), PeerHandshake.parse(request.value))

    def test_named_relay(self) -> None:
        """A client may name the node that knows the server, whether we know of it or not."""
        value = PeerHandshake(Mode.FROM_CLIENT, b"noise", None, OTHER).encode()
        for target in (TARGET, bytes(32)):
            to, _ = self.passed(PEER_HANDSHAKE, value, CLIENT, target=target)
            self.assertEqual(OTHER, to)

    def test_second_relay(self) -> None:
        """What another node passes on goes to the server as well, with both addresses."""
        value = PeerHandshake(Mode.FROM_RELAY, b"noise", CLIENT).encode()
        to, request = self.passed(PEER_HANDSHAKE, value, OTHER)
        self.assertEqual(SERVER, to)
        expected = PeerHandshake(Mode.FROM_SECOND_RELAY, b"noise", CLIENT, OTHER)
        self.assertEqual(expected, PeerHandshake.parse(request.value))

    def test_from_server(self) -> None:
        """What a server says is the answer to the client's request, with the server's address."""
        for number, value, reply in (
            (
                PEER_HANDSHAKE,
                PeerHandshake(Mode.FROM_SERVER, b"noise", CLIENT).encode(),
                PeerHandshake(Mode.REPLY, b"noise", SERVER).encode(),
            ),
            (
                PEER_HOLEPUNCH,
                PeerHolepunch(Mode.FROM_SERVER, 3, b"payload", CLIENT).encode(),
                PeerHolepunch(Mode.REPLY, 3, b"payload", SERVER).encode(),
            ),
        ):
            answer, [(to, data)] = self.send(number, value, SERVER)
            self.assertEqual((None, CLIENT, RESPONSE_BYTE), (answer, to, data[0]))
            response = parse_response(data)
            self.assertEqual((TID, CLIENT, self.core.own_id), (response.tid, response.to, response.id))
            self.assertEqual((reply, [], None), (response.value, response.closer, response.token))

    def test_holepunch(self) -> None:
        """A client's hole punching goes to the address that it names, or to the server."""
        for named, expected in ((None, SERVER), (OTHER, OTHER)):
            value = PeerHolepunch(Mode.FROM_CLIENT, 7, b"payload", named).encode()
            to, request = self.passed(PEER_HOLEPUNCH, value, CLIENT)
            self.assertEqual(expected, to)
            self.assertEqual(PeerHolepunch(Mode.FROM_RELAY, 7, b"payload", CLIENT), PeerHolepunch.parse(request.value))

    def test_unknown_server(self) -> None:
        """For a server that we do not know, whoever asks for a handshake is told who is nearer."""
        near = address_of("10.0.0.9", 9)
        self.core.table.add(Entry(contact_at(near), self.alone.now))
        value = PeerHandshake(Mode.FROM_CLIENT, b"noise").encode()
        answer, sent = self.send(PEER_HANDSHAKE, value, CLIENT, bytes(32))
        response = parse_response(answer)
        self.assertEqual(([near], None, None, []), (response.closer, response.value, response.token, sent))
        self.assertEqual((None, []), self.send(PEER_HOLEPUNCH, PeerHolepunch(0, 0, b"").encode(), CLIENT, bytes(32)))

    def test_silence(self) -> None:
        """What is for nobody, or makes no sense, is dropped; nothing goes where nobody can be."""
        handshakes = [
            (PeerHandshake(Mode.FROM_RELAY, b"n", CLIENT), bytes(32)),
            (PeerHandshake(Mode.FROM_SERVER, b"n"), TARGET),
            (PeerHandshake(Mode.FROM_SERVER, b"n", NOBODY), TARGET),
            (PeerHandshake(Mode.FROM_CLIENT, b"n", None, NOBODY), TARGET),
            *((PeerHandshake(mode, b"n", CLIENT, OTHER), TARGET) for mode in (Mode.FROM_SECOND_RELAY, Mode.REPLY, 77)),
        ]
        for handshake, target in handshakes:
            self.assertEqual((None, []), self.send(PEER_HANDSHAKE, handshake.encode(), OTHER, target), handshake)
        others = (Mode.FROM_RELAY, Mode.FROM_SECOND_RELAY, Mode.REPLY)
        punches = [PeerHolepunch(mode, 0, b"p", CLIENT) for mode in others]
        for punch in (*punches, PeerHolepunch(Mode.FROM_SERVER, 0, b"p"), PeerHolepunch(0, 0, b"p", NOBODY)):
            self.assertEqual((None, []), self.send(PEER_HOLEPUNCH, punch.encode(), OTHER), punch)
        for number in (PEER_HANDSHAKE, PEER_HOLEPUNCH):
            self.assertEqual((None, []), self.send(number, b"\x03", OTHER))

    def test_not_amplified(self) -> None:
        """Whatever is passed on is one datagram, hardly larger than the one that came."""
        for size in (0, 100, 1000):
            value = PeerHandshake(Mode.FROM_CLIENT, bytes(size)).encode()
            came = len(encode_request(Command.make(False, PEER_HANDSHAKE, TARGET, value), TID, CLIENT, None, None))
            _, [(_, data)] = self.send(PEER_HANDSHAKE, value, CLIENT)
            self.assertLessEqual(len(data), came + 32 + 6 + 4)
        forwarding = self.core.responder.forwarding
        self.assertEqual((3, 0), (forwarding.handshakes, forwarding.holepunches))
