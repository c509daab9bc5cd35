"""
How to test a program of yours that uses the swarm: no sockets, no waiting, a minute in no time.

The hub is the network, a ``Clock`` is the time, and nothing happens but when the test lets some pass::

    trial examples/test_of_yours.py
"""

from __future__ import annotations

from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import AccumulatingProtocol
from twisted.protocols.policies import TimeoutMixin
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy import LocalHub, Swarm, TopicClientEndpoint, topic

ROOM = topic("my room")


class Host(Protocol, TimeoutMixin):
    """What is tested: greets, and shows out whoever says nothing for a minute."""

    def connectionMade(self):
        self.callLater = self.factory.reactor.callLater
        self.setTimeout(60)
        self.transport.write(b"Welcome!")

    def dataReceived(self, data):
        self.resetTimeout()

    def connectionLost(self, reason):
        self.setTimeout(None)


class HostTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.hub = LocalHub(self.clock)
        factory = Factory.forProtocol(Host)
        factory.reactor = self.clock
        self.swarm = Swarm(self.hub.network(), factory, reactor=self.clock)
        self.swarm.join(ROOM, client=False)
        endpoint = TopicClientEndpoint(self.hub.network(), ROOM, reactor=self.clock)
        connecting = connectProtocol(endpoint, AccumulatingProtocol())
        self.pass_time(0)
        self.visitor = self.successResultOf(connecting)

    def tearDown(self):
        """Nothing is left over: no connection, and nothing that would still happen."""
        closing = [self.swarm.close(), self.hub.close()]
        self.pass_time(0)
        for closed in closing:
            self.successResultOf(closed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def pass_time(self, seconds):
        """Let time pass, and then whatever follows from that happen, one thing after the other."""
        self.clock.pump([seconds, *[0] * 20])

    def test_greeting(self):
        """A visitor is greeted at once."""
        self.assertEqual(b"Welcome!", self.visitor.data)

    def test_silence(self):
        """Who says nothing may stay for a minute, and no longer."""
        self.pass_time(59)
        self.assertFalse(self.visitor.closed)
        self.pass_time(1)
        self.assertTrue(self.visitor.closed)

    def test_speech(self):
        """Who says something may stay for another minute."""
        self.pass_time(59)
        self.visitor.transport.write(b"Thank you.")
        self.pass_time(59)
        self.assertFalse(self.visitor.closed)
