"""A stream while a way for it is looked for: :mod:`spaceswarm_proxy.peering.passage`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import RelayAbortedError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.noise_payload import NoisePayload, RelayThrough, UDXInfo
from spaceswarm_proxy.peering.passage import Passage
from spaceswarm_proxy.peering.routes import Route
from tests.peering.world import FakeAppointment, PeeringWorld

KEYS = SessionKeys(b"s" * 32, b"r" * 32, b"h" * 64, b"k" * 32)
ONE, OTHER = address_of("10.0.7.1", 1), address_of("10.0.7.2", 2)
NO_PORT = address_of("10.0.7.1", 0)
PLACE = RelayThrough(b"p" * 32, b"t" * 32)


class PassageTestCase(SynchronousTestCase):
    """A passage, and whoever is told."""

    def setUp(self) -> None:
        self.host = PeeringWorld().peer()
        self.now = self.host.world.now
        self.told: list[Any] = []
        self.passage = self.make()

    def make(self, reusable: bool = False) -> Passage:
        return Passage(self.host.peering.room, self, True, reusable)

    def connected(self, connection: Connection, now: float) -> None:
        self.told.append(connection)

    def arrived(self, now: float) -> None:
        self.told.append("arrived")

    def not_met(self, problem: Any, now: float) -> None:
        self.told.append(problem)

    def ended(self, now: float) -> None:
        self.told.append("ended")

    def agree(self, reusable: bool = False) -> None:
        self.passage.agree(KEYS, NoisePayload(udx=UDXInfo(77, reusable)))

    def packet(self, source: bytes, socket: int = 1) -> bool:
        """:returns: whether it is refused."""
        return self.passage.raw._firewall(socket, source, self.now)  # type: ignore[attr-defined]

    @property
    def raw(self) -> Any:
        return self.passage.raw


class DirectTests(PassageTestCase):
    """Ways straight to the other end."""

    def test_first(self) -> None:
        """The first way is taken; whoever looks for others is told before there is a connection."""
        self.agree()
        self.passage.take(1, ONE, self.now)
        self.passage.take(2, OTHER, self.now)
        self.assertFalse(self.packet(OTHER, 3))
        arrived, connection = self.told
        self.assertEqual("arrived", arrived)
        self.assertEqual((1, ONE, KEYS, True, False), (
            connection.socket, connection.address, connection.keys, connection.initiator, connection.relayed
        ))  # fmt: skip
        self.assertEqual((1, ONE, 77), (self.raw.socket, self.raw.address, self.raw._remote_id))

    def test_packet(self) -> None:
        """A packet of the other end shows a way; one from port 0 does not, and is refused."""
        self.agree()
        self.assertTrue(self.packet(NO_PORT))
        self.assertEqual([], self.told)
        self.assertFalse(self.packet(ONE, 5))
        self.assertEqual((5, ONE), (self.raw.socket, self.raw.address))

    def test_early(self) -> None:
        """One that comes before the keys is remembered."""
        self.assertFalse(self.packet(ONE, 5))
        self.assertEqual([], self.told)
        self.agree()
        self.assertTrue(self.passage.take_early(self.now))
        self.assertEqual((5, ONE), (self.raw.socket, self.raw.address))

    def test_not_early(self) -> None:
        """Without one there is nothing to take; nor is a way without keys."""
        self.passage.take(1, ONE, self.now)
        self.agree()
        self.assertFalse(self.passage.take_early(self.now))
        self.assertEqual([], self.told)

    def test_closed(self) -> None:
        """When it was closed its stream is at its end, and no way is taken."""
        self.agree()
        self.passage.close(self.now)
        self.passage.close(self.now)
        self.passage.take(1, ONE, self.now)
        self.assertEqual(([], True), (self.told, self.raw.closed))

    def test_taken_and_closed(self) -> None:
        """A connection that was told of is not its any more."""
        self.agree()
        self.passage.take(1, ONE, self.now)
        self.passage.close(self.now)
        self.assertFalse(self.raw.closed)

    def test_dead_stream(self) -> None:
        """A stream that has come to its end by itself is not connected."""
        self.agree()
        self.raw.destroy(self.now)
        self.passage.take(1, ONE, self.now)
        self.assertEqual([], self.told)

    def test_route(self) -> None:
        """A way is remembered where both sides want that."""
        for ours in (False, True):
            for theirs in (False, True):
                self.setUp()
                self.passage = self.make(ours)
                self.agree(theirs)
                self.passage.take(4, ONE, self.now)
                route = self.host.peering.room.routes.get(KEYS.remote_public_key)
                self.assertEqual(Route(4, ONE) if ours and theirs else None, route)


class RelayTests(PassageTestCase):
    """Ways through a relay."""

    def meet(self) -> FakeAppointment:
        self.agree()
        self.passage.meet(PLACE, True, self.now)
        return self.host.relaying.appointments[-1]

    def test_met(self) -> None:
        """When the other one is at the relay there is a connection; a direct way is looked for still."""
        appointment = self.meet()
        self.assertEqual((PLACE, True, self.raw), (appointment.place, appointment.is_initiator, appointment.raw))
        self.assertTrue(self.passage.is_meeting)
        appointment.met(self.now)
        [connection] = self.told
        self.assertEqual((True, appointment.ADDRESS), (connection.relayed, connection.address))
        self.assertFalse(self.passage.is_meeting)
        self.assertEqual(4711, self.raw._remote_id)

    def test_upgraded(self) -> None:
        """A direct way that comes later is taken; the connection is the same."""
        appointment = self.meet()
        appointment.met(self.now)
        self.assertFalse(self.packet(appointment.ADDRESS, appointment.SOCKET))
        self.assertEqual(0, self.raw.changes)
        self.packet(ONE, 5)
        self.assertEqual((1, 5, ONE, 77), (self.raw.changes, self.raw.socket, self.raw.address, self.raw._remote_id))
        self.assertEqual(("arrived", True), (self.told[-1], appointment.is_upgraded))
        self.packet(OTHER, 6)
        self.assertEqual((1, 2), (self.raw.changes, len(self.told)))

    def test_relays_packets(self) -> None:
        """What comes from the relay before we know that the other one is there shows no direct way."""
        appointment = self.meet()
        self.assertFalse(self.packet(appointment.ADDRESS, appointment.SOCKET))
        self.assertEqual([], self.told)

    def test_direct_first(self) -> None:
        """With a direct way nobody is waited for at the relay."""
        appointment = self.meet()
        self.passage.take(1, ONE, self.now)
        self.assertTrue(appointment.is_cancelled)
        appointment.met(self.now)
        self.assertEqual((2, 0), (len(self.told), self.raw.changes))

    def test_ended(self) -> None:
        """When the stream ends on its way through the relay, whoever still looks for another way is told."""
        appointment = self.meet()
        appointment.met(self.now)
        appointment.ended(self.now)
        self.packet(ONE, 5)
        self.assertEqual(("ended", 0), (self.told[-1], self.raw.changes))
        self.setUp()
        appointment = self.meet()
        appointment.met(self.now)
        self.packet(ONE, 5)
        appointment.ended(self.now)
        self.assertNotIn("ended", self.told)

    def test_not_met(self) -> None:
        """That nobody comes there is told."""
        appointment = self.meet()
        problem = RelayAbortedError()
        appointment.failed(problem, self.now)
        self.assertEqual(([problem], False), (self.told, self.passage.is_meeting))

    def test_closed(self) -> None:
        """When it is closed before, the relay is left; after that the stream is somebody else's."""
        appointment = self.meet()
        self.passage.close(self.now)
        self.assertEqual((True, True), (appointment.is_cancelled, self.raw.closed))
        self.setUp()
        appointment = self.meet()
        appointment.met(self.now)
        self.passage.close(self.now)
        self.assertEqual((False, False), (appointment.is_cancelled, self.raw.closed))
        self.packet(ONE, 5)
        self.assertEqual(0, self.raw.changes)

    @settings(deadline=None)
    @given(st.lists(st.sampled_from("agree meet met failed take early packet relay close".split()), max_size=12))
    def test_any_order(self, steps: list[str]) -> None:
        """Whatever happens in whatever order: one connection at most, one change to a direct way at most."""
        self.setUp()
        appointments = self.host.relaying.appointments
        settled = False
        for step in steps:
            if step == "agree":
                self.agree()
            elif step == "meet" and self.passage._keys is not None and not appointments:
                self.passage.meet(PLACE, True, self.now)
            elif step in ("met", "failed") and appointments and not settled:
                [appointment], settled = appointments, True
                if not appointment.is_cancelled:
                    appointment.met(self.now) if step == "met" else appointment.failed(RelayAbortedError(), self.now)
            elif step == "take":
                self.passage.take(1, ONE, self.now)
            elif step == "early":
                self.passage.take_early(self.now)
            elif step in ("packet", "relay"):
                address, socket = (ONE, 2) if step == "packet" else (FakeAppointment.ADDRESS, FakeAppointment.SOCKET)
                self.packet(address, socket)
            elif step == "close":
                self.passage.close(self.now)
        connections = [each for each in self.told if isinstance(each, Connection)]
        self.assertLessEqual(len(connections), 1)
        self.assertLessEqual(self.told.count("arrived"), 1)
        self.assertLessEqual(self.raw.changes, 1)
        self.assertEqual(bool(connections), self.raw.connected)
