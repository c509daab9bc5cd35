"""Networks on nodes with real sockets, and a virtual clock."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from spaceswarm_proxy.interfaces import HostPort, Peer
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.rounds import RoundTimes
from spaceswarm_proxy.testing import TestNet
from spaceswarm_proxy.topics import topic
from tests.dht.stepping import LOOPBACK, SteppedTestCase
from tests.network.support import Collector, Recorder

ROOM = topic("room")
#: Without chance, so that tests can be exact.
TIMES = RoundTimes(interval=600.0, spread=0.0, retry=30.0, pause=2.0, settle=60.0)
#: For nodes that are asked a lot, all from this host.
PLENTY = {"max_requests_of_host": 100_000}

Value = TypeVar("Value")


class DHTNetworkTestCase(SteppedTestCase):
    """Networks that are closed at the end, when nothing may be left of them."""

    def setUp(self) -> None:
        super().setUp()
        self.networks: list[DHTNetwork] = []

    def tearDown(self) -> None:
        for network in self.networks:
            self.wait(network.close())
        for net in self.opened:
            self.wait(maybeDeferred(net.close))
        self.assert_nothing_left()

    def wait(self, waiting: Deferred[Value], seconds: float = 20.0) -> Value:
        """What a Deferred comes to, within so much time."""
        self.until(waiting, seconds)
        return self.successResultOf(waiting)

    def fails(self, waiting: Deferred[Any], *errors: type[Exception], seconds: float = 60.0) -> Failure:
        """How a Deferred fails, within so much time."""
        self.until(waiting, seconds)
        return self.failureResultOf(waiting, *errors)

    def until(self, waiting: Deferred[Any], seconds: float) -> None:
        """Let time pass, until it has a result."""
        done: list[object] = []

        def fired(result: Any) -> Any:
            done.append(result)
            return result

        waiting.addBoth(fired)
        end = self.reactor.rightNow + seconds
        while not done and self.reactor.rightNow < end:
            self.reactor.elapse(0.01)

    def world(self) -> TestNet:
        """A small network that is ready."""
        return self.net(3, **PLENTY)

    def begin(self, where: TestNet | None, **options: Any) -> Deferred[DHTNetwork]:
        """Start a network on a node of its own."""
        settings = {
            "bootstrap": [] if where is None else where.bootstrap, "host": LOOPBACK, "port": 0, "ephemeral": True
        }  # fmt: skip
        return DHTNetwork.start(self.reactor, times=TIMES, **{**settings, **options})

    def network(self, where: TestNet | None = None, **options: Any) -> DHTNetwork:
        """The same, as soon as it has looked for the others."""
        network = self.wait(self.begin(where, **options))
        self.networks.append(network)
        return network

    def pair(self) -> tuple[DHTNetwork, DHTNetwork]:
        """Two in one network."""
        world = self.world()
        return self.network(world), self.network(world)

    def records(self, network: DHTNetwork) -> list[Peer]:
        """What nodes tell of a network under the topic: one for each node, as another one hears it."""
        told: list[Peer] = []

        async def look() -> None:
            async for reply in self.networks[-1].node.lookup(ROOM):
                told.extend(peer for peer in reply.value.peers if peer.public_key == network.public_key)

        self.wait(Deferred.fromCoroutine(look()))
        return told

    def relays(self, network: DHTNetwork) -> set[tuple[HostPort, ...]]:
        """The relays in these records."""
        return {peer.relay_addresses for peer in self.records(network)}

    def connected(self, one: DHTNetwork, other: DHTNetwork) -> tuple[Recorder, Recorder]:
        """The two ends of a stream, the near one first."""
        listening = Collector()
        self.wait(other.listen(listening))
        near = self.wait(one.connect(other.peer, Collector()))
        self.reactor.elapse(0.1)
        return near, listening.built[0]  # type: ignore[return-value]
