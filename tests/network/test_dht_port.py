"""The listener of a network on the real network: :mod:`spaceswarm_proxy.network.dht_port`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import ClosedError, SpaceswarmError
from spaceswarm_proxy.network.dht import DHTNetwork
from tests.network.dht_world import DHTNetworkTestCase
from tests.network.support import Collector


class CountingFactory(Collector):
    """Knows how often it was started."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def doStart(self) -> None:
        self.told.append("start")

    def doStop(self) -> None:
        self.told.append("stop")


class PortTests(DHTNetworkTestCase):
    """Who can connect, and when."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.two = self.pair()
        self.factory = CountingFactory()

    def can_connect(self, network: DHTNetwork | None = None) -> bool:
        attempt = self.one.connect((network or self.two).peer, Collector())
        self.until(attempt.addBoth(lambda result: not isinstance(result, Failure)), 60)
        return bool(self.successResultOf(attempt))

    def listen(self, network: DHTNetwork | None = None) -> Any:
        return self.wait((network or self.two).listen(self.factory))

    def test_factory(self) -> None:
        """The factory is started and stopped once, however often the network rests."""
        port = self.listen()
        for _ in range(2):
            self.wait(self.two.suspend())
            self.wait(self.two.resume())
        self.assertTrue(self.can_connect())
        self.assertEqual(["start"], self.factory.told)
        self.wait(port.stopListening())
        self.assertEqual(["start", "stop"], self.factory.told)

    def test_begin_again(self) -> None:
        """After it was stopped it can begin again; not while something else listens, itself included."""
        port = self.listen()
        self.assertRaises(CannotListenError, port.startListening)
        self.wait(port.stopListening())
        other = self.listen()
        self.assertRaises(CannotListenError, port.startListening)
        self.wait(other.stopListening())
        self.assertFalse(self.can_connect())
        port.startListening()
        self.reactor.elapse(5)
        self.assertTrue(self.can_connect())

    def test_begin_again_at_once(self) -> None:
        """The next may begin before the last is gone, and is not taken back with it."""
        for _ in range(3):
            port = self.listen()
            stopped = port.stopListening()
            listening = self.two.listen(self.factory)
            self.wait(stopped)
            self.wait(self.wait(listening).stopListening())  # type: ignore[arg-type]
        self.listen()
        self.reactor.elapse(10)
        self.assertTrue(self.can_connect())

    def test_stopped_twice(self) -> None:
        """Whoever stops it while it is being stopped waits as well."""
        port = self.listen()
        both = [port.stopListening() for _ in range(2)]
        for stopped in both:
            self.assertNoResult(stopped)
        for stopped in both:
            self.wait(stopped)
        self.assertEqual(["start", "stop"], self.factory.told)
        self.successResultOf(port.stopListening())

    def test_cancelled(self) -> None:
        """When listening is cancelled, nobody gets in, and the next may begin."""
        listening = self.two.listen(self.factory)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertEqual(["start", "stop"], self.factory.told)
        self.listen()
        self.assertTrue(self.can_connect())

    def test_stopped_before_it_was_open(self) -> None:
        """Who stops it before it is open has it fail."""
        listening = self.two.listen(self.factory)
        assert self.two.listener is not None
        self.wait(self.two.listener.stopListening())
        self.failureResultOf(listening, ClosedError)
        self.assertFalse(self.can_connect())

    def test_key_in_use(self) -> None:
        """Two of one node can't listen under the same key; when the first has stopped, the other can."""
        port = self.listen()
        same = DHTNetwork(self.two.node, self.two.key_pair)
        self.networks.insert(0, same)
        self.fails(same.listen(self.factory), CannotListenError)
        self.wait(port.stopListening())
        self.listen(same)
        self.assertTrue(self.can_connect(same))

    def test_key_taken_meanwhile(self) -> None:
        """When another has taken the key while it was suspended, it listens no more, and the next may begin."""
        child = self.two.with_identity()
        self.listen(child)
        self.wait(child.suspend())
        same = DHTNetwork(self.two.node, child.key_pair)
        self.networks.insert(0, same)
        port = self.wait(same.listen(Collector()))
        self.wait(child.resume())
        self.assertEqual((None, ["start", "stop"]), (child.listener, self.factory.told))
        self.wait(port.stopListening())  # type: ignore[arg-type]
        self.listen(child)

    def test_suspended_while_it_opens(self) -> None:
        """It may be suspended before it is open: it opens when it is resumed."""
        listening = self.two.listen(self.factory)
        self.wait(self.two.suspend())
        self.reactor.elapse(10)
        self.assertNoResult(listening)
        self.wait(self.two.resume())
        self.wait(listening)
        self.assertTrue(self.can_connect())

    def test_stopped_while_suspended(self) -> None:
        """What is stopped while the network is suspended does not come back with it."""
        port = self.listen()
        self.wait(self.two.suspend())
        self.wait(port.stopListening())
        self.wait(self.two.resume())
        self.assertFalse(self.can_connect())

    def test_refused_while_it_stops(self) -> None:
        """A client that is heard after it was stopped is refused."""
        port = self.listen()
        port.stopListening()
        self.assertIsNone(port.build(self.one.peer))
        self.assertEqual([], self.factory.built)

    def test_unexpected(self) -> None:
        """What should not go wrong on the node is logged, and told as what it is."""

        def fail(*_: Any, **__: Any) -> Deferred[Any]:
            raise ZeroDivisionError

        self.patch(self.two.node, "listen", fail)
        self.fails(self.two.listen(self.factory), CannotListenError)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_nobody_answers(self) -> None:
        """When nobody takes note that it stops, that takes no longer than others may need."""
        port = self.listen()
        for node in self.opened[0].nodes:
            self.wait(node.suspend())
        self.wait(port.stopListening(), seconds=3.1)
        self.fails(self.one.connect(self.two.peer, Collector()), SpaceswarmError, seconds=120)
