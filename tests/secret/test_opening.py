"""The handshake of a stream that stands alone: :mod:`spaceswarm_proxy.secret.opening`."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.frames import encode_frame
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import HandshakeError
from spaceswarm_proxy.secret.opening import MAX_HANDSHAKE_MESSAGE, Opening, only
from tests.crypto.connect_vectors import CLIENT, SERVER, VECTORS
from tests.secret.ends import opening

PATTERNS = ("XX", "IK")


def output(side: Opening) -> bytes:
    return b"".join(side.data_to_send())


def exchange(initiator: Opening, responder: Opening) -> tuple[bytes, bytes]:
    """Let two sides agree.  :returns: what each has said."""
    said = [b"", b""]
    initiator.start()
    responder.start()
    while data := output(initiator):
        said[0] += data
        assert responder.receive(data) == b""
        said[1] += (answer := output(responder))
        assert initiator.receive(answer) == b""
    return said[0], said[1]


class AgreementTests(SynchronousTestCase):
    """Two sides."""

    def test_vectors(self) -> None:
        """Both sides say what the reference does, and agree on the same."""
        for pattern in PATTERNS:
            vector = VECTORS["secretStreamStandalone"][pattern]
            sides = opening(True, pattern), opening(False, pattern)
            for side, said in zip(("initiator", "responder"), exchange(*sides), strict=True):
                whole = "".join(write["data"] for write in vector["writes"] if write["from"] == side)
                self.assertTrue(whole.startswith(said.hex()), side)
            for side, other in zip(sides, ("initiatorSeesRemote", "responderSeesRemote"), strict=True):
                assert side.keys is not None
                self.assertEqual(vector["handshakeHash"], side.keys.hash.hex())
                self.assertEqual(vector[other], side.keys.remote_public_key.hex())

    @settings(deadline=None, max_examples=30)
    @given(st.sampled_from(PATTERNS), st.binary(max_size=30), st.data())
    def test_cut_anywhere(self, pattern: str, after: bytes, data: st.DataObject) -> None:
        """However the bytes are cut, what comes after the handshake is left over, and nothing of it."""
        vector = VECTORS["secretStreamStandalone"][pattern]
        responder, rest = opening(False, pattern), b""
        count = 2 if pattern == "XX" else 1
        said = "".join(write["data"] for write in [w for w in vector["writes"] if w["from"] == "initiator"][:count])
        stream = bytes.fromhex(said) + after
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            rest += responder.receive(stream[:size])
            stream = stream[size:]
        self.assertIsNotNone(responder.keys)
        self.assertEqual(after, rest)


class TrustTests(SynchronousTestCase):
    """Whom one speaks with."""

    def test_accepted(self) -> None:
        """Who has one of the keys will do."""
        for pattern in PATTERNS:
            client = opening(True, pattern, accepts=only({SERVER.public_key, bytes(32)}))
            server = opening(False, pattern, accepts=only({CLIENT.public_key}))
            exchange(client, server)
            self.assertTrue(client.keys and server.keys)

    def test_server_refuses(self) -> None:
        """A client of another key is refused; with IK nothing at all is said to it."""
        for pattern in PATTERNS:
            client, server = opening(True, pattern), opening(False, pattern, accepts=only({SERVER.public_key}))
            problem = self.assertRaises(HandshakeError, exchange, client, server)
            self.assertEqual(("unknown-key", CLIENT.public_key.hex()), (problem.kind, problem.detail))
            self.assertEqual((None, b""), (server.keys, output(server)))

    def test_client_refuses(self) -> None:
        """A server of another key never learns who has called."""
        for options in ({"accepts": only({CLIENT.public_key})}, {"remote_public_key": CLIENT.public_key}):
            client, server = opening(True, "XX", **options), opening(False)
            problem = self.assertRaises(HandshakeError, exchange, client, server)
            self.assertEqual(("unknown-key", SERVER.public_key.hex()), (problem.kind, problem.detail))
            self.assertEqual((None, b""), (client.keys, output(client)))

    def test_wrong_server(self) -> None:
        """With IK only the server that is meant can read the first message."""
        client = opening(True, "IK", remote_public_key=KeyPair.generate().public_key)
        self.assertRaises(HandshakeError, exchange, client, opening(False, "IK"))

    def test_no_key(self) -> None:
        """A public key that is none is found out before anything is said."""
        client = opening(True, "IK", remote_public_key=bytes(32))
        self.assertRaises(HandshakeError, client.start)
        self.assertEqual(b"", output(client))


class LiarTests(SynchronousTestCase):
    """Who does not want to agree."""

    def test_giant(self) -> None:
        """A frame longer than any handshake's is refused by its length alone."""
        for begin in (b"\xff\xff\xff", (MAX_HANDSHAKE_MESSAGE + 1).to_bytes(3, "little")):
            problem = self.assertRaises(HandshakeError, opening(False).receive, begin)
            self.assertEqual("too-long", problem.kind)

    def test_fragments(self) -> None:
        """Who never gets to the end of a frame is held, up to the limit."""
        server = opening(False)
        server.receive(MAX_HANDSHAKE_MESSAGE.to_bytes(3, "little"))
        for _ in range(MAX_HANDSHAKE_MESSAGE - 1):
            self.assertEqual(b"", server.receive(b"x"))
        self.assertRaises(HandshakeError, server.receive, b"x")

    @settings(deadline=None, max_examples=60)
    @given(st.sampled_from(PATTERNS), st.booleans(), st.lists(st.binary(max_size=120), max_size=3))
    def test_anything(self, pattern: str, initiator: bool, frames: list[bytes]) -> None:
        """Whatever comes leads to nothing, or to an error of ours, and never to keys."""
        side = opening(initiator, pattern)
        side.start()
        try:
            side.receive(b"".join(map(encode_frame, frames)))
        except HandshakeError:
            return
        finally:
            self.assertIsNone(side.keys)
