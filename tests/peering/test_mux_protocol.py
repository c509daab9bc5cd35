"""Channels over a connection: :mod:`spaceswarm_proxy.peering.mux_protocol`."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamTimeoutError
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.protomux import MAX_WAITING
from spaceswarm_proxy.peering.protomux_wire import Message
from tests.peering.muxes import Owner, opening
from tests.peering.relay_rig import Carrier


class MuxProtocolTests(SynchronousTestCase):
    """A mux and its connection."""

    def setUp(self) -> None:
        self.told: list[object] = []
        self.carrier = Carrier()
        self.protocol = MuxProtocol(lambda: 1.0, lambda: self.told.append("fed"), self.told.append)
        self.mux = self.protocol.mux

    def connect(self) -> None:
        self.protocol.makeConnection(self.carrier)  # type: ignore[arg-type]

    def test_early(self) -> None:
        """What is said before there is a connection goes out first."""
        self.mux.open("p", b"", Owner(), 0.0)
        self.connect()
        self.assertEqual([opening(1)], self.carrier.records)

    def test_both_ways(self) -> None:
        """What is said goes out as a record; what comes is fed, and whoever wants to know is told."""
        self.connect()
        owner = Owner()
        channel = self.mux.open("p", b"", owner, 0.0)
        channel.send(3, b"hello")
        self.protocol.dataReceived(opening(1))
        self.protocol.dataReceived(Message(1, 4, b"hi").encode())
        self.assertEqual([("opened", b""), (4, b"hi")], owner.told)
        self.assertEqual(Message(1, 3, b"hello").encode(), self.carrier.records[-1])
        self.assertEqual(["fed", "fed"], self.told)

    def test_offers(self) -> None:
        """While too much waits for somebody to decide, nothing is read."""
        self.connect()
        offers = []
        self.mux.register("p", lambda offer, now: offers.append(offer))
        self.protocol.dataReceived(opening(1))
        self.protocol.dataReceived(Message(1, 0, bytes(MAX_WAITING)).encode())
        self.assertFalse(self.carrier.reading)
        offers[0].reject(1.0)
        self.assertTrue(self.carrier.reading)

    def test_full(self) -> None:
        """While the connection takes no more, nothing is read either."""
        self.connect()
        self.assertIs(self.protocol, self.carrier.producer)
        self.protocol.pauseProducing()
        self.assertFalse(self.carrier.reading)
        self.protocol.dataReceived(opening(1))
        self.assertFalse(self.carrier.reading)
        self.protocol.resumeProducing()
        self.assertTrue(self.carrier.reading)

    def test_violation(self) -> None:
        """Whoever does what may not be done loses the connection, for that reason."""
        self.connect()
        owner = Owner()
        self.mux.open("p", b"", owner, 0.0)
        self.protocol.dataReceived(opening(5))
        self.assertIs(self.mux.violation, self.carrier.problem)
        self.assertEqual([("closed", self.mux.violation)], owner.told)
        self.assertEqual([], self.told)

    def test_lost(self) -> None:
        """When the connection is lost, channels are told before anybody else."""
        problem = StreamTimeoutError()
        for reason, told in ((problem, problem), (ConnectionDone(), None)):
            self.setUp()
            self.connect()
            owner = Owner()
            self.mux.open("p", b"", owner, 0.0)
            failure = Failure(reason)
            self.protocol.connectionLost(failure)
            self.assertEqual(([("closed", told)], [failure]), (owner.told, self.told))
