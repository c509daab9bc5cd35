"""Tests for ``spaceswarm_proxy.websocket.opening``."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.protocol import CONNECTING, OPEN
from websockets.uri import parse_uri

from spaceswarm_proxy.websocket.opening import (
    MAX_HEAD,
    ClientOpening,
    ClientRequest,
    Handshake,
    ServerOpening,
    ServerRules,
)
from tests.websocket.ends import URL, request


def status(opening: ServerOpening) -> bytes:
    """The first line of the answer."""
    return b"".join(opening.core.data_to_send()).split(b"\r\n")[0]


class ServerOpeningTests(SynchronousTestCase):
    """The server's half."""

    def serve(self, data: bytes, rules: ServerRules | None = None) -> ServerOpening:
        opening = ServerOpening(rules or ServerRules(), 1024)
        opening.receive(data)
        return opening

    def test_accepts(self) -> None:
        """Any path and any origin will do by default, and the handshake tells them."""
        opening = self.serve(request("/a?b", "Origin: https://a.example"))
        self.assertEqual(status(opening), b"HTTP/1.1 101 Switching Protocols")
        self.assertIs(opening.core.state, OPEN)
        self.assertEqual(opening.handshake(), Handshake("/a?b", "https://a.example", None))

    def test_path(self) -> None:
        """With a path given, that one is served, with or without a query, and others get 404."""
        rules = ServerRules(path="/proxy")
        self.assertIn(b" 101 ", status(self.serve(request("/proxy"), rules)))
        self.assertIn(b" 101 ", status(self.serve(request("/proxy?x"), rules)))
        self.assertIn(b" 404 ", status(self.serve(request("/proxy/x"), rules)))

    def test_origins(self) -> None:
        """With origins given, other pages get 403; a program that names none is let in."""
        rules = ServerRules(origins=["https://a.example"])
        self.assertIn(b" 101 ", status(self.serve(request("/", "Origin: https://a.example"), rules)))
        self.assertIn(b" 101 ", status(self.serve(request("/"), rules)))
        self.assertIn(b" 403 ", status(self.serve(request("/", "Origin: https://b.example"), rules)))

    def test_subprotocol(self) -> None:
        """The server's preference decides; without one, the client's first offer is taken, as JavaScript servers do."""
        offer = request("/", "Sec-WebSocket-Protocol: x, y")
        for ours, agreed in (((), "x"), (("y", "x"), "y"), (("z",), None)):
            opening = self.serve(offer, ServerRules(subprotocols=ours))
            self.assertEqual(opening.handshake().subprotocol, agreed)
        self.assertIsNone(self.serve(request()).handshake().subprotocol)

    def test_compression_is_ignored(self) -> None:
        """An offer of compression is not taken up."""
        opening = self.serve(request("/", "Sec-WebSocket-Extensions: permessage-deflate"))
        answer = b"".join(opening.core.data_to_send())
        self.assertIn(b" 101 ", answer)
        self.assertNotIn(b"deflate", answer)

    def test_plain_http(self) -> None:
        """A browser that comes without an upgrade gets 426 and a line of text."""
        opening = self.serve(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        answer = b"".join(opening.core.data_to_send())
        self.assertTrue(answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"))
        self.assertIn(b"\r\nUpgrade: websocket\r\n", answer)
        self.assertIn(b"WebSocket", answer.split(b"\r\n\r\n")[1])
        self.assertTrue(opening.core.eof_sent)

    def test_long_head(self) -> None:
        """A request that does not end is refused at the limit, in whatever pieces it comes."""
        whole = b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD
        for size in (1000, len(whole)):
            opening = ServerOpening(ServerRules(), 1024)
            for start in range(0, len(whole), size):
                if not opening.core.eof_sent:
                    opening.receive(whole[start : start + size])
            self.assertIn(b" 431 ", status(opening))

    def test_frames_right_behind(self) -> None:
        """What follows the request is handed back, not read before the answer."""
        opening = ServerOpening(ServerRules(), 1024)
        self.assertEqual(opening.receive(request() + b"\x88\x80abcd"), b"\x88\x80abcd")
        self.assertIs(opening.core.state, OPEN)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.integers(1, 60)))
    def test_any_pieces(self, sizes: list[int]) -> None:
        """The request may come in any pieces."""
        opening = ServerOpening(ServerRules(), 1024)
        left, rest = request("/p") + b"rest", b""
        for size in [*sizes, 10_000]:
            piece, left = left[:size], left[size:]
            rest += piece if opening.core.state is OPEN else opening.receive(piece)
        self.assertEqual((opening.core.state, rest), (OPEN, b"rest"))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=100), st.sampled_from([b"", b"GET ", b"GET / HTTP/1.1\r\n", request()[:-2]]), st.binary())
    def test_garbage(self, noise: bytes, start: bytes, behind: bytes) -> None:
        """Nothing that a client sends raises."""
        opening = ServerOpening(ServerRules(), 1024)
        for data in (start + noise, b"\r\n\r\n" + behind):
            if opening.core.state is CONNECTING and not opening.core.eof_sent:
                opening.receive(data)
        self.assertTrue(opening.core.state is OPEN or opening.core.eof_sent)


class ClientOpeningTests(SynchronousTestCase):
    """The client's half."""

    def ask(self, **options: object) -> ClientOpening:
        opening = ClientOpening(ClientRequest(parse_uri(URL), **options), 1024)  # type: ignore[arg-type]
        opening.start()
        return opening

    def test_request(self) -> None:
        """The request asks for the URL's path, and names host, origin and subprotocols, but no extension."""
        sent = b"".join(self.ask(origin="https://a.example", subprotocols=("x", "y")).core.data_to_send())
        self.assertTrue(sent.startswith(b"GET /room HTTP/1.1\r\nHost: a.example\r\n"))
        self.assertIn(b"\r\nOrigin: https://a.example\r\n", sent)
        self.assertIn(b"\r\nSec-WebSocket-Protocol: x, y\r\n", sent)
        self.assertNotIn(b"Extensions", sent)

    def test_agreement(self) -> None:
        """With a server of ours, both tell the same handshake."""
        client, server = self.ask(subprotocols=("x",)), ServerOpening(ServerRules(), 1024)
        server.receive(b"".join(client.core.data_to_send()))
        client.receive(b"".join(server.core.data_to_send()))
        self.assertIs(client.core.state, OPEN)
        self.assertEqual(client.handshake(), Handshake("/room", None, "x"))
        self.assertEqual(server.handshake(), client.handshake())

    def test_refused(self) -> None:
        """A refusal has the status in its text."""
        client = self.ask()
        client.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.core.eof_sent)
        self.assertIn("403", client.refusal())

    def test_long_answer(self) -> None:
        """An answer that does not end is given up at the limit."""
        client = self.ask()
        client.receive(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_HEAD)
        self.assertTrue(client.core.eof_sent)
        self.assertIn("too long", client.refusal())

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=100), st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 101 x\r\n"]))
    def test_garbage(self, noise: bytes, start: bytes) -> None:
        """Nothing that a server sends raises, or opens anything."""
        client = self.ask()
        client.receive(start + noise)
        self.assertIs(client.core.state, CONNECTING)
