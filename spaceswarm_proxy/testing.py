"""
What the users of this package need for their own tests.

::

    async def test_it(self):
        net = TestNet(reactor, 10)
        self.addCleanup(net.close)
        await net.ready()
        node = net.node()       # or anything else that begins at net.bootstrap
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.python.failure import Failure

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode

_LOOPBACK = "127.0.0.1"


class TestNet:
    """A network of its own on this machine's loopback interface: persistent nodes in one process, for tests."""

    # Neither trial nor pytest shall take it for a test case.
    __test__ = False

    def __init__(
        self, reactor: Any = None, nodes: int = 10, *, profile: Profile | str = "spaceswarm", **options: Any
    ) -> None:
        """
        Bind the first node, and begin to start the others.

        :param nodes: how many, at least 1.
        :param options: for each of them, as for :class:`~spaceswarm_proxy.peering.node.DHTNode`.
        """
        if nodes < 1:
            raise ValueError("a network has at least one node")
        self.profile = profile
        #: The persistent nodes; the first is where others begin.
        self.nodes: list[DHTNode] = []
        self._reactor = or_global(reactor)
        self._others: list[DHTNode] = []
        self._closed = False
        self._options = {"profile": profile, "host": _LOOPBACK, **options}
        first = DHTNode.bootstrapper(self._reactor, _LOOPBACK, 0, **self._options)
        self.nodes.append(first)
        self._waiting: Waiters[None] = Waiters()
        self._started = False
        self._problem: Failure | None = None
        Deferred.fromCoroutine(self._start(nodes - 1)).addBoth(self._start_ended)

    @property
    def bootstrap(self) -> list[HostPort]:
        """Where a node of this network begins."""
        return [self.nodes[0].address]

    def ready(self) -> Deferred[None]:
        """
        :returns: a Deferred, one for each caller, that fires when all nodes are there and know each other; it fails
            when a node can't be started, and with ``ClosedError``.
        """
        if self._closed:
            return fail(ClosedError("the network is closed"))
        if not self._started:
            return self._waiting.wait()
        return succeed(None) if self._problem is None else fail(self._problem)

    async def _start(self, count: int) -> None:
        await self.nodes[0].ready()
        # One after the other, so that each finds those before it; the first rounds trip in a moment.
        for _ in range(count):
            settings = {"bootstrap": self.bootstrap, "port": 0, "ephemeral": False, "firewalled": False}
            node = DHTNode(self._reactor, **{**settings, **self._options})
            self.nodes.append(node)
            await node.ready()

    def _start_ended(self, result: Any) -> None:
        self._started = True
        if isinstance(result, Failure):
            self._problem = result
            self._waiting.fail(result)
        else:
            self._waiting.fire(None)

    def node(self, **options: Any) -> DHTNode:
        """
        One more node, ephemeral unless told otherwise, that is closed with the network.

        :param options: as for :class:`~spaceswarm_proxy.peering.node.DHTNode`.
        :raises ClosedError: the network is closed.
        """
        if self._closed:
            raise ClosedError("the network is closed")
        settings = {
            "profile": self.profile, "bootstrap": self.bootstrap, "host": _LOOPBACK, "port": 0, "ephemeral": True
        }  # fmt: skip
        node = DHTNode(self._reactor, **{**settings, **options})
        self._others.append(node)
        return node

    def close(self) -> Deferred[None]:
        """:returns: a Deferred that fires when nothing of it is left; a second call likewise."""
        self._closed = True
        # Those that stand on the network first: their servers take leave of it.
        closing = gatherResults([node.close() for node in self._others])
        return closing.addCallback(lambda _: gatherResults([node.close() for node in self.nodes])).addCallback(_nothing)


def _nothing(_: object) -> None:
    """All are closed."""
