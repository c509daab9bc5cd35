"""One side of an encrypted stream, from its first byte on: :mod:`spaceswarm_proxy.secret.session`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.message_cipher import OVERHEAD
from spaceswarm_proxy.errors import FrameError, ProtocolError
from spaceswarm_proxy.secret.connection import Settings
from spaceswarm_proxy.secret.session import Session
from tests.crypto.connect_vectors import CLIENT, SERVER, VECTORS
from tests.secret.ends import LABEL, known, unknown

LABELS = ("one", "another")


def ik(initiator: bool, **options: Any) -> Session:
    return unknown(initiator, "IK", **options)


#: Every way in which a stream begins.
BEGINNINGS: tuple[Callable[..., Session], ...] = (known, unknown, ik)


def output(side: Session) -> bytes:
    return b"".join(side.data_to_send())


def exchange(near: Session, far: Session) -> tuple[list[bytes], list[bytes]]:
    """Move bytes until there are none.  :returns: what each has got."""
    got: tuple[list[bytes], list[bytes]] = ([], [])
    near.start()
    far.start()
    moved = True
    while moved:
        moved = False
        for writer, reader, messages in ((near, far, got[1]), (far, near, got[0])):
            data = output(writer)
            if data:
                messages += reader.receive(data)
                moved = True
    return got


def conversation(make: Callable[..., Session], messages: list[bytes]) -> bytes:
    """:returns: all that the initiator says when it sends these."""
    near, far, said = make(True), make(False), b""
    near.start()
    while data := output(near):
        said += data
        far.receive(data)
        near.receive(output(far))
    for message in messages:
        near.send(message)
    return said + output(near)


class SessionTests(SynchronousTestCase):
    """Two honest sides."""

    def test_standalone_vectors(self) -> None:
        """Everything the reference writes when it stands alone we write, byte for byte, and read."""
        for pattern, vector in VECTORS["secretStreamStandalone"].items():
            near, far = (
                unknown(side, pattern, header=bytes.fromhex(vector[name + "Header"]))
                for side, name in ((True, "initiator"), (False, "responder"))
            )
            for side, name, other in ((near, "initiator", "responder"), (far, "responder", "initiator")):
                theirs, ours = ("".join(said(vector, who)) for who in (other, name))
                side.start()
                for message in vector[other + "Got"]:
                    side.send(bytes.fromhex(message))
                got = side.receive(bytes.fromhex(theirs))
                self.assertEqual(ours, output(side).hex(), f"{pattern} {name}")
                self.assertEqual(vector[name + "Got"], [message.hex() for message in got], f"{pattern} {name}")

    def test_who(self) -> None:
        """Both know who the other is, by the same hash, and the label once they have heard each other."""
        for make in BEGINNINGS:
            near, far = make(True), make(False)
            exchange(near, far)
            assert near.keys is not None and far.keys is not None
            self.assertEqual(
                (SERVER.public_key, CLIENT.public_key), (near.keys.remote_public_key, far.keys.remote_public_key)
            )
            self.assertEqual((near.keys.hash, LABEL, LABEL), (far.keys.hash, near.label, far.label))

    def test_early(self) -> None:
        """What is sent before there are keys comes first, in order."""
        for make in BEGINNINGS:
            near, far = make(True), make(False)
            for side in (near, far):
                side.send(b"early")
                side.send(b"later")
            self.assertEqual(([b"early", b"later"],) * 2, exchange(near, far))

    def test_ready(self) -> None:
        """A side is ready when it has keys; a responder that has several labels, when it has heard the initiator."""
        many = Settings(LABELS)
        self.assertEqual(
            [True, True, False, False], [make(side).is_ready for make in (known, unknown) for side in (True, False)]
        )
        near, far = known(True, many), known(False, many)
        self.assertEqual((True, False), (near.is_ready, far.is_ready))
        far.receive(output(near))
        self.assertEqual((True, "one"), (far.is_ready, far.label))

    def test_raw_counters(self) -> None:
        """They are the reference's: with lengths what was written, without what was read, and no headers."""
        near, far = known(True), known(False)
        near.send(b"12345")
        near.send(b"")
        exchange(near, far)
        self.assertEqual((2 * (3 + OVERHEAD) + 5, 0), (near.raw_written, near.raw_read))
        self.assertEqual((0, 2 * OVERHEAD + 5), (far.raw_written, far.raw_read))
        self.assertEqual((0, 0), (unknown(True).raw_written, unknown(True).raw_read))

    @settings(deadline=None, max_examples=40)
    @given(st.sampled_from(BEGINNINGS), st.lists(st.binary(max_size=60), max_size=5), st.data())
    def test_cut_anywhere(self, make: Any, messages: list[bytes], data: st.DataObject) -> None:
        """However the bytes are cut, the messages come, each as it was sent."""
        stream, far, got = conversation(make, messages), make(False), []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            got += far.receive(stream[:size])
            stream = stream[size:]
        self.assertEqual(messages, got)

    @settings(deadline=None, max_examples=150)
    @given(st.sampled_from(BEGINNINGS), st.data())
    def test_damage(self, make: Any, data: st.DataObject) -> None:
        """With one byte changed, there is an error of ours, or something is missing at the end; nothing else comes."""
        messages = [b"one", b"", b"three"]
        stream, far, got = bytearray(conversation(make, messages)), make(False), []
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            got = far.receive(bytes(stream))
        except ProtocolError as problem:
            got = problem.decoded
        self.assertLess(len(got), len(messages))
        self.assertEqual(messages[: len(got)], got)


class LimitTests(SynchronousTestCase):
    """What a remote can make us hold."""

    def test_max_message(self) -> None:
        """A message over the limit is refused by its length alone; those before it are not lost."""
        near, far = known(True), known(False, Settings((LABEL,), max_message=100))
        for size in (100, 0, 101):
            near.send(bytes(size))
        stream = output(near)
        problem = self.assertRaises(FrameError, far.receive, stream[: -(101 + OVERHEAD)])
        self.assertEqual(([bytes(100), b""], "too-long"), (problem.decoded, problem.kind))

    def test_giant_header(self) -> None:
        """Before the header nothing longer than that is taken."""
        self.assertRaises(ProtocolError, known(False).receive, b"\x39\x00\x00")


class DatagramTests(SynchronousTestCase):
    """Messages beside the stream."""

    def test_both_ways(self) -> None:
        """When both have been heard, each opens what the other has sealed."""
        near, far = known(True), known(False)
        exchange(near, far)
        for writer, reader in ((near, far), (far, near)):
            for datagram in (b"", b"hello"):
                sealed = writer.seal(datagram)
                assert sealed is not None
                self.assertEqual((datagram, None), (reader.unseal(sealed), writer.unseal(sealed)))
        self.assertIsNone(near.unseal(bytes(24)))

    def test_too_early(self) -> None:
        """Before the remote has been heard there are none."""
        for make in BEGINNINGS:
            self.assertEqual((None, None), (make(True).seal(b"hello"), make(True).unseal(bytes(40))))


def said(vector: dict[str, Any], side: str) -> list[str]:
    """What one side of a recorded conversation wrote, in order."""
    return [write["data"] for write in vector["writes"] if write["from"] == side]
