"""The Noise handshake: :mod:`spaceswarm_proxy.crypto.noise`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import MAX_MESSAGE, Handshake, diffie_hellman, expand
from spaceswarm_proxy.errors import HandshakeError
from tests.crypto.connect_vectors import CLIENT, CLIENT_EPHEMERAL, KEYS, SERVER, SERVER_EPHEMERAL, VECTORS

PATTERNS = ("IK", "XX")


def pair(pattern: str, prologue: bytes = b"", fixed: bool = True) -> tuple[Handshake, Handshake]:
    """Both sides; with fixed ephemeral keys they always say the same."""
    ephemerals = (CLIENT_EPHEMERAL, SERVER_EPHEMERAL) if fixed else (None, None)
    known = SERVER.public_key if pattern == "IK" else None
    initiator = Handshake(pattern, True, CLIENT, remote_public_key=known, prologue=prologue, ephemeral=ephemerals[0])
    return initiator, Handshake(pattern, False, SERVER, prologue=prologue, ephemeral=ephemerals[1])


def finish(initiator: Handshake, responder: Handshake) -> None:
    """Exchange what is left of the messages."""
    while initiator.keys is None or responder.keys is None:
        writer, reader = (initiator, responder) if initiator.is_our_turn else (responder, initiator)
        reader.read(writer.write())


class PrimitiveTests(SynchronousTestCase):
    """What it is made of."""

    def test_diffie_hellman(self) -> None:
        """Both sides come to what the reference comes to."""
        for vector in VECTORS["dh"]:
            ours, theirs = KEYS[vector["a"]], KEYS[vector["b"]]
            shared = bytes.fromhex(vector["shared"])
            self.assertEqual(shared, diffie_hellman(ours.secret_key, theirs.public_key))
            self.assertEqual(shared, diffie_hellman(theirs.secret_key, ours.public_key))

    def test_bad_points(self) -> None:
        """Keys that are no points, or of a small order, are refused, as by the reference."""
        for vector in VECTORS["dhInvalid"]:
            key = bytes.fromhex(vector["publicKey"])
            if vector["accepted"]:
                shared = diffie_hellman(CLIENT.secret_key, key)
                self.assertEqual(bytes.fromhex(vector["shared"]), shared, vector["name"])
            else:
                self.assertRaises(HandshakeError, diffie_hellman, CLIENT.secret_key, key)

    def test_expand(self) -> None:
        """Keys are derived as the reference derives them."""
        for vector in VECTORS["hkdf"]:
            outputs = expand(bytes.fromhex(vector["chainingKey"]), bytes.fromhex(vector["input"]))
            self.assertEqual((vector["out1"], vector["out2"]), tuple(output.hex() for output in outputs))


class HandshakeTests(SynchronousTestCase):
    """Two sides."""

    def test_vectors(self) -> None:
        """Every message is what the reference writes, and both sides agree on what it agrees on."""
        for name, vector in VECTORS["noise"].items():
            sides = dict(
                zip(("initiator", "responder"), pair(vector["pattern"], bytes.fromhex(vector["prologue"])), strict=True)
            )
            for message in vector["messages"]:
                writer = sides[message["from"]]
                reader = sides["responder" if message["from"] == "initiator" else "initiator"]
                self.assertTrue(writer.is_our_turn and not reader.is_our_turn)
                payload = bytes.fromhex(message["payload"])
                self.assertEqual(message["message"], writer.write(payload).hex(), name)
                self.assertEqual(payload, reader.read(bytes.fromhex(message["message"])), name)
            self.agree(vector, sides["initiator"], sides["responder"])

    def agree(self, vector: dict[str, Any], initiator: Handshake, responder: Handshake) -> None:
        ours, theirs = initiator.keys, responder.keys
        assert ours is not None and theirs is not None
        self.assertEqual((vector["initiatorTx"], vector["initiatorRx"]), (ours.send.hex(), ours.receive.hex()))
        self.assertEqual((ours.send, ours.receive), (theirs.receive, theirs.send))
        self.assertEqual((vector["hash"], ours.hash), (ours.hash.hex(), theirs.hash))
        self.assertEqual((SERVER.public_key, CLIENT.public_key), (ours.remote_public_key, theirs.remote_public_key))

    def test_dht(self) -> None:
        """The handshake of a connection over the DHT, in each profile that there is a vector of."""
        for name, vector in VECTORS["dhtHandshake"].items():
            client, server = pair("IK", bytes.fromhex(vector["prologue"]))
            for number, (writer, reader) in enumerate(((client, server), (server, client)), 1):
                message = writer.write(bytes.fromhex(vector[f"payload{number}"]))
                self.assertEqual(vector[f"message{number}"], message.hex(), name)
                self.assertEqual(vector[f"payload{number}"], reader.read(message).hex(), name)

    def test_malformed(self) -> None:
        """What the reference refuses is refused, and leaves all as it was: the right message is taken afterwards."""
        vectors = VECTORS["dhtHandshakeMalformed"]
        prologue = bytes.fromhex(VECTORS["dhtHandshake"]["hyperswarm"]["prologue"])
        (valid,) = (vector["message"] for vector in vectors if vector["accepted"])
        _, server = pair("IK", prologue)
        for vector in vectors:
            if not vector["accepted"]:
                self.assertRaises(HandshakeError, server.read, bytes.fromhex(vector["message"]))
                self.assertIsNone(server.remote_public_key, vector["name"])
        server.read(bytes.fromhex(valid))
        self.assertEqual(CLIENT.public_key, server.remote_public_key)

    def test_fresh(self) -> None:
        """Without fixed keys no two handshakes are alike, and each works."""
        for pattern in PATTERNS:
            hashes = set()
            for _ in range(3):
                sides = pair(pattern, fixed=False)
                finish(*sides)
                assert sides[0].keys is not None and sides[1].keys is not None
                self.assertEqual(sides[0].keys.hash, sides[1].keys.hash)
                hashes.add(sides[0].keys.hash)
            self.assertEqual(3, len(hashes))

    def test_another_prologue(self) -> None:
        """Who has another prologue, as in another network, is not understood."""
        for pattern in PATTERNS:
            initiator, responder = pair(pattern)[0], pair(pattern, b"another")[1]
            self.assertRaises(HandshakeError, finish, initiator, responder)

    def test_another_key(self) -> None:
        """Of IK only the one can read it whom it is for."""
        stranger = Handshake("IK", False, KeyPair.generate())
        self.assertRaises(HandshakeError, stranger.read, pair("IK")[0].write())

    def test_turns(self) -> None:
        """Nobody reads or writes out of turn, nor after the end."""
        for pattern in PATTERNS:
            initiator, responder = pair(pattern)
            self.assertRaises(ValueError, responder.write)
            self.assertRaises(ValueError, initiator.read, b"")
            finish(initiator, responder)
            for side in (initiator, responder):
                self.assertFalse(side.is_our_turn)
                self.assertRaises(ValueError, side.write)
                self.assertRaises(ValueError, side.read, b"")

    def test_length(self) -> None:
        """A message has a length that there is a limit to, on either side."""
        initiator, responder = pair("XX")
        longest = MAX_MESSAGE - 32
        self.assertRaises(ValueError, initiator.write, bytes(longest + 1))
        self.assertRaises(HandshakeError, responder.read, bytes(MAX_MESSAGE + 1))
        self.assertEqual(longest, len(responder.read(initiator.write(bytes(longest)))))

    def test_ik_needs_the_key(self) -> None:
        """Who begins with IK must know the other's key."""
        self.assertRaises(ValueError, Handshake, "IK", True, CLIENT)

    @settings(deadline=None, max_examples=60)
    @given(st.sampled_from(PATTERNS), st.integers(0, 2), st.data())
    def test_damaged(self, pattern: str, number: int, data: st.DataObject) -> None:
        """A message that was changed is refused, or leads to sides that do not agree; it is never another error."""
        initiator, responder = pair(pattern)
        writer, reader = initiator, responder
        for _ in range(number):
            if writer.keys is not None or not writer.is_our_turn:
                return
            reader.read(writer.write())
            writer, reader = reader, writer
        if writer.keys is not None:
            return
        message = bytearray(writer.write(b"payload"))
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] ^= data.draw(st.integers(1, 255))
        damaged = bytes(message[: data.draw(st.integers(0, len(message)))])
        try:
            reader.read(damaged)
            finish(initiator, responder)
        except HandshakeError:
            return
        assert initiator.keys is not None and responder.keys is not None
        self.assertNotEqual(initiator.keys.hash, responder.keys.hash)
