"""
Real sockets on a virtual clock: nodes in a test that takes no time.

::

    class MyTests(SteppedTestCase):
        def test_it(self) -> None:
            net = self.net(3)                           # up and running
            node = self.node(bootstrap=net.bootstrap)   # closed at the end, when nothing may be left of it
            self.reactor.settle()                       # all datagrams have arrived, and so have the answers to them
            self.reactor.elapse(10)                     # seconds
"""

from __future__ import annotations

import select
import socket
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.testing import TestNet

LOOPBACK = "127.0.0.1"
#: Milliseconds after which a datagram on the loopback interface has arrived; mostly it has when it was sent.
_PATIENCE = 1

Value = TypeVar("Value")


class SteppedReactor(MemoryReactorClock):
    """Watches real sockets; time passes when it is told to."""

    readers: set[IReadDescriptor]

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1000.0

    def settle(self) -> None:
        """Datagrams arrive and are answered until none is left; no time passes."""
        while True:
            waiting = select.poll()
            by_number = {reader.fileno(): reader for reader in self.readers}
            for number in by_number:
                waiting.register(number, select.POLLIN)
            ready = waiting.poll(_PATIENCE)
            if not ready:
                return
            for number, _ in ready:
                if by_number[number] in self.readers:
                    by_number[number].doRead()

    def elapse(self, seconds: float) -> None:
        """Time passes, and all that is due in it happens in its turn."""
        end = self.rightNow + seconds
        self.settle()
        while (calls := self.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= end:
            self.rightNow = max(self.rightNow, due)
            self.advance(0)
            self.settle()
        self.rightNow = end


class SteppedTestCase(SynchronousTestCase):
    """With such a reactor, in which nothing is left at the end."""

    def setUp(self) -> None:
        self.reactor = SteppedReactor()
        #: What is closed at the end.
        self.opened: list[Any] = []

    def tearDown(self) -> None:
        for each in self.opened:
            self.successResultOf(maybeDeferred(each.close))
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """Neither a socket nor a timer is in the reactor."""
        self.assertEqual((set(), []), (self.reactor.readers, self.reactor.getDelayedCalls()))

    def net(self, nodes: int = 3, **options: Any) -> TestNet:
        """A network that is ready."""
        net = TestNet(self.reactor, nodes, **options)
        self.opened.append(net)
        ready = net.ready()
        self.reactor.settle()
        self.successResultOf(ready)
        return net

    def node(self, **options: Any) -> DHTNode:
        """A node on the loopback interface, that begins nowhere unless told otherwise."""
        node = DHTNode(self.reactor, **{"host": LOOPBACK, "port": 0, "bootstrap": (), **options})
        self.opened.append(node)
        return node

    def result(self, waiting: Deferred[Value]) -> Value:
        """What a Deferred comes to, without time passing."""
        self.reactor.settle()
        return self.successResultOf(waiting)

    def silent(self) -> socket.socket:
        """A socket that takes everything and answers nothing."""
        bound = plain_socket()
        self.opened.append(bound)
        return bound


def plain_socket() -> socket.socket:
    """:returns: a UDP socket, bound to any port of the loopback interface, that waits for nothing."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind((LOOPBACK, 0))
    return bound


def arrived(bound: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """:returns: what has come to a plain socket, and from where."""
    found = []
    waiting = select.poll()
    waiting.register(bound.fileno(), select.POLLIN)
    while waiting.poll(_PATIENCE):
        found.append(bound.recvfrom(1 << 16))
    return found
