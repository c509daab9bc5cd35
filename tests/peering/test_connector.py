"""A client's attempt: :mod:`spaceswarm_proxy.peering.connector`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.errors import (
    CannotHolepunchError,
    HolepunchAbortedError,
    HolepunchError,
    RelayAbortedError,
    SuspendedError,
)
from spaceswarm_proxy.peering.connector import PASSIVE_TIMEOUT
from spaceswarm_proxy.peering.noise_payload import Firewall, HolepunchInfo, NoisePayload, RelayPair, RelayThrough
from tests.crypto.connect_vectors import SERVER
from tests.peering.strangers import (
    RELAYS,
    SERVER_ADDRESS,
    Stranger,
    Strangers,
    answering,
    heard_by_server,
    server_payload,
)
from tests.peering.world import ClientLog, FakeAppointment

OPEN = Firewall.OPEN
ELSEWHERE = address_of("99.7.7.7", 77)
NOWHERE = address_of("99.7.7.7", 0)
NEARBY = address_of("10.0.0.200", 49737)
BOGONS = (address_of("10.1.1.1", 1), address_of("192.0.2.1", 2), address_of("127.0.0.1", 3))
NOTHING = (0, 0, 0, 0)
#: Of a server that takes no part in hole punching, though it is behind an address translation.
NO_RELAYS = HolepunchInfo(0, ())
KEY, TOKEN = b"\x05" * 32, b"\x06" * 32


class ConnectorTestCase(SynchronousTestCase):
    """A client among strangers."""

    def net(
        self, peer_address: bytes | None = SERVER_ADDRESS, host: dict[str, Any] | None = None, **payload: Any
    ) -> Strangers:
        """:param payload: what the server says."""
        shake = answering(server_payload(**payload), peer_address)
        self.strangers = Strangers(shake, shake, shake, **(host or {}))
        return self.strangers

    def assertWay(self, log: ClientLog, socket: int, address: bytes) -> None:
        self.assertEqual((socket, address), (log.connection.socket, log.connection.address))
        self.assertEqual((1, 0, 0, 0), self.strangers.left)


class DecisionTests(ConnectorTestCase):
    """Which way is taken, from what both sides say."""

    def test_direct(self) -> None:
        """Whoever has answered by itself is the server: straight there, over the socket that it was asked from."""
        log = self.net(None).result()
        self.assertEqual(CLIENT_SOCKET, log.connection.socket)
        self.assertIn(log.connection.address, RELAYS)

    def test_open_server(self) -> None:
        """To a server that anybody can reach: where the relay sees it, or at the first address that means something."""
        for addresses, expected in (((), SERVER_ADDRESS), (BOGONS, SERVER_ADDRESS), ((*BOGONS, ELSEWHERE), ELSEWHERE)):
            log = self.net(firewall=OPEN, holepunch=None, addresses4=addresses).result()
            self.assertWay(log, CLIENT_SOCKET, expected)

    def test_unpunchable_server(self) -> None:
        """The same is tried with one that can't be punched to: there is no other way."""
        for info in (None, NO_RELAYS):
            self.assertWay(self.net(holepunch=info).result(), CLIENT_SOCKET, SERVER_ADDRESS)

    def test_no_way(self) -> None:
        """Where the relay claims that it is the server itself, and that can't be punched to, there is none at all."""
        net = Strangers(answering(server_payload(holepunch=None), RELAYS[0]))
        self.assertIsInstance(net.result().problem, CannotHolepunchError)
        self.assertEqual(NOTHING, net.left)

    def test_passive(self) -> None:
        """A client that anybody can reach says so, waits for the server, and takes its first packet's way."""
        net = self.net(host={"firewalled": False})
        self.assertEqual(net.host.address, net.host.core.reachable_address)
        log = net.connect()
        net.world.run(3)
        self.assertEqual([], log.results)
        [raw] = net.host.streams.open
        self.assertFalse(raw._firewall(SERVER_SOCKET, ELSEWHERE, net.world.now))
        self.assertWay(log, SERVER_SOCKET, ELSEWHERE)

    def test_passive_in_vain(self) -> None:
        """But not for ever."""
        net = self.net(host={"firewalled": False})
        log = net.connect()
        net.world.run(PASSIVE_TIMEOUT - 0.5)
        self.assertEqual([], log.results)
        net.world.run(1)
        self.assertIsInstance(log.problem, HolepunchAbortedError)
        self.assertEqual(NOTHING, net.left)

    def test_early(self) -> None:
        """A packet that comes before the answer shows the way."""
        net = Strangers()
        log = net.connect()
        net.world.run(0.5)
        [raw] = net.host.streams.open
        self.assertFalse(raw._firewall(7, ELSEWHERE, net.world.now))
        net.relays[0].shake = net.relays[1].shake = answering(server_payload())
        net.world.run(2)
        self.strangers = net
        self.assertWay(log, 7, ELSEWHERE)

    def test_what_is_said(self) -> None:
        """The server is told of the stream, of our addresses, and whether anybody can reach us there."""
        for host, options, firewall, count in (
            ({}, {}, Firewall.UNKNOWN, 1),
            ({}, {"local_connection": False}, Firewall.UNKNOWN, 0),
            ({"firewalled": False}, {}, OPEN, 2),
            ({"firewalled": False}, {"local_connection": False, "reusable_socket": True}, OPEN, 1),
        ):
            heard: list[NoisePayload] = []
            net = Strangers(**host)

            def listening(message: bytes, heard: list[NoisePayload] = heard) -> None:
                heard.append(heard_by_server(message))

            for relay in net.relays:
                relay.shake = listening
            net.connect(**options)
            net.world.run(1)
            payload = heard[0]
            assert payload.udx is not None
            self.assertEqual((firewall, None, None), (payload.firewall, payload.holepunch, payload.relay_through))
            self.assertEqual((net.host.address,) * count, payload.addresses4)
            [raw] = net.host.streams.open
            self.assertEqual((raw.id, "reusable_socket" in options), (payload.udx.id, payload.udx.reusable_socket))

    def test_relays_remembered(self) -> None:
        """The next time those are tried first that the server names, or those that were tried."""
        for named, expected in (((ELSEWHERE,), {ELSEWHERE}), (None, set(RELAYS)), ((), set(RELAYS))):
            net = self.net(firewall=OPEN, relay_addresses=named)
            net.result()
            cached = net.host.peering.room.relay_cache.get(SERVER.public_key)
            assert cached is not None
            self.assertLessEqual(set(cached), expected)
            self.assertTrue(cached)


class LocalTests(ConnectorTestCase):
    """The server seems to be in our network."""

    def near(self, answers: bool, *addresses: bytes, **options: Any) -> ClientLog:
        """Connect to a server whose address from outside is ours."""
        net = self.net()
        seen = net.host.ip + b"\x99\x99"
        shake = answering(server_payload(addresses4=addresses), seen)
        for relay in net.relays:
            relay.shake = shake
        if answers:
            net.world.strangers[NEARBY] = Stranger(NEARBY, False)
        return net.result(**options)

    def test_there(self) -> None:
        """If somebody answers there, it is taken for the server; over the server socket, as that is whom it knows."""
        for addresses in ((NEARBY,), (address_of("99.1.1.1", 1), NEARBY)):
            self.assertWay(self.near(True, *addresses), SERVER_SOCKET, NEARBY)

    def test_not_there(self) -> None:
        """If nobody does, it is up to hole punching, whose end is the end."""
        self.assertIsInstance(self.near(False, NEARBY).problem, HolepunchError)
        self.assertEqual(NOTHING, self.strangers.left)

    def test_not_wanted(self) -> None:
        """It is not tried if that is not wanted, or if the server tells nothing that could be."""
        for addresses, options in (((NEARBY,), {"local_connection": False}), ((), {}), ((BOGONS[1],), {})):
            self.assertIsInstance(self.near(True, *addresses, **options).problem, HolepunchError)
            self.assertEqual(NOTHING, self.strangers.left)


class RelayThroughTests(ConnectorTestCase):
    """Through a blind relay."""

    def begin(self, **payload: Any) -> tuple[ClientLog, FakeAppointment]:
        """Begin to connect to a server to which no hole can be punched."""
        net = self.net(**payload)
        log = net.connect(relay_through=(KEY,))
        net.world.run_until(lambda: bool(net.host.relaying.appointments), 5)
        return log, net.host.relaying.appointments[0]

    def test_ours(self) -> None:
        """Our relay is proposed, with a token, and gone to as the one who has proposed it."""
        _, appointment = self.begin()
        self.assertEqual((KEY, True), (appointment.place.public_key, appointment.is_initiator))
        self.assertEqual(32, len(appointment.place.token))

    def test_theirs(self) -> None:
        """If the server proposes one that one is taken, and we are the other one there."""
        place = RelayThrough(b"\x09" * 32, TOKEN)
        _, appointment = self.begin(relay_through=place)
        self.assertEqual((place, False), (appointment.place, appointment.is_initiator))

    def test_met(self) -> None:
        """When punching has failed there is the relay; when both meet there, there is a connection."""
        log, appointment = self.begin()
        self.strangers.world.run(30)
        self.assertEqual([], log.results)
        appointment.met(self.strangers.world.now)
        self.assertTrue(log.connection.relayed)
        self.assertEqual((1, 0, 0, 0), self.strangers.left)

    def test_upgraded(self) -> None:
        """A connection through a relay is told at once, and goes the direct way as soon as there is one."""
        log, appointment = self.begin()
        appointment.met(self.strangers.world.now)
        raw: Any = log.connection.raw
        self.assertEqual(1, len(self.strangers.host.peering.connectors))
        raw._firewall(9, ELSEWHERE, self.strangers.world.now)
        self.assertEqual((1, 9, ELSEWHERE), (raw.changes, raw.socket, raw.address))
        self.assertEqual((True, 1), (appointment.is_upgraded, len(log.results)))
        self.assertEqual((1, 0, 0, 0), self.strangers.left)

    def test_not_upgraded(self) -> None:
        """When no direct way is found it stays as it is, and nothing else is left."""
        log, appointment = self.begin()
        appointment.met(self.strangers.world.now)
        self.strangers.world.run(60)
        self.assertEqual((1, 0, 0, 0), self.strangers.left)
        self.assertFalse(log.connection.raw.closed)
        self.assertFalse(appointment.is_cancelled)

    def test_ended(self) -> None:
        """When the stream ends before a direct way was found, none is looked for any more."""
        log, appointment = self.begin()
        appointment.met(self.strangers.world.now)
        self.assertEqual(1, len(self.strangers.host.peering.connectors))
        log.connection.raw.destroy(self.strangers.world.now)
        appointment.ended(self.strangers.world.now)
        self.assertEqual(NOTHING, self.strangers.left)

    def test_not_followed(self) -> None:
        """Who connects to a relay does not do so through another one, whatever that proposes."""
        net = self.net(relay_through=RelayThrough(KEY, TOKEN))
        net.connect(follows_relays=False)
        net.world.run(30)
        self.assertEqual([], net.host.relaying.appointments)

    def test_not_met(self) -> None:
        """Without the relay it is up to hole punching, and without that to the relay; the last one is told."""
        for relay_first in (True, False):
            log, appointment = self.begin()
            if relay_first:
                appointment.failed(RelayAbortedError(), self.strangers.world.now)
                self.assertEqual([], log.results)
                self.strangers.world.run(30)
                self.assertIsInstance(log.problem, HolepunchError)
            else:
                self.strangers.world.run(30)
                appointment.failed(RelayAbortedError(), self.strangers.world.now)
                self.assertIsInstance(log.problem, RelayAbortedError)
            self.assertEqual(NOTHING, self.strangers.left)

    def test_direct_first(self) -> None:
        """Where there is a direct way already nobody goes to the relay."""
        net = self.net(firewall=OPEN)
        log = net.result(relay_through=(KEY,))
        self.assertFalse(log.connection.relayed)
        self.assertTrue(all(each.is_cancelled for each in net.host.relaying.appointments))

    def test_cancelled(self) -> None:
        """Whoever cancels leaves the relay, unless there is a connection through it: that stays."""
        log, appointment = self.begin()
        log.cancel()
        self.assertEqual((True, NOTHING), (appointment.is_cancelled, self.strangers.left))
        log, appointment = self.begin()
        appointment.met(self.strangers.world.now)
        log.cancel()
        self.assertEqual((False, (1, 0, 0, 0)), (appointment.is_cancelled, self.strangers.left))

    def test_suspended(self) -> None:
        """So it is when the node is suspended."""
        log, appointment = self.begin()
        self.strangers.host.peering.suspend(lambda now: None, self.strangers.world.now)
        self.assertIsInstance(log.problem, SuspendedError)
        self.assertEqual((True, NOTHING), (appointment.is_cancelled, self.strangers.left))


class LiarTests(ConnectorTestCase):
    """Servers and relays that lie hurt nobody but this attempt."""

    def test_many_relays(self) -> None:
        """A server that names hundreds of everything makes us do no more than others."""
        pairs = tuple(RelayPair(ELSEWHERE, ELSEWHERE) for _ in range(500))
        addresses = tuple(BOGONS) * 100
        net = self.net(holepunch=HolepunchInfo(2**40, pairs), addresses4=addresses, relay_addresses=addresses)
        self.assertIsInstance(net.result().problem, HolepunchError)
        self.assertEqual(NOTHING, net.left)

    def test_nowhere(self) -> None:
        """Addresses that nothing can be sent to lead nowhere."""
        for payload in (
            {"firewall": OPEN, "addresses4": (NOWHERE,)},
            {"holepunch": None},
            {"holepunch": HolepunchInfo(0, (RelayPair(NOWHERE, NOWHERE),)), "addresses4": (NOWHERE,)},
        ):
            net = self.net(peer_address=NOWHERE, **payload)
            self.assertIsInstance(net.result().problem, HolepunchError)
            self.assertEqual(NOTHING, net.left)
