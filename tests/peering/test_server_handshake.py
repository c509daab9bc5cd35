"""One handshake of a server: :mod:`spaceswarm_proxy.peering.server_handshake`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import HYPERSWARM
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHolepunch
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.errors import RelayAbortedError
from spaceswarm_proxy.peering.holepunch_payload import HolepunchPayload, SecurePayload
from spaceswarm_proxy.peering.noise_payload import (
    Firewall,
    HandshakeCode,
    NoisePayload,
    RelayPair,
    RelayThrough,
    UDXInfo,
)
from spaceswarm_proxy.peering.server_handshake import (
    CLEAR_WAIT,
    INITIAL_TIMEOUT,
    MAX_REPETITIONS,
    UPGRADE_TIMEOUT,
)
from tests.crypto.connect_vectors import CLIENT, VECTORS
from tests.peering.door import (
    CLIENT_ADDRESS,
    OPEN,
    OTHER_RELAY,
    RELAY,
    SERVER_ADDRESS,
    Door,
    Knock,
)
from tests.peering.world import FakeAppointment

NOTHING = (0, 0, 0)
#: A blind relay, and the token that is shown there.
PLACE = RelayThrough(b"\x07" * 32, b"\x08" * 32)
#: Another port of the client's.
ELSEWHERE = address_of("88.1.2.3", 4321)
NO_PORT = address_of("88.1.2.3", 0)


class Doorkeeper:
    """A firewall that a test decides for."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, NoisePayload, bytes]] = []
        self.decide: Any = None

    def __call__(self, key: bytes, payload: NoisePayload, address: bytes, decide: Any, now: float) -> None:
        self.asked.append((key, payload, address))
        self.decide = decide


class AnswerTests(SynchronousTestCase):
    """What is answered, and from where."""

    def test_direct(self) -> None:
        """A client that has come by itself is answered where it came, and there is a connection at once."""
        door, knock = Door(), Knock()
        door.direct(knock.message)
        [(socket, to, answer)] = door.answers()
        self.assertEqual((CLIENT_SOCKET, CLIENT_ADDRESS), (socket, to))
        payload = knock.read(answer)
        [connection] = door.log.connections
        self.assertEqual((CLIENT_SOCKET, CLIENT_ADDRESS), (connection.socket, connection.address))
        self.assertEqual(CLIENT.public_key, connection.remote_public_key)
        self.assertEqual((False, False), (connection.initiator, connection.relayed))
        self.assertEqual((knock.keys.send, knock.keys.hash), (connection.keys.receive, connection.keys.hash))
        assert payload.udx is not None
        self.assertEqual((0, connection.raw.id, 1), (payload.error, payload.udx.id, payload.secret_stream))
        self.assertTrue(connection.raw.connected)
        self.assertEqual((1, 0, 1), door.left)

    def test_payload_behind_firewall(self) -> None:
        """A server behind a firewall tells which handshake this is, and where it is known, from there."""
        door, knock = Door(), Knock()
        door.relayed(knock.message)
        [(_, to, answer)] = door.answers()
        payload = knock.read(answer)
        assert payload.holepunch is not None
        self.assertEqual((RELAY, Firewall.UNKNOWN), (to, payload.firewall))
        self.assertEqual((0, (RelayPair(RELAY, SERVER_ADDRESS),)), payload.holepunch)
        self.assertEqual((door.host.address,), payload.addresses4)

    def test_payload_open(self) -> None:
        """A server that anybody can reach tells its address, and of no hole punching."""
        door, knock = Door(public=True, share_local_address=False), Knock()
        door.relayed(knock.message)
        [(_, _, answer)] = door.answers()
        payload = knock.read(answer)
        self.assertEqual((Firewall.OPEN, None), (payload.firewall, payload.holepunch))
        self.assertEqual((door.host.address,), payload.addresses4)

    def test_nothing_shared(self) -> None:
        """It tells nothing of local networks if that is not wanted."""
        door, knock = Door(share_local_address=False), Knock()
        door.relayed(knock.message)
        [(_, _, answer)] = door.answers()
        self.assertEqual((), knock.read(answer).addresses4)

    def test_errors(self) -> None:
        """A client of another version, or without a stream, is told so, and gets none."""
        for fields, code in (
            ({"version": 2}, HandshakeCode.VERSION_MISMATCH),
            ({"udx": None}, HandshakeCode.ABORTED),
        ):
            door, knock = Door(), Knock(**fields)
            door.direct(knock.message)
            [(_, _, answer)] = door.answers()
            payload = knock.read(answer)
            self.assertEqual((code, UDXInfo(0)), (payload.error, payload.udx))
            self.assertEqual(([], NOTHING), (door.log.connections, door.left))

    def test_vectors(self) -> None:
        """What the reference's client sends is answered; what is damaged, as in the vectors, is not."""
        for vector in VECTORS["dhtHandshakeMalformed"]:
            door = Door(host={"profile": HYPERSWARM})
            door.direct(bytes.fromhex(vector["message"]))
            expected = 1 if vector["accepted"] else 0
            self.assertEqual(expected, len(door.answers()), vector["name"])
            self.assertEqual(expected, len(door.log.connections))
            self.assertEqual((expected, 0, expected), door.left)

    def test_bad_payload(self) -> None:
        """A message that proves who has sent it, and carries nothing that makes sense, is no handshake either."""
        for payload in (b"", b"\x01\x18", b"\x01\x02\x00\x00\xfd"):
            door = Door()
            door.direct(Knock.carrying(payload))
            self.assertEqual(([], NOTHING, 0), (door.answers(), door.left, len(door.listener)))


class RepetitionTests(SynchronousTestCase):
    """The same message again."""

    def test_once(self) -> None:
        """Repetitions, and the same through another relay, are answered alike, and lead to one connection."""
        door, knock = Door(), Knock(firewall=OPEN)
        door.relayed(knock.message)
        door.relayed(knock.message, relay=OTHER_RELAY)
        door.relayed(knock.message)
        answers = door.answers()
        self.assertEqual([RELAY, OTHER_RELAY, RELAY], [to for _, to, _ in answers])
        self.assertEqual(1, len({answer for _, _, answer in answers}))
        self.assertEqual((1, 1), (len(door.log.connections), door.host.streams.made))

    def test_puncher_socket(self) -> None:
        """While holes are punched all answers leave from the puncher's socket."""
        door, knock = Door(), Knock()
        for relay in (RELAY, OTHER_RELAY):
            door.relayed(knock.message, relay=relay)
        [pool] = door.host.sockets.opened
        self.assertEqual([pool, pool], [socket for socket, _, _ in door.answers()])

    def test_forgotten(self) -> None:
        """A while after the end it is a new handshake; until then it comes to nothing again."""
        door, knock = Door(), Knock()
        door.direct(knock.message)
        door.run(CLEAR_WAIT - 1)
        door.direct(knock.message)
        self.assertEqual((1, 1), (len(door.log.connections), len(door.listener)))
        door.run(1.1)
        self.assertEqual(0, len(door.listener))
        door.direct(knock.message)
        self.assertEqual(2, len(door.log.connections))


class HeardTests(SynchronousTestCase):
    """Whether the client is there at all."""

    def test_heard(self) -> None:
        """A client that was only told of is a stranger until it is heard, or nobody asks any more."""
        for fields in ({}, {"firewall": OPEN}):
            for heard in (True, False):
                door, knock = Door(), Knock(**fields)
                (door.relayed if fields else door.direct)(knock.message)
                [connection] = door.log.connections
                self.assertEqual(1, door.listener.admission.pending)
                if heard:
                    door.listener.heard(connection)
                    door.listener.heard(connection)
                    self.assertEqual(0, door.listener.admission.pending)
                door.run(CLEAR_WAIT + 1)
                self.assertEqual((0, 0), (door.listener.admission.pending, len(door.listener._by_stream)))

    def test_shown(self) -> None:
        """One that has shown us the way was heard by that."""
        door = Door()
        door.relayed(Knock().message)
        [stream] = door.host.streams.by_id
        door.packet(stream, ELSEWHERE, CLIENT_SOCKET)
        self.assertEqual(0, door.listener.admission.pending)


class FirewallTests(SynchronousTestCase):
    """Who may come."""

    def setUp(self) -> None:
        self.keeper = Doorkeeper()
        self.door = Door(firewall=self.keeper)
        self.knock = Knock()

    def test_asked(self) -> None:
        """It is told who wants to come, what the client says, and from where."""
        self.door.relayed(self.knock.message)
        [(key, payload, address)] = self.keeper.asked
        self.assertEqual((CLIENT.public_key, UDXInfo(0x1234), CLIENT_ADDRESS), (key, payload.udx, address))

    def test_refused(self) -> None:
        """Whoever is refused hears nothing, and is not asked about again for a while."""
        self.door.direct(self.knock.message)
        self.keeper.decide(True, self.door.world.now)
        self.door.direct(self.knock.message)
        self.assertEqual((1, [], []), (len(self.keeper.asked), self.door.answers(), self.door.log.connections))
        self.assertEqual((NOTHING, 1), (self.door.left, len(self.door.listener)))
        self.door.run(CLEAR_WAIT + 1)
        self.assertEqual(0, len(self.door.listener))

    def test_later(self) -> None:
        """While it is not decided nothing is answered; then all that have come are, up to a limit."""
        for _ in range(MAX_REPETITIONS + 5):
            self.door.direct(self.knock.message)
        self.door.run(3)
        self.assertEqual([], self.door.answers())
        self.keeper.decide(False, self.door.world.now)
        self.assertEqual(MAX_REPETITIONS, len(self.door.answers()))
        self.assertEqual(1, len(self.door.log.connections))

    def test_never(self) -> None:
        """What nobody decides is refused after a while."""
        self.door.direct(self.knock.message)
        self.assertEqual(1, self.door.listener.admission.pending)
        self.door.run(INITIAL_TIMEOUT + CLEAR_WAIT + 1)
        self.assertEqual((NOTHING, 0), (self.door.left, len(self.door.listener)))
        self.keeper.decide(False, self.door.world.now)
        self.assertEqual(([], []), (self.door.answers(), self.door.log.connections))

    def test_once(self) -> None:
        """It is decided once."""
        self.door.direct(self.knock.message)
        self.keeper.decide(False, self.door.world.now)
        for refused in (True, False):
            self.keeper.decide(refused, self.door.world.now)
        self.assertEqual((1, 1), (len(self.door.answers()), len(self.door.log.connections)))

    def test_broken(self) -> None:
        """A firewall that fails refuses; what went wrong is not hidden."""

        def broken(*arguments: Any) -> None:
            raise ZeroDivisionError

        door = Door(firewall=broken)
        self.assertRaises(ZeroDivisionError, door.direct, self.knock.message)
        door.direct(self.knock.message)
        self.assertEqual(([], NOTHING), (door.answers(), door.left))

    def test_closed_meanwhile(self) -> None:
        """What is decided when the server was closed does not matter."""
        self.door.direct(self.knock.message)
        self.door.log.close()
        self.keeper.decide(False, self.door.world.now)
        self.assertEqual(([], [], NOTHING), (self.door.answers(), self.door.log.connections, self.door.left))


class WaitingTests(SynchronousTestCase):
    """A client that has not come yet."""

    def test_open_client(self) -> None:
        """To a client that anybody can reach we go ourselves, from the usual socket."""
        door, knock = Door(), Knock(firewall=OPEN)
        door.relayed(knock.message)
        [connection] = door.log.connections
        self.assertEqual((CLIENT_SOCKET, CLIENT_ADDRESS), (connection.socket, connection.address))
        [(socket, _, _)] = door.answers()
        self.assertEqual((CLIENT_SOCKET, (1, 0, 1)), (socket, door.left))

    def test_open_server(self) -> None:
        """A server that anybody can reach waits, with no further socket, and answers no hole punching."""
        door, knock = Door(public=True), Knock()
        door.relayed(knock.message)
        [(socket, _, _)] = door.answers()
        self.assertEqual((CLIENT_SOCKET, (1, 0, 1)), (socket, door.left))
        door.holepunch(PeerHolepunch(Mode.FROM_RELAY, 0, bytes(64), CLIENT_ADDRESS))
        self.assertEqual([], door.take_sent())
        door.run(INITIAL_TIMEOUT + 0.1)
        self.assertEqual((NOTHING, 1), (door.left, len(door.listener)))
        door.run(CLEAR_WAIT)
        self.assertEqual(0, len(door.listener))

    def test_no_punching(self) -> None:
        """So does one that is not to punch."""
        door, knock = Door(punches=False), Knock()
        door.relayed(knock.message)
        self.assertEqual((1, 0, 1), door.left)

    def test_no_sockets(self) -> None:
        """And one that gets no socket."""
        door, knock = Door(), Knock()
        door.host.sockets.most = 0
        door.relayed(knock.message)
        [(socket, _, _)] = door.answers()
        self.assertEqual((CLIENT_SOCKET, (1, 0, 1)), (socket, door.left))

    def test_no_streams(self) -> None:
        """A server that can make no stream says nothing."""
        door, knock = Door(), Knock()
        door.host.streams.most = 0
        door.relayed(knock.message)
        self.assertEqual(([], NOTHING), (door.answers(), door.left))

    def test_comes(self) -> None:
        """The first packet of the client's stream is the connection, on whatever socket; later ones change nothing."""
        for socket in (CLIENT_SOCKET, SERVER_SOCKET, 2):
            door, knock = Door(), Knock()
            door.relayed(knock.message)
            [stream] = door.host.streams.by_id
            self.assertTrue(door.packet(stream, NO_PORT, socket))
            self.assertFalse(door.packet(stream, ELSEWHERE, socket))
            self.assertFalse(door.packet(stream, CLIENT_ADDRESS, SERVER_SOCKET))
            [connection] = door.log.connections
            self.assertEqual((socket, ELSEWHERE, stream), (connection.socket, connection.address, connection.raw.id))
            self.assertEqual((0, 0, 1), door.left)

    def test_near(self) -> None:
        """Where the client is in our network, we wait on the usual socket for it, but are ready to punch."""
        door = Door()
        near = door.host.ip + b"\x01\x02"
        knock = Knock(addresses4=(near,))
        door.relayed(knock.message, client=SERVER_ADDRESS[:4] + b"\x09\x09")
        [(socket, _, _)] = door.answers()
        self.assertEqual((CLIENT_SOCKET, (1, 1, 1)), (socket, door.left))

    def test_seems_near(self) -> None:
        """The same address from outside is not enough: there must be one in a network of ours."""
        for addresses in ((), (address_of("77.1.2.3", 4),), (address_of("192.168.1.2", 4),)):
            door, knock = Door(), Knock(addresses4=addresses)
            door.relayed(knock.message, client=SERVER_ADDRESS[:4] + b"\x09\x09")
            [(socket, _, _)] = door.answers()
            self.assertNotEqual(CLIENT_SOCKET, socket, addresses)

    def test_nobody_comes(self) -> None:
        """After a while the stream and the sockets are gone, later the handshake; its number is free again."""
        door = Door()
        for number in range(2):
            knock = Knock()
            door.relayed(knock.message)
            [(_, _, answer)] = door.answers()
            info = knock.read(answer).holepunch
            assert info is not None
            self.assertEqual(0, info.id, number)
            self.assertEqual((1, 1, 1), door.left)
            door.run(INITIAL_TIMEOUT + 0.1)
            self.assertEqual((NOTHING, 1), (door.left, len(door.listener)))
            door.run(CLEAR_WAIT)
            self.assertEqual((0, 0), (len(door.listener), len(door.host.peering.room.punching)))

    def test_lowest_number(self) -> None:
        """Each handshake has a number of its own, the lowest that is free."""
        door = Door()
        numbers = []
        for _ in range(3):
            knock = Knock()
            door.relayed(knock.message)
            [(_, _, answer)] = door.answers()
            info = knock.read(answer).holepunch
            assert info is not None
            numbers.append(info.id)
        self.assertEqual([0, 1, 2], numbers)


class HolepunchTests(SynchronousTestCase):
    """Messages of hole punching find their handshake."""

    def setUp(self) -> None:
        self.door, self.knock = Door(), Knock()
        self.door.relayed(self.knock.message)
        [(_, _, answer)] = self.door.answers()
        self.knock.read(answer)
        self.secure = SecurePayload(self.knock.keys.hash, self.door.core.profile, self.door.core.chance)

    def test_abort(self) -> None:
        """A client that gives up ends it; the answer is for it alone, and says that nothing comes of it."""
        sealed = self.secure.encrypt(HolepunchPayload(error=HandshakeCode.ABORTED))
        self.door.holepunch(PeerHolepunch(Mode.FROM_RELAY, 0, sealed, CLIENT_ADDRESS))
        self.assertEqual(NOTHING, self.door.left)

    def test_other_numbers(self) -> None:
        """Others' numbers, and what the client has not encrypted, are not answered, and change nothing."""
        sealed = self.secure.encrypt(HolepunchPayload(error=HandshakeCode.ABORTED))
        for id, payload in ((1, sealed), (2**40, sealed), (0, bytes(80)), (0, b"")):
            self.door.holepunch(PeerHolepunch(Mode.FROM_RELAY, id, payload, CLIENT_ADDRESS))
        self.assertEqual(([], (1, 1, 1)), (self.door.take_sent(), self.door.left))


class RelayThroughTests(SynchronousTestCase):
    """Through a blind relay as well."""

    def begin(self, knock: Knock, **options: Any) -> tuple[Door, FakeAppointment, NoisePayload]:
        """A client comes; there is an appointment at a relay."""
        door = Door(**options)
        door.relayed(knock.message)
        [(_, _, answer)] = door.answers()
        [appointment] = door.host.relaying.appointments
        return door, appointment, knock.read(answer)

    def test_theirs(self) -> None:
        """The client's relay is gone to, as the one who has not proposed it."""
        _, appointment, payload = self.begin(Knock(relay_through=PLACE))
        self.assertEqual((PLACE, False, None), (appointment.place, appointment.is_initiator, payload.relay_through))

    def test_ours(self) -> None:
        """Our own is proposed to the client, whatever that proposes."""
        for knock in (Knock(), Knock(relay_through=PLACE)):
            _, appointment, payload = self.begin(knock, relay_through=(b"\x05" * 32,))
            self.assertEqual((payload.relay_through, True), (appointment.place, appointment.is_initiator))
            self.assertEqual(b"\x05" * 32, appointment.place.public_key)

    def test_met(self) -> None:
        """When the client is there, there is a connection; when it finds a direct way, that is taken."""
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        appointment.met(door.world.now)
        [connection] = door.log.connections
        self.assertTrue(connection.relayed)
        self.assertEqual((0, 1, 1), door.left)
        door.run(5 * INITIAL_TIMEOUT)
        self.assertEqual((0, 1, 1), door.left)
        door.packet(connection.raw.id, ELSEWHERE, CLIENT_SOCKET)
        raw: Any = connection.raw
        self.assertEqual((1, ELSEWHERE, True), (raw.changes, raw.address, appointment.is_upgraded))
        self.assertEqual((1, (0, 0, 1)), (len(door.log.connections), door.left))

    def test_ended(self) -> None:
        """When the stream ends before there is a direct way, nothing is done for one any more."""
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        appointment.met(door.world.now)
        door.log.connections[0].raw.destroy(door.world.now)
        appointment.ended(door.world.now)
        self.assertEqual((0, 0, 0), door.left)
        door.run(CLEAR_WAIT + 1)
        self.assertEqual((NOTHING, 0), (door.left, len(door.listener)))

    def test_no_direct_way(self) -> None:
        """When there is none the connection stays as it is, and nothing else is left."""
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        appointment.met(door.world.now)
        door.run(UPGRADE_TIMEOUT + CLEAR_WAIT + 1)
        self.assertEqual(((0, 0, 1), 0), (door.left, len(door.listener)))

    def test_relay_takes_longer(self) -> None:
        """The relay is waited for when there is no direct way, and decides then."""
        for met in (True, False):
            door, appointment, _ = self.begin(Knock(relay_through=PLACE))
            door.run(INITIAL_TIMEOUT + 1)
            self.assertEqual((1, 0, 1), door.left)
            if met:
                appointment.met(door.world.now)
            else:
                appointment.failed(RelayAbortedError(), door.world.now)
            self.assertEqual(int(met), len(door.log.connections))
            door.run(CLEAR_WAIT + 1)
            self.assertEqual(((0, 0, int(met)), 0), (door.left, len(door.listener)))

    def test_relay_fails_first(self) -> None:
        """Without the relay it is up to the direct ways."""
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        appointment.failed(RelayAbortedError(), door.world.now)
        self.assertEqual((1, 1, 1), door.left)
        door.run(INITIAL_TIMEOUT + 1)
        self.assertEqual(NOTHING, door.left)

    def test_not_for_direct(self) -> None:
        """Who can be reached directly needs no relay."""
        door = Door()
        door.direct(Knock(relay_through=PLACE).message)
        self.assertEqual([], door.host.relaying.appointments)

    def test_closed(self) -> None:
        """A server that goes leaves the relay, but not a connection through it."""
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        door.log.close()
        self.assertEqual((True, NOTHING), (appointment.is_cancelled, door.left))
        door, appointment, _ = self.begin(Knock(relay_through=PLACE))
        appointment.met(door.world.now)
        door.log.close()
        self.assertEqual((False, (0, 0, 1)), (appointment.is_cancelled, door.left))


class EndTests(SynchronousTestCase):
    """The server goes."""

    def test_close_at_every_stage(self) -> None:
        """Nothing is left of any handshake; connections stay."""
        for fields, connections in (({}, 0), ({"firewall": OPEN}, 1), ({"version": 2}, 0)):
            for seconds in (0, 5, INITIAL_TIMEOUT + 1, 30):
                door = Door()
                door.relayed(Knock(**fields).message)
                door.run(seconds)
                door.log.close()
                door.run(5)
                self.assertEqual((0, 0, connections), door.left)
                self.assertEqual((0, True), (len(door.listener), door.log.closed))
                self.assertEqual(0, len(door.host.peering.room.schedule))
                door.take_sent()
                door.relayed(Knock().message)
                self.assertEqual([], door.take_sent())
