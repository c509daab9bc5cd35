"""Which server a message is for: :mod:`spaceswarm_proxy.peering.router`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.commands import PEER_HANDSHAKE, PEER_HOLEPUNCH
from spaceswarm_proxy.dht.contact import address_of
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
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.peering.router import HandshakeArrival, HolepunchArrival, Router
from tests.dht.world import Alone

TARGET, OTHER_TARGET = bytes(range(32)), bytes(32)
TID = b"\xcd\xab"
CLIENT, RELAY, SECOND = (address_of(f"10.0.0.{number}", 1000 + number) for number in (1, 2, 3))
NOWHERE = address_of("10.0.0.4", 0)
POOL_SOCKET = 7


class FakeServer:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.handshakes: list[HandshakeArrival] = []
        self.holepunches: list[HolepunchArrival] = []
        self.takes = True

    def handshake(self, arrival: HandshakeArrival, now: float) -> bool:
        self.handshakes.append(arrival)
        return self.takes

    def holepunch(self, arrival: HolepunchArrival, now: float) -> bool:
        self.holepunches.append(arrival)
        return self.takes


class RouterTestCase(SynchronousTestCase):
    """A persistent node with one server."""

    def setUp(self) -> None:
        self.alone = Alone(persistent=True)
        self.router = Router(self.alone.core)
        self.server = FakeServer()
        self.router.servers[TARGET] = self.server
        self.alone.take_sent()

    def send(self, value: Any, source: bytes, socket: int = SERVER_SOCKET, target: bytes | None = TARGET) -> None:
        """Have a message come; nothing goes straight back."""
        number = PEER_HANDSHAKE if isinstance(value, PeerHandshake) else PEER_HOLEPUNCH
        self.send_bytes(number, value.encode(), source, socket, target)

    def send_bytes(self, number: int, value: bytes, source: bytes, socket: int, target: bytes | None) -> None:
        command = Command.make(False, number, target, value)
        data = encode_request(command, TID, Alone.ADDRESS, None, None)
        self.assertIsNone(self.alone.receive(data, source, socket))

    def sent(self) -> tuple[int, bytes, bytes]:
        """The one datagram that was sent: socket, address, bytes."""
        [sent] = self.alone.take_sent()
        return sent

    def relayed(self) -> tuple[int, bytes, bytes | None]:
        """The request that was sent: socket, address, value."""
        socket, to, data = self.sent()
        self.assertEqual(REQUEST_BYTE, data[0])
        request = parse_request(data)
        self.assertEqual((TID, to, None, TARGET), (request.tid, request.to, request.token, request.target))
        self.assertEqual(self.alone.core.id_for(socket), request.id)
        return socket, to, request.value


class HandshakeTests(RouterTestCase):
    """Handshakes."""

    def test_from_client(self) -> None:
        """What a client has sent itself is answered with a response, over the same socket, without token or nodes."""
        for socket in (CLIENT_SOCKET, SERVER_SOCKET, POOL_SOCKET):
            self.send(PeerHandshake(Mode.FROM_CLIENT, b"one"), CLIENT, socket)
            arrival = self.server.handshakes.pop()
            self.assertEqual((True, CLIENT, Alone.ADDRESS), (arrival.is_direct, arrival.client_address, arrival.to))
            self.assertEqual([], self.alone.take_sent())
            arrival.answer(b"two")
            used, to, data = self.sent()
            self.assertEqual((socket, CLIENT, RESPONSE_BYTE), (used, to, data[0]))
            response = parse_response(data)
            self.assertEqual((TID, CLIENT, None, []), (response.tid, response.to, response.token, response.closer))
            self.assertEqual(PeerHandshake(Mode.REPLY, b"two"), PeerHandshake.parse(response.value))

    def test_from_relay(self) -> None:
        """What a relay has passed on is answered with a request to it, from whatever socket the server likes."""
        for chosen, expected in ((None, CLIENT_SOCKET), (POOL_SOCKET, POOL_SOCKET)):
            self.send(PeerHandshake(Mode.FROM_RELAY, b"one", CLIENT), RELAY, CLIENT_SOCKET)
            arrival = self.server.handshakes.pop()
            self.assertEqual((False, CLIENT, RELAY), (arrival.is_direct, arrival.client_address, arrival.source))
            arrival.answer(b"two", chosen)
            expected_value = PeerHandshake(Mode.FROM_SERVER, b"two", CLIENT).encode()
            self.assertEqual((expected, RELAY, expected_value), self.relayed())

    def test_from_second_relay(self) -> None:
        """What has come through two nodes goes back to the first of them, whom the client has asked."""
        self.send(PeerHandshake(Mode.FROM_SECOND_RELAY, b"one", CLIENT, SECOND), RELAY, CLIENT_SOCKET)
        arrival = self.server.handshakes.pop()
        self.assertEqual((False, CLIENT), (arrival.is_direct, arrival.client_address))
        arrival.answer(b"two")
        self.assertEqual(
            (CLIENT_SOCKET, SECOND, PeerHandshake(Mode.FROM_SERVER, b"two", CLIENT).encode()), self.relayed()
        )

    def test_later(self) -> None:
        """An answer that takes its time goes where it belongs; nothing goes out before."""
        self.send(PeerHandshake(Mode.FROM_CLIENT, b"one"), CLIENT)
        self.send(PeerHandshake(Mode.FROM_RELAY, b"one", CLIENT), RELAY)
        self.assertEqual([], self.alone.take_sent())
        direct, relayed = self.server.handshakes
        relayed.answer(b"two")
        direct.answer(b"two")
        self.assertEqual([RELAY, CLIENT], [to for _, to, _ in self.alone.take_sent()])

    def test_claimed_address(self) -> None:
        """A client cannot say that it is somebody else."""
        self.send(PeerHandshake(Mode.FROM_CLIENT, b"one", SECOND, RELAY), CLIENT)
        arrival = self.server.handshakes.pop()
        self.assertEqual((True, CLIENT), (arrival.is_direct, arrival.client_address))
        arrival.answer(b"two")
        self.assertEqual(CLIENT, self.sent()[1])

    def test_irrelevant(self) -> None:
        """What no server can answer does not come to one, nor does it go anywhere else."""
        for value in (
            PeerHandshake(Mode.FROM_RELAY, b"one"),
            PeerHandshake(Mode.FROM_RELAY, b"one", NOWHERE),
            PeerHandshake(Mode.FROM_SECOND_RELAY, b"one", CLIENT),
            PeerHandshake(Mode.FROM_SECOND_RELAY, b"one", CLIENT, NOWHERE),
            PeerHandshake(Mode.FROM_SECOND_RELAY, b"one", None, SECOND),
            PeerHandshake(Mode.FROM_SERVER, b"one", CLIENT),
            PeerHandshake(Mode.REPLY, b"one", CLIENT),
            PeerHandshake(77, b"one", CLIENT),
        ):
            self.send(value, RELAY)
            self.assertEqual(([], []), (self.server.handshakes, self.alone.take_sent()), value)

    def test_counted(self) -> None:
        """What is refused at once counts as not answered."""
        responder = self.alone.core.responder
        for takes, counts in ((True, (1, 0)), (False, (1, 1))):
            self.server.takes = takes
            self.send(PeerHandshake(Mode.FROM_CLIENT, b"one"), CLIENT)
            self.assertEqual(counts, (responder.answers, responder.silences))


class HolepunchTests(RouterTestCase):
    """The messages of hole punching."""

    def test_from_relay(self) -> None:
        """A relay's is answered with a request to it, whose handshake has no number."""
        for chosen, expected in ((None, CLIENT_SOCKET), (POOL_SOCKET, POOL_SOCKET)):
            self.send(PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed", CLIENT), RELAY, CLIENT_SOCKET)
            arrival = self.server.holepunches.pop()
            self.assertEqual((5, b"sealed", CLIENT), (arrival.value.id, arrival.value.payload, arrival.peer_address))
            self.assertEqual((RELAY, CLIENT_SOCKET, Alone.ADDRESS), (arrival.source, arrival.socket, arrival.to))
            arrival.answer(b"answer", chosen)
            value = PeerHolepunch(Mode.FROM_SERVER, 0, b"answer", CLIENT).encode()
            self.assertEqual((expected, RELAY, value), self.relayed())

    def test_irrelevant(self) -> None:
        """Without a client's address, or from a client itself, it comes to no server."""
        for value in (
            PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed"),
            PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed", NOWHERE),
            PeerHolepunch(Mode.FROM_CLIENT, 5, b"sealed"),
            PeerHolepunch(Mode.FROM_SECOND_RELAY, 5, b"sealed", CLIENT),
        ):
            self.send(value, RELAY)
            self.assertEqual(([], []), (self.server.holepunches, self.alone.take_sent()), value)

    def test_passed_on(self) -> None:
        """A server's node passes on what clients have for others at an address that they name."""
        self.send(PeerHolepunch(Mode.FROM_CLIENT, 5, b"sealed", SECOND), CLIENT)
        value = PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed", CLIENT).encode()
        self.assertEqual((SERVER_SOCKET, SECOND, value), self.relayed())


class OthersTests(RouterTestCase):
    """Whatever is for no server of ours."""

    def test_forwarded(self) -> None:
        """It is passed on as by a node without servers."""
        assert self.alone.core.store is not None
        del self.router.servers[TARGET]
        self.alone.core.store.forwards.put(TARGET, Forward(PeerRecord(bytes(32)), SECOND), self.alone.now)
        self.send(PeerHandshake(Mode.FROM_CLIENT, b"one"), CLIENT)
        self.assertEqual(
            (SERVER_SOCKET, SECOND, PeerHandshake(Mode.FROM_RELAY, b"one", CLIENT).encode()), self.relayed()
        )
        self.send(PeerHolepunch(Mode.FROM_CLIENT, 5, b"sealed"), CLIENT)
        self.assertEqual(
            (SERVER_SOCKET, SECOND, PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed", CLIENT).encode()), self.relayed()
        )

    def test_no_target(self) -> None:
        """Without a target it is nobody's."""
        self.send(PeerHolepunch(Mode.FROM_RELAY, 5, b"sealed", CLIENT), RELAY, target=None)
        self.assertEqual(([], []), (self.server.holepunches, self.alone.take_sent()))

    @settings(deadline=None)
    @given(st.sampled_from((PEER_HANDSHAKE, PEER_HOLEPUNCH)), st.binary(max_size=60), st.booleans())
    def test_anything(self, number: int, value: bytes, ours: bool) -> None:
        """Whatever comes is taken or dropped, and whoever is answered gets one datagram."""
        self.setUp()
        self.send_bytes(number, value, RELAY, CLIENT_SOCKET, TARGET if ours else OTHER_TARGET)
        for handshake in self.server.handshakes:
            handshake.answer(b"two")
        for holepunch in self.server.holepunches:
            holepunch.answer(b"answer")
        self.assertLessEqual(len(self.alone.take_sent()), 1)
