"""Tests for ``spaceswarm_proxy.proxy.listening`` and what reaches the listener."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import (
    DuplicateConnectionError,
    FirewallError,
    LimitError,
    NotSupportedError,
)
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import EventType
from tests.proxy.client_world import OURS, PEER, ClientWorld
from tests.proxy.world import TOPIC, Peers

LISTEN, UNLISTEN, ERROR = EventType.LISTEN, EventType.UNLISTEN, EventType.ON_STREAM_ERROR


class ListeningTestCase(SynchronousTestCase):
    """With a link to our own server, which the test plays."""

    def setUp(self) -> None:
        self.world = ClientWorld()
        self.network = self.world.network

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [None])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def asked(self) -> list[Any]:
        """The LISTENs and UNLISTENs on the newest link."""
        self.world.settle()
        return [frame for frame in self.world.server.frames if frame.type in (LISTEN, UNLISTEN)]

    def answer(self, **fields: Any) -> None:
        """Reply to the newest."""
        self.world.server.reply(self.asked()[-1].request, **fields)
        self.world.settle()

    def listening(self, factory: Any) -> Any:
        opening = self.network.listen(factory)
        self.answer()
        return self.successResultOf(opening)


class PortTests(ListeningTestCase):
    """Beginning and stopping."""

    def test_begins_with_the_answer(self) -> None:
        """``listen`` fires with a port when the server has answered LISTEN."""
        opening = self.network.listen(Peers())
        self.assertEqual([event.type for event in self.asked()], [LISTEN])
        self.assertNoResult(opening)
        self.answer()
        port = self.successResultOf(opening)
        verifyObject(IListeningPort, port)
        self.assertEqual(port.getHost().public_key, self.network.public_key)

    def test_waits_for_the_link(self) -> None:
        """Without a link it waits for one; each new link is asked, and nobody is told twice."""
        self.world.cut()
        opening = self.network.listen(Peers())
        self.world.pass_time(3)
        self.world.server.ready(**OURS)
        self.answer()
        self.successResultOf(opening)
        self.world.reconnect()
        self.answer()
        self.assertEqual(len(self.asked()), 1)

    def test_link_lost_meanwhile(self) -> None:
        """When the link is lost before the answer, the next one is asked."""
        opening = self.network.listen(Peers())
        self.world.reconnect()
        self.assertNoResult(opening)
        self.answer()
        self.successResultOf(opening)

    def test_refused(self) -> None:
        """A refusal is the failure, and another may try."""
        opening = self.network.listen(Peers())
        self.answer(code="not-supported", data=b"no")
        self.failureResultOf(opening, NotSupportedError)
        self.assertIsNone(self.network.listener)
        self.listening(Peers())

    def test_refused_later(self) -> None:
        """A listener that the next server refuses stays, for the one after."""
        self.listening(Peers())
        self.world.reconnect()
        self.answer(code="not-supported", data=b"no")
        self.world.reconnect()
        self.assertEqual(len(self.asked()), 1)

    def test_javascript_server(self) -> None:
        """Behind a JavaScript server it is ``NotSupportedError``, at once, or when that turns up; nothing is sent."""
        self.world.reconnect({})
        self.failureResultOf(self.network.listen(Peers()), NotSupportedError)
        self.world.cut()
        waiting = self.network.listen(Peers())
        self.world.pass_time(4)
        self.world.server.ready()
        self.world.settle()
        self.failureResultOf(waiting, NotSupportedError)
        self.assertEqual(self.asked(), [])
        self.assertFalse(self.network.status().listens)

    def test_one_at_a_time(self) -> None:
        """A second listener is refused."""
        self.listening(Peers())
        self.failureResultOf(self.network.listen(Peers()), CannotListenError)

    def test_cancelled(self) -> None:
        """Cancelled, it leaves nothing; the server is told."""
        opening = self.network.listen(Peers())
        opening.cancel()
        self.failureResultOf(opening)
        self.assertEqual([event.type for event in self.asked()], [LISTEN, UNLISTEN])
        self.listening(Peers())

    def test_stop(self) -> None:
        """A stop fires when the server knows; until then streams that it let in still come, and all stops are one."""
        factory = Peers()
        port = self.listening(factory)
        first, second = port.stopListening(), port.stopListening()
        self.world.server.open()
        self.world.settle()
        self.assertEqual(len(factory.built), 1)
        self.assertNoResult(first)
        self.answer()
        for each in (first, second, port.stopListening()):
            self.assertIsNone(self.successResultOf(each))
        self.assertEqual([event.type for event in self.asked()], [LISTEN, UNLISTEN])
        self.world.server.open(1)
        self.world.settle()
        self.assertEqual(len(factory.built), 1)

    def test_stop_without_a_link(self) -> None:
        """Without a link, and when it is lost meanwhile, the stop is done at once."""
        port = self.listening(Peers())
        stopping = port.stopListening()
        self.world.cut()
        self.assertIsNone(self.successResultOf(stopping))
        self.network.listen(Peers()).addErrback(lambda _: None)
        self.assertIsNone(self.successResultOf(self.network.listener.stopListening()))
        self.assertIsNone(self.network.listener)

    def test_stop_is_not_the_successors(self) -> None:
        """A listener that is stopped again does not stop its successor, even with the same factory."""
        factory = Peers()
        port = self.listening(factory)
        port.stopListening()
        self.answer()
        self.listening(factory)
        port.stopListening()
        self.assertIsNotNone(self.network.listener)

    def test_factory_is_started_and_stopped(self) -> None:
        """The factory is told, each time: doStart, doStop; closing the network stops it too."""
        factory = Peers()
        port = self.listening(factory)
        self.assertEqual(factory.numPorts, 1)
        port.stopListening()
        self.answer()
        self.assertEqual(factory.numPorts, 0)
        self.listening(factory)
        self.world.close()
        self.assertEqual(factory.numPorts, 0)

    def test_resume_waits_for_it(self) -> None:
        """A network that is resumed says so when the server lets peers connect again."""
        self.listening(Peers())
        self.network.suspend()
        self.world.settle()
        resumed = self.network.resume()
        self.world.settle()
        self.world.server.ready(**OURS)
        self.world.settle()
        self.assertNoResult(resumed)
        self.answer()
        self.successResultOf(resumed)


class ArrivalTests(ListeningTestCase):
    """Streams that peers open."""

    def refusals(self) -> list[tuple[int, str, bytes]]:
        return [(event.stream, event.code, event.data) for event in self.world.server.events(ERROR)]

    def test_arrives(self) -> None:
        """OPEN that nobody asked for goes to the listener, with the peer's address."""
        factory = Peers()
        self.listening(factory)
        self.world.server.open(7)
        self.world.server.data(7, b"hello")
        self.world.settle()
        address = factory.built[0].address
        self.assertEqual((address.peer, address.initiator, address.peer.topics), (PEER, False, frozenset({TOPIC})))
        self.assertEqual(factory.built[0].received, b"hello")

    def test_no_topic(self) -> None:
        """A topic of zeros, or of another length, or none, is no topic."""
        factory = Peers()
        self.listening(factory)
        for stream, topic in enumerate((bytes(32), b"short", None)):
            self.world.server.open(stream, topic=topic)
        self.world.settle()
        self.assertEqual([protocol.address.peer.topics for protocol in factory.built], [frozenset()] * 3)

    def test_nobody_listens(self) -> None:
        """Without a listener it is reset as unreachable."""
        self.world.server.open(3)
        self.world.settle()
        self.assertEqual(self.refusals(), [(3, "unreachable", b"nobody listens")])
        self.assertEqual(self.network.link.mux.streams, {})

    def test_refused_by_the_factory(self) -> None:
        """A factory that builds nothing refuses; one that raises an error of ours says why; others are logged."""
        answers = [None, DuplicateConnectionError("you again"), ZeroDivisionError("secret")]

        class Refusing(Peers):
            def buildProtocol(self, address: Any) -> Any:
                answer = answers.pop(0)
                if answer is not None:
                    raise answer

        self.listening(Refusing())
        for stream in range(3):
            self.world.server.open(stream)
        self.world.settle()
        codes = [code for _, code, _ in self.refusals()]
        self.assertEqual(codes, [FirewallError.code, "duplicate", FirewallError.code])
        self.assertEqual(self.refusals()[1][2], b"you again")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.world.told, [None])

    def test_answer_to_nothing(self) -> None:
        """OPEN for a request that we never made is no peer's: it is reset."""
        factory = Peers()
        self.listening(factory)
        self.world.server.open(0, request=99)
        self.world.settle()
        self.assertEqual(factory.built, [])
        self.assertEqual(len(self.refusals()), 1)

    def test_flood(self) -> None:
        """Streams beyond max_streams are reset with the limit's name; those before go on."""
        self.world = ClientWorld(limits=Limits(max_streams=5))
        self.network = self.world.network
        factory = Peers()
        self.listening(factory)
        for stream in range(20):
            self.world.server.open(stream)
        self.world.settle()
        self.assertEqual(len(factory.built), 5)
        self.assertEqual([event.code for event in self.world.server.events(ERROR)], [LimitError.code] * 15)
        self.assertEqual(len(self.network.link.mux.streams), 5)

    def test_over_at_once(self) -> None:
        """A stream that is opened and reset in one breath never reaches the listener; one that is closed, does."""
        factory = Peers()
        self.listening(factory)
        server = self.world.server
        server.open(0)
        server.error(0)
        server.open(1)
        server.data(1, b"brief")
        server.close(1)
        self.world.settle()
        self.assertEqual([protocol.received for protocol in factory.built], [b"brief"])
        self.assertTrue(factory.built[0].read_ended)
        self.assertIsNotNone(factory.built[0].reason)

    def test_close_from_build_protocol(self) -> None:
        """A factory may close the network that it is called by."""
        network = self.network

        class Closing(Peers):
            def buildProtocol(self, address: Any) -> Any:
                network.close()
                return super().buildProtocol(address)

        factory = Closing()
        self.listening(factory)
        self.world.server.open(0)
        self.world.settle()
        self.assertIsNotNone(factory.built[0].reason)
