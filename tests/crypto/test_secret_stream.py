"""The encrypted stream: :mod:`spaceswarm_proxy.crypto.secret_stream`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.frames import encode_frame
from spaceswarm_proxy.crypto.message_cipher import OVERHEAD
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.secret_stream import MAX_MESSAGE, SecretStream, stream_id
from spaceswarm_proxy.errors import FrameError, HandshakeError, StreamDamagedError
from tests.crypto.connect_vectors import CLIENT, CLIENT_EPHEMERAL, SERVER, SERVER_EPHEMERAL, VECTORS

LABELS = ("one", "another", "a third")
LABEL = ("hyperswarm/secret-stream",)


def session(vector: dict[str, Any], initiator: bool) -> SessionKeys:
    """What a side has agreed on."""
    keys = bytes.fromhex(vector["initiatorTx"]), bytes.fromhex(vector["initiatorRx"])
    send, receive = keys if initiator else keys[::-1]
    remote = SERVER if initiator else CLIENT
    return SessionKeys(send, receive, bytes.fromhex(vector["handshakeHash"]), remote.public_key)


def header(vector: dict[str, Any], initiator: bool) -> bytes:
    return bytes.fromhex(vector["initiatorHeader" if initiator else "responderHeader"])


def stream(vector: dict[str, Any], initiator: bool) -> SecretStream:
    return SecretStream(initiator, session(vector, initiator), [vector["streamString"]], header(vector, initiator))


def output(side: SecretStream) -> bytes:
    return b"".join(side.data_to_send())


def two(*labels: tuple[str, ...]) -> tuple[SecretStream, SecretStream]:
    """Initiator and responder of one session, with these labels."""
    vector = VECTORS["secretStream"]["hyperswarm"]
    return SecretStream(True, session(vector, True), labels[0]), SecretStream(False, session(vector, False), labels[-1])


class VectorTests(SynchronousTestCase):
    """What the reference writes, and how it takes what is wrong."""

    def test_both_ways(self) -> None:
        """Headers and frames are those of the reference, under every label."""
        for name, vector in VECTORS["secretStream"].items():
            for initiator, way in ((True, "initiatorToResponder"), (False, "responderToInitiator")):
                writer, reader = stream(vector, initiator), stream(vector, not initiator)
                side = "initiator" if initiator else "responder"
                id = stream_id(bytes.fromhex(vector["handshakeHash"]), vector["streamString"], initiator)
                self.assertEqual(vector[side + "Id"], id.hex(), name)
                begin = output(writer)
                self.assertEqual(vector[side + "HeaderFrame"], begin.hex(), name)
                self.assertEqual([], reader.receive(begin))
                self.assertEqual(vector["streamString"], reader.label)
                for frame in vector[way]:
                    message = bytes.fromhex(frame["plaintext"])
                    writer.send(message)
                    self.assertEqual(frame["frame"], output(writer).hex(), name)
                    self.assertEqual([message], reader.receive(bytes.fromhex(frame["frame"])), name)

    def test_malformed(self) -> None:
        """What ends the reference's stream ends ours, after the same messages."""
        vector = VECTORS["secretStream"]["hyperswarm"]
        for case in VECTORS["secretStreamMalformed"]:
            reader, delivered, problem = stream(vector, False), [], None
            for data in case["input"]:
                if data is None or problem is not None:
                    continue  # That a stream ends is nothing that it is told.
                try:
                    delivered += reader.receive(bytes.fromhex(data))
                except (HandshakeError, StreamDamagedError) as error:
                    delivered += error.decoded
                    problem = error
            self.assertEqual(case["delivered"], [message.hex() for message in delivered], case["name"])
            self.assertEqual(case["destroyedWithError"] is not None, problem is not None, case["name"])

    def test_standalone(self) -> None:
        """Handshake and stream together, as over TCP, byte for byte, both patterns."""
        for pattern, vector in VECTORS["secretStreamStandalone"].items():
            known = SERVER.public_key if pattern == "IK" else None
            sides = {
                "initiator": Handshake(pattern, True, CLIENT, remote_public_key=known, ephemeral=CLIENT_EPHEMERAL),
                "responder": Handshake(pattern, False, SERVER, ephemeral=SERVER_EPHEMERAL),
            }
            while sides["initiator"].keys is None or sides["responder"].keys is None:
                writer, reader = sorted(sides.values(), key=lambda side: not side.is_our_turn)
                reader.read(writer.write())
            streams, written = {}, []
            for name, handshake in sides.items():
                assert handshake.keys is not None
                begin = bytes.fromhex(vector[name + "Header"])
                streams[name] = SecretStream(handshake.initiator, handshake.keys, ["hyperswarm/secret-stream"], begin)
                written.append({"from": name, "data": output(streams[name]).hex()})
            for name, other in (("initiator", "responder"), ("responder", "initiator")):
                for message in vector[other + "Got"]:
                    streams[name].send(bytes.fromhex(message))
                    written.append({"from": name, "data": output(streams[name]).hex()})
            # Before these are the handshake's own messages.
            for write in written:
                self.assertIn(write, vector["writes"], pattern)


class LabelTests(SynchronousTestCase):
    """Networks whose label is not certain."""

    def test_recognised(self) -> None:
        """A responder with several candidates holds its header back until it has seen the initiator's."""
        for label in LABELS:
            initiator, responder = two((label,), LABELS)
            responder.send(b"early")
            self.assertEqual((b"", True), (output(responder), responder.holds_back))
            self.assertEqual([], responder.receive(output(initiator)))
            self.assertEqual((label, False), (responder.label, responder.holds_back))
            self.assertEqual([b"early"], initiator.receive(output(responder)))
            self.assertEqual(label, initiator.label)

    def test_likeliest_first(self) -> None:
        """An initiator with several begins with the first, and recognises each in the answer."""
        for label in LABELS:
            initiator, responder = two(LABELS, (label,))
            self.assertEqual([], initiator.receive(output(responder)))
            self.assertEqual(label, initiator.label)
            begin = output(initiator)
            if label == LABELS[0]:
                self.assertEqual([], responder.receive(begin))
            else:
                self.assertRaises(HandshakeError, responder.receive, begin)

    def test_unknown(self) -> None:
        """A label that is none of the candidates is refused, and nothing is said to it."""
        initiator, responder = two(("a fourth",), LABELS)
        problem = self.assertRaises(HandshakeError, responder.receive, output(initiator))
        self.assertEqual("unknown-stream", problem.kind)
        self.assertEqual((None, b""), (responder.label, output(responder)))


class MessageTests(SynchronousTestCase):
    """What is sent."""

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.binary(max_size=60), max_size=8), st.data())
    def test_boundaries(self, messages: list[bytes], data: st.DataObject) -> None:
        """Messages come as they were sent, empty ones too, however the bytes are cut."""
        writer, reader = two(LABELS[:1])
        for message in messages:
            writer.send(message)
        bytes_sent, came = output(writer), []
        while bytes_sent:
            size = data.draw(st.integers(1, len(bytes_sent)))
            came += reader.receive(bytes_sent[:size])
            bytes_sent = bytes_sent[size:]
        self.assertEqual((messages, 0), (came, reader.partial))

    def test_longest(self) -> None:
        """The longest message is one frame; a longer one is refused here."""
        writer, reader = two(LABELS[:1])
        writer.send(bytes(MAX_MESSAGE))
        self.assertRaises(ValueError, writer.send, bytes(MAX_MESSAGE + 1))
        self.assertEqual([MAX_MESSAGE], [len(message) for message in reader.receive(output(writer))])

    def test_limit(self) -> None:
        """A longer message than the limit is refused by its length, before it is held; those before it are not lost."""
        vector = VECTORS["secretStream"]["hyperswarm"]
        writer, reader = stream(vector, True), SecretStream(False, session(vector, False), LABEL, max_message=1000)
        for size in (1000, 1001):
            writer.send(bytes(size))
        bytes_sent = output(writer)
        problem = self.assertRaises(FrameError, reader.receive, bytes_sent[: -(1001 + OVERHEAD)])
        self.assertEqual(([bytes(1000)], "too-long"), (problem.decoded, problem.kind))

    def test_damage_before_the_limit(self) -> None:
        """Of two things that are wrong, the first is told."""
        vector = VECTORS["secretStream"]["hyperswarm"]
        writer, reader = stream(vector, True), SecretStream(False, session(vector, False), LABEL, max_message=10)
        writer.send(b"good")
        bytes_sent = output(writer) + encode_frame(bytes(20)) + b"\xff\xff\xff"
        problem = self.assertRaises(StreamDamagedError, reader.receive, bytes_sent)
        self.assertEqual(("bad-tag", [b"good"]), (problem.kind, problem.decoded))

    def test_counters(self) -> None:
        """They count as the reference does: lengths only of what is sent, headers not at all."""
        writer, reader = two(LABELS[:1])
        for message in (b"12345", b""):
            writer.send(message)
        reader.receive(output(writer))
        self.assertEqual((2 * (3 + OVERHEAD) + 5, 2 * OVERHEAD + 5), (writer.raw_written, reader.raw_read))

    def test_before_the_damage(self) -> None:
        """What was complete before the damage is not lost with it."""
        writer, reader = two(LABELS[:1])
        writer.send(b"good")
        problem = self.assertRaises(StreamDamagedError, reader.receive, output(writer) + encode_frame(bytes(20)))
        self.assertEqual(("bad-tag", [b"good"]), (problem.kind, problem.decoded))

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=120))
    def test_anything(self, data: bytes) -> None:
        """Bytes of any kind lead to nothing, or to an error of ours."""
        vector = VECTORS["secretStream"]["hyperswarm"]
        for begin in (b"", output(stream(vector, True))):
            reader = stream(vector, False)
            reader.receive(begin)
            try:
                self.assertEqual([], reader.receive(data))
            except (HandshakeError, StreamDamagedError):
                continue
