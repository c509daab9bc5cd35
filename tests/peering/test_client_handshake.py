"""A client's half of the handshake: :mod:`spaceswarm_proxy.peering.client_handshake`."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import OwnHandshake, OwnKeys
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import PROFILES, SPACESWARM
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.dht.message import Response
from spaceswarm_proxy.errors import (
    BadHandshakeReplyError,
    HandshakeInvalidError,
    PeeringError,
    ServerFailedError,
    ServerIncompatibleError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.client_handshake import Answer, ClientHandshake
from spaceswarm_proxy.peering.noise_payload import NoisePayload, UDXInfo
from tests.crypto.connect_vectors import CLIENT, CLIENT_EPHEMERAL, SERVER, VECTORS
from tests.peering.strangers import answering, server_payload

RELAY, SEEN, US = (address_of(f"10.0.0.{number}", number) for number in (1, 2, 3))
GOOD = server_payload()
NOW = 3.0

T = TypeVar("T")


def response(value: bytes | None) -> Response:
    return Response(b"\x00\x00", US, None, None, [], 0, value)


def client_handshake(public_key: bytes = SERVER.public_key) -> ClientHandshake:
    return ClientHandshake(OwnKeys(CLIENT).handshake(SPACESWARM, public_key), public_key)


def written(handshake: ClientHandshake, payload: NoisePayload) -> bytes:
    """The first message, or why there is none."""
    told: list[bytes | SpaceswarmError] = []
    handshake.write(payload, lambda message, now: told.append(message), NOW)
    return result_of(told)


def read(handshake: ClientHandshake, response: Response, socket: int | None = None) -> Answer:
    """What an answer says, or what is wrong with it."""
    told: list[Answer | SpaceswarmError] = []
    handshake.read(RELAY, response, lambda answer, now: told.append(answer), NOW, socket)
    return result_of(told)


def result_of(told: list[T | SpaceswarmError]) -> T:
    """What was told, once."""
    [result] = told
    if isinstance(result, SpaceswarmError):
        raise result
    return result


class ClientHandshakeTests(SynchronousTestCase):
    """Writing the first message, and reading the second."""

    def setUp(self) -> None:
        self.handshake = client_handshake()
        value = PeerHandshake.parse(written(self.handshake, NoisePayload(udx=UDXInfo(7))))
        self.assertEqual((Mode.FROM_CLIENT, None, None), (value.mode, value.peer_address, value.relay_address))
        self.message = value.noise

    def answer(self, payload: NoisePayload | bytes, peer_address: bytes | None = SEEN) -> PeerHandshake:
        value = answering(payload, peer_address)(self.message)
        assert value is not None
        return value

    def test_message(self) -> None:
        """The server reads who the client is, and what it says."""
        noise = Handshake("IK", False, SERVER, prologue=SPACESWARM.peer_handshake)
        self.assertEqual(UDXInfo(7), NoisePayload.parse(noise.read(self.message)).udx)
        self.assertEqual(CLIENT.public_key, noise.remote_public_key)

    def test_vectors(self) -> None:
        """Both messages are those of the reference, in each profile that there is a vector of."""
        for vector in VECTORS["dhtHandshake"].values():
            profile = next(each for each in PROFILES.values() if each.label == vector["dhtString"])
            kept = OwnHandshake(profile, CLIENT, SERVER.public_key, CLIENT_EPHEMERAL)
            handshake = ClientHandshake(kept, SERVER.public_key)
            payload = NoisePayload.parse(bytes.fromhex(vector["payload1"]))
            message = bytes.fromhex(vector["message1"])
            self.assertEqual(PeerHandshake(Mode.FROM_CLIENT, message).encode(), written(handshake, payload))
            value = PeerHandshake(Mode.REPLY, bytes.fromhex(vector["message2"]), SEEN).encode()
            answer = read(handshake, response(value))
            self.assertEqual(vector["payload2"], answer.payload.encode().hex())
            keys = answer.keys
            assert isinstance(keys, SessionKeys)
            self.assertEqual((vector["clientTx"], vector["clientRx"]), (keys.send.hex(), keys.receive.hex()))
            self.assertEqual(vector["hash"], keys.hash.hex())

    def test_relayed(self) -> None:
        """An answer that was passed on tells where the relay sees the server, and us."""
        answer = read(self.handshake, response(self.answer(GOOD).encode()))
        self.assertEqual((RELAY, SEEN, US, True), answer[2:6])
        self.assertEqual((GOOD, SERVER.public_key), (answer.payload, answer.keys.remote_public_key))

    def test_direct(self) -> None:
        """An answer without an address is the server's own."""
        answer = read(self.handshake, response(self.answer(GOOD, None).encode()), 5)
        self.assertEqual((RELAY, RELAY, US, False, 5), answer[2:])

    def test_not_the_server(self) -> None:
        """What does not come from the server is refused, and the server's own is taken all the same."""
        good = self.answer(GOOD)
        damaged = good.noise[:-1] + bytes([good.noise[-1] ^ 1])
        for value in (
            None,
            b"",
            b"\x00\x04\x05a",
            good._replace(mode=Mode.FROM_SERVER).encode(),
            good._replace(mode=77).encode(),
            good._replace(noise=b"").encode(),
            good._replace(noise=damaged).encode(),
            good._replace(noise=self.message).encode(),
        ):
            self.assertRaises(BadHandshakeReplyError, read, self.handshake, response(value))
        read(self.handshake, response(good.encode()))

    def test_refused(self) -> None:
        """What the server says against a connection is an error with the reference's name."""
        for payload, kind, name in (
            (NoisePayload(version=2), ServerIncompatibleError, "SERVER_INCOMPATIBLE"),
            (GOOD._replace(error=1), ServerFailedError, "SERVER_ERROR"),
            (GOOD._replace(error=77), ServerFailedError, "SERVER_ERROR"),
            (GOOD._replace(udx=None), ServerFailedError, "SERVER_ERROR"),
            (b"", HandshakeInvalidError, "HANDSHAKE_INVALID"),
            (b"\x01\x08", HandshakeInvalidError, "HANDSHAKE_INVALID"),
        ):
            self.setUp()
            value = self.answer(payload).encode()
            problem = self.assertRaises(kind, read, self.handshake, response(value))
            self.assertEqual(name, problem.reference_code)

    def test_bad_key(self) -> None:
        """Nobody can be connected to whose key is no point of the curve."""
        for key in (bytes(32), b"\xff" * 32):
            self.assertRaises(HandshakeInvalidError, written, client_handshake(key), NoisePayload())

    @settings(deadline=None)
    @given(st.binary(max_size=120), st.booleans())
    def test_anything(self, data: bytes, encrypted: bool) -> None:
        """Whatever is answered, encrypted by the server or not, is an answer or an error of ours."""
        self.setUp()
        value = self.answer(data).encode() if encrypted else data
        try:
            answer = read(self.handshake, response(value))
        except PeeringError:
            return
        self.assertIsNotNone(answer.payload.udx)
