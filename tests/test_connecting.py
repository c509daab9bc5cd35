"""Tests for ``spaceswarm_proxy.connecting``."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy.connecting import Connecting, Outgoing, is_possible, problem, start
from tests.network.support import Collector, unanswering


class PossibleTests(SynchronousTestCase):
    """Where it can be done."""

    def test_addresses_only(self) -> None:
        """IP addresses need no resolver, names do; a reactor without file descriptors can't."""
        for host, possible in (("127.0.0.1", True), ("::1", True), ("fe80::1%lo", False), ("localhost", False)):
            self.assertEqual(is_possible(reactor, host), possible, host)
        self.assertFalse(is_possible(Clock(), "127.0.0.1"))

    def test_problem(self) -> None:
        """An error number becomes Twisted's exception for it."""
        self.assertIsInstance(problem(errno.ECONNREFUSED), ConnectionRefusedError)


class AttemptTests(TestCase):
    """With real sockets."""

    timeout = 30

    def attempt(self, skt: socket.socket, timeout: float | None) -> tuple[Connecting, Deferred[Any]]:
        result: Deferred[Any] = Deferred()
        return Connecting(reactor, skt, timeout, result.callback, result.callback), result

    async def test_loopback_is_there_at_once(self) -> None:
        """On the loopback, the connection is there when the attempt has begun; its transport knows both ends."""
        port = reactor.listenTCP(0, Collector(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        skt, code = start("127.0.0.1", port.getHost().port)
        self.assertEqual(code, 0)
        lost: list[None] = []
        transport = Outgoing(skt, reactor, lambda: lost.append(None))
        self.assertEqual(transport.getPeer().port, port.getHost().port)
        self.assertEqual(transport.getHost().host, "127.0.0.1")
        transport.connectionLost(Failure(ConnectionRefusedError()))
        self.assertEqual(lost, [None])

    async def test_nobody_answers(self) -> None:
        """Without an answer it fails when the time is up, and the socket is closed."""
        skt, code = start(*unanswering(self))
        self.assertEqual(code, errno.EINPROGRESS)
        _, result = self.attempt(skt, 0.01)
        with self.assertRaises(TimeoutError):
            await result
        self.assertEqual(skt.fileno(), -1)

    async def test_cancelled(self) -> None:
        """A cancelled attempt closes its socket, leaves no timer, and tells nobody."""
        skt, _ = start(*unanswering(self))
        connecting, result = self.attempt(skt, 60)
        connecting.cancel()
        self.assertEqual(skt.fileno(), -1)
        self.assertNoResult(result)

    async def test_comes_about_later(self) -> None:
        """A socket that becomes connected is handed over."""
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        self.addCleanup(near.close)
        _, result = self.attempt(near, None)
        self.assertIs(await result, near)

    async def test_refused_later(self) -> None:
        """A refusal that comes while it is waited for is the kernel's error."""
        closed = socket.create_server(("127.0.0.1", 0))
        address = closed.getsockname()
        closed.close()
        skt = socket.socket()
        skt.setblocking(False)
        skt.connect_ex(address)
        _, result = self.attempt(skt, 60)
        with self.assertRaises(ConnectionRefusedError):
            await result
