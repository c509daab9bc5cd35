"""Appointments at blind relays: :mod:`spaceswarm_proxy.peering.relays`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import (
    ClosedError,
    PeerNotFoundError,
    RelayAbortedError,
    RelayLostError,
    StreamTimeoutError,
)
from spaceswarm_proxy.peering.protomux_wire import Message
from spaceswarm_proxy.peering.relay_client import PAIRING_TIMEOUT
from spaceswarm_proxy.peering.relay_link import LINGER, MAX_MEETINGS
from spaceswarm_proxy.peering.relays import MAX_FOREIGN_LINKS
from tests.peering.relay_rig import ADDRESS, RELAY_KEY, SOCKET, Rig

ELSEWHERE = address_of("66.1.2.3", 6666)


class RelaysTestCase(SynchronousTestCase):
    """A node and a relay."""

    def setUp(self) -> None:
        self.rig = Rig()

    def assertAborted(self, problem: object) -> None:
        self.assertIsInstance(problem, RelayAbortedError)


class MeetingTests(RelaysTestCase):
    """Two who come, or one."""

    def test_met(self) -> None:
        """Who meets is told the way to the relay, and the number of the stream there."""
        one, other = self.rig.couple()
        [waiting, coming] = self.rig.server._streams.made  # type: ignore[attr-defined]
        self.assertEqual({waiting.id, coming.id}, {one.told[0][1], other.told[0][1]})
        for each in (one, other):
            [(socket, _, address)] = each.told
            self.assertEqual((SOCKET, ADDRESS), (socket, address))
            self.assertTrue(each.meeting.is_relay(SOCKET, ADDRESS))
            self.assertFalse(each.meeting.is_relay(SOCKET, ELSEWHERE))
            self.assertFalse(each.meeting.is_relay(SOCKET + 1, ADDRESS))

    def test_nobody_comes(self) -> None:
        """After fifteen seconds it is given up, and the relay is left."""
        alone = self.rig.meet()
        call = self.rig.connect()
        self.rig.run(PAIRING_TIMEOUT - 0.1)
        self.assertEqual([], alone.told)
        self.rig.run(0.2)
        self.assertAborted(alone.problem)
        self.assertEqual("RELAY_ABORTED", alone.problem.reference_code)
        self.assertTrue(call.carrier.ending)
        self.assertEqual((0, []), (self.rig.server.waiting, self.rig.relays.links))

    def test_relay_is_slow(self) -> None:
        """The time for connecting to the relay counts, too."""
        alone = self.rig.meet()
        self.rig.run(PAIRING_TIMEOUT + 0.1)
        self.assertAborted(alone.problem)
        self.assertEqual([], self.rig.relays.links)
        self.assertTrue(self.rig.calls[0].is_cancelled)

    def test_cancelled(self) -> None:
        """Who cancels is told nothing; the relay forgets him."""
        alone = self.rig.meet()
        call = self.rig.connect()
        self.assertEqual(1, self.rig.server.waiting)
        alone.meeting.cancel(self.rig.time)
        self.rig.settle()
        self.assertEqual(([], 0, True), (alone.told, self.rig.server.waiting, call.carrier.ending))
        self.rig.run(100)
        self.assertEqual([], alone.told)

    def test_cancelled_in_time(self) -> None:
        """Who cancels when the other one is there, and he was not told so yet, is not told so."""
        one, _ = self.rig.couple()
        late = self.rig.meet(2)
        late.meeting.meet(5, self.rig.time)
        again = self.rig.meet(3)
        again.meeting.cancel(self.rig.time)
        again.meeting.meet(5, self.rig.time)
        self.assertEqual(1, len(one.told))
        self.assertEqual([], again.told)


class LinkTests(RelaysTestCase):
    """The connection with a relay."""

    def test_shared(self) -> None:
        """All appointments at one relay share a connection; at another one they have another."""
        for number in range(3):
            self.rig.meet(number)
        self.rig.meet(4, relay=bytes(32))
        self.rig.settle()
        self.assertEqual([RELAY_KEY, bytes(32)], [call.key for call in self.rig.calls])

    def test_ends_with_the_last(self) -> None:
        """It ends when nobody needs it any more, and the next one makes another."""
        one, other = self.rig.meet(1), self.rig.meet(2)
        call = self.rig.connect()
        one.meeting.cancel(self.rig.time)
        self.assertFalse(call.carrier.ending)
        other.meeting.cancel(self.rig.time)
        self.assertTrue(call.carrier.ending)
        self.rig.meet(3)
        self.rig.settle()
        self.assertEqual(2, len(self.rig.calls))
        call.lose(ClosedError())
        self.assertEqual(1, len(self.rig.relays.links))

    def test_never_needed(self) -> None:
        """It is not made where it is needed no more when it would be; it is given up while it is being made."""
        self.rig.meet().meeting.cancel(self.rig.time)
        self.rig.settle()
        self.assertEqual([], self.rig.calls)
        alone = self.rig.meet()
        self.rig.settle()
        alone.meeting.cancel(self.rig.time)
        self.assertTrue(self.rig.calls[0].is_cancelled)
        self.rig.settle()
        self.assertEqual([], alone.told)

    def test_full(self) -> None:
        """A relay takes so many appointments of one connection: for more there is another one."""
        for number in range(MAX_MEETINGS + 1):
            self.rig.meet(number)
        self.rig.settle()
        self.assertEqual(2, len(self.rig.calls))

    def test_both_are_us(self) -> None:
        """When both peers are this node, they come separately, as a place at the relay is its connection's."""
        one, other = self.rig.couple()
        self.assertEqual(2, len(self.rig.calls))
        self.assertEqual((1, 1), (len(one.told), len(other.told)))

    def test_no_relay_there(self) -> None:
        """Where the relay cannot be reached, nobody is met."""
        alone = self.rig.meet()
        self.rig.settle()
        self.rig.calls[0].fail(PeerNotFoundError())
        self.rig.settle()
        self.assertAborted(alone.problem)
        self.assertEqual([], self.rig.relays.links)

    def test_no_dialling(self) -> None:
        """Nor where it is not even tried: the node is closed, or the key is none."""
        for problem in (ClosedError(), ValueError("no key")):
            self.rig.dial_problem = problem
            alone = self.rig.meet()
            self.rig.settle()
            self.assertAborted(alone.problem)
        self.assertEqual([], self.rig.relays.links)

    def test_no_relay_at_all(self) -> None:
        """A server that speaks no such protocol is none."""
        alone = self.rig.meet()
        self.rig.settle()
        [call] = self.rig.calls
        call.succeed(serves=False)
        self.rig.settle()
        self.assertAborted(alone.problem)
        self.assertEqual((True, []), (call.carrier.ending, self.rig.relays.links))

    def test_bad_relay(self) -> None:
        """One that speaks it badly loses the connection, and those who wait there are told."""
        alone = self.rig.meet()
        call = self.rig.connect()
        call.protocol.dataReceived(Message(1, 0, b"").encode())
        self.rig.settle()
        self.assertAborted(alone.problem)
        self.assertIsNotNone(call.carrier.problem)

    def test_strangers(self) -> None:
        """Others make us connect to so many relays at a time; our own are not counted."""
        theirs = [self.rig.meet(relay=bytes([number]) * 32, initiator=False) for number in range(MAX_FOREIGN_LINKS + 1)]
        self.rig.settle()
        self.assertEqual(MAX_FOREIGN_LINKS, len(self.rig.calls))
        self.assertAborted(theirs[-1].problem)
        self.rig.meet(relay=bytes([200]) * 32)
        self.rig.settle()
        self.assertEqual(MAX_FOREIGN_LINKS + 1, len(self.rig.calls))
        theirs[0].meeting.cancel(self.rig.time)
        self.rig.meet(relay=bytes([201]) * 32, initiator=False)
        self.rig.settle()
        self.assertEqual(MAX_FOREIGN_LINKS + 2, len(self.rig.calls))


class LossTests(RelaysTestCase):
    """A relay that goes away."""

    def test_waiting(self) -> None:
        """Who waits there is told."""
        alone = self.rig.meet()
        self.rig.connect().lose(StreamTimeoutError())
        self.rig.settle()
        self.assertAborted(alone.problem)

    def test_relayed(self) -> None:
        """A stream that goes through it is at its end, for that reason."""
        one, _ = self.rig.couple()
        self.rig.calls[0].lose(StreamTimeoutError())
        self.rig.settle()
        self.assertIsInstance(one.raw.problem, RelayLostError)
        self.assertEqual("ended", one.told[-1])

    def test_closes_the_channel(self) -> None:
        """So it is when it serves us no more, and says so."""
        one, _ = self.rig.couple()
        [call, _] = self.rig.calls
        call.session.close(self.rig.time)
        self.rig.settle()
        self.assertIsInstance(one.raw.problem, RelayLostError)
        self.assertTrue(call.carrier.ending)

    def test_between(self) -> None:
        """Who was just about to be told that the other one is there, is told that the relay is not."""
        alone = self.rig.meet()
        call = self.rig.connect()
        alone.meeting.host.leave(alone.meeting, self.rig.time)  # type: ignore[union-attr]
        alone.meeting.meet(5, self.rig.time)
        self.assertAborted(alone.problem)
        self.assertTrue(call.carrier.ending)

    def test_moving(self) -> None:
        """A stream that goes another way by now stays."""
        one, _ = self.rig.couple()
        one.meeting.upgraded(self.rig.time)
        self.rig.calls[0].lose(StreamTimeoutError())
        self.rig.settle()
        self.assertIsNone(one.raw.problem)


class MovingTests(RelaysTestCase):
    """From the relay to a direct way."""

    def test_moved(self) -> None:
        """When all has arrived there is a message on the direct way; when something comes there, the relay is left."""
        one, _ = self.rig.couple()
        [call, _] = self.rig.calls
        one.meeting.upgraded(self.rig.time)
        self.assertEqual([], one.raw.messages)
        one.raw.watcher.path_moved()
        self.assertEqual(([b""], True), (one.raw.messages, one.raw.watched))
        one.raw.watcher.path_heard(SOCKET, ADDRESS)
        self.rig.settle()
        self.assertEqual((True, False), (one.raw.watched, call.carrier.ending))
        one.raw.watcher.path_heard(SOCKET, ELSEWHERE)
        self.rig.settle()
        self.assertEqual((False, True), (one.raw.watched, call.carrier.ending))
        self.assertEqual(0, self.rig.server.couples)

    def test_over(self) -> None:
        """When the stream is over whoever looked for a way is told; its last word can be repeated for a while."""
        one, _ = self.rig.couple()
        one.raw.watcher.stream_over()
        self.rig.settle()
        self.assertEqual("ended", one.told[-1])
        self.rig.run(LINGER - 0.1)
        self.assertEqual(1, self.rig.server.couples)
        self.rig.run(0.2)
        self.assertEqual(0, self.rig.server.couples)
        self.assertTrue(self.rig.calls[0].carrier.ending)
