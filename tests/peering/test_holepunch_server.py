"""The server's side of hole punching: :mod:`spaceswarm_proxy.peering.holepunch_server`."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHolepunch
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.peering.holepunch_payload import MAX_ADDRESSES, MAX_NUMBER, HolepunchPayload, SecurePayload
from spaceswarm_proxy.peering.holepunch_server import PATIENCE, HolepunchServer
from spaceswarm_proxy.peering.noise_payload import Firewall, HandshakeCode
from spaceswarm_proxy.peering.puncher import MAX_WAITING, ROUND
from tests.peering.bench import OURS, THEIRS, Bench
from tests.peering.test_holepunch_payload import payloads

UNKNOWN, OPEN, CONSISTENT, RANDOM = Firewall
HASH, TOKEN = bytes(range(64)), bytes(32)
RELAY, STRANGER = address_of("10.0.0.1", 49737), address_of("10.0.0.2", 49737)
CLIENT = THEIRS[0]


class Arrival:
    """A message on its way, and the answer to it."""

    def __init__(self, bench: Bench, payload: bytes, source: bytes, socket: int, to: bytes) -> None:
        self.value = PeerHolepunch(Mode.FROM_RELAY, 0, payload, CLIENT)
        self.peer_address = CLIENT
        self.source = source
        self.socket = socket
        self.to = to
        self.sealed: list[tuple[bytes, int | None]] = []

    def answer(self, payload: bytes, socket: int | None = None) -> None:
        self.sealed.append((payload, socket))


class ServerCase(SynchronousTestCase):
    """A server, as far as one handshake goes; the test is the client."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.theirs = SecurePayload(HASH, SPACESWARM, Random(2))

    def start(self, ours: Firewall = CONSISTENT, **options: Any) -> HolepunchServer:
        self.bench.alone.core.firewalled = ours != OPEN
        secure = SecurePayload(HASH, SPACESWARM, Random(1))
        self.server = HolepunchServer(
            self.bench.punching, secure, UNKNOWN, RELAY.__eq__, self.bench._aborted, self.bench.now, **options
        )  # fmt: skip
        self.puncher = self.server.puncher
        self.bench.sample(self.puncher, ours)
        return self.server

    def arrive(
        self, source: bytes = RELAY, socket: int = CLIENT_SOCKET, to: bytes = OURS[5], data: bytes | None = None,
        **fields: Any,
    ) -> Arrival:  # fmt: skip
        """A message comes."""
        sealed = self.theirs.encrypt(HolepunchPayload(**fields)) if data is None else data
        arrival = Arrival(self.bench, sealed, source, socket, to)
        self.taken = self.server.receive(arrival, self.bench.now)
        return arrival

    def answer_to(self, arrival: Arrival) -> HolepunchPayload:
        """:returns: the only answer."""
        [(sealed, self.answered_from)] = arrival.sealed
        return self.theirs.decrypt(sealed)

    def ask(self, *arguments: Any, **fields: Any) -> HolepunchPayload:
        """A message comes.  :returns: the answer to it, which comes at once."""
        return self.answer_to(self.arrive(*arguments, **fields))

    def assertAborted(self, answer: HolepunchPayload, error: int = HandshakeCode.ABORTED) -> None:
        """It was given up, and the client told, from the ordinary socket."""
        self.assertEqual(HolepunchPayload(error, round=answer.round), answer)
        self.assertEqual((CLIENT_SOCKET, 1, []), (self.answered_from, self.bench.aborted, self.bench.sockets))


class AnswerTests(ServerCase):
    """What the client is told."""

    def test_answer(self) -> None:
        """What we are behind, and where; with a token, and the client's own sent back; from the puncher's socket."""
        self.start()
        answer = self.ask(round=3, token=TOKEN)
        self.assertEqual(
            (0, CONSISTENT, 3, False, False, (OURS[0],), None, TOKEN),
            answer[:7] + (answer.remote_token,),
        )
        self.assertIsNotNone(answer.token)
        self.assertEqual(self.server.socket, self.answered_from)

    def test_token(self) -> None:
        """Only nodes that we have announced ourselves to are told a token; others could make up the client's host."""
        self.start()
        self.assertIsNone(self.ask(source=STRANGER).token)

    def test_waits(self) -> None:
        """The answer comes when it is known what we are behind."""
        self.bench.know_somebody()
        self.start(UNKNOWN)
        arrivals = [self.arrive() for _ in range(3)]
        self.assertEqual([[], [], []], [arrival.sealed for arrival in arrivals])
        self.bench.sample(self.puncher, RANDOM)
        self.assertEqual([RANDOM] * 3, [self.answer_to(arrival).firewall for arrival in arrivals])

    def test_flood(self) -> None:
        """However many come meanwhile, so many are answered."""
        self.bench.know_somebody()
        self.start(UNKNOWN)
        arrivals = [self.arrive() for _ in range(5 * MAX_WAITING)]
        self.bench.sample(self.puncher, CONSISTENT)
        self.assertEqual(MAX_WAITING, sum(len(arrival.sealed) for arrival in arrivals))

    def test_sample(self) -> None:
        """What comes in on the puncher's socket tells what it looks like from there; what comes elsewhere, nothing."""
        self.start()
        for socket, more in ((CLIENT_SOCKET, 0), (self.server.socket, 1), (self.server.socket, 0)):
            before = len(self.puncher.samples)
            self.ask(socket=socket)
            self.assertEqual(before + more, len(self.puncher.samples))

    def test_fast(self) -> None:
        """A client that has opened its own side for one of our addresses is sent something at once."""
        self.start()
        for opened, sent in ((OURS[0], [CLIENT]), (OURS[1], []), (None, [])):
            self.bench.punches.clear()
            self.ask(remote_address=opened)
            self.assertEqual(sent, [address for _, _, address, _ in self.bench.punches])

    def test_not_fast(self) -> None:
        """Where our ports are random that makes no sense."""
        self.start(RANDOM)
        self.ask(remote_address=OURS[0][:4] + bytes(2))
        self.assertEqual([], self.bench.punches)

    def test_frozen(self) -> None:
        """What the client was told stays so."""
        self.start()
        self.ask()
        for number, address in enumerate(OURS[1:]):
            self.puncher.sampled(address, address_of("8.8.8.8", 1 + number), self.bench.now)
        self.assertEqual((CONSISTENT, (OURS[0],)), (self.puncher.firewall, self.puncher.samples.addresses))


class RoundTests(ServerCase):
    """Messages may overtake each other, and be repeated."""

    def test_old(self) -> None:
        """What is older than what has come tells nothing new; it is answered."""
        self.start()
        self.ask(round=5, firewall=CONSISTENT, addresses=(CLIENT,))
        answer = self.ask(round=4, firewall=RANDOM, addresses=(THEIRS[1],))
        self.assertEqual((5, CONSISTENT), (answer.round, self.puncher.remote_firewall))
        self.assertEqual([CLIENT], [remote.address for remote in self.puncher.remote_addresses])

    def test_huge(self) -> None:
        """A round that does not fit into an answer is the highest that does."""
        self.start()
        for round in (253, 2**53 - 1):
            sealed = self.theirs.encrypt(HolepunchPayload())
            payload = HolepunchPayload(round=round)
            self.patch(self.server._secure, "decrypt", lambda _, payload=payload: payload)
            arrival = self.arrive(data=sealed)
            self.assertEqual(MAX_NUMBER, self.answer_to(arrival).round)


class PunchTests(ServerCase):
    """The client punches, so we do."""

    def token(self) -> bytes:
        """:returns: what the client has to send back."""
        token = self.ask().token
        assert token is not None
        return token

    def test_consistent(self) -> None:
        """We send to its addresses, from a second on, and say that we do."""
        self.start()
        answer = self.ask(punching=True, firewall=CONSISTENT, addresses=(THEIRS[3],), remote_token=self.token())
        self.assertTrue(answer.punching)
        self.assertEqual([], self.bench.punches)
        self.bench.run(ROUND)
        self.assertEqual([THEIRS[3]], [address for _, _, address, _ in self.bench.punches])

    def test_echo(self) -> None:
        """Only the right token, and only through a node that we trust, proves that the client is there."""
        for source, right, verified in ((RELAY, True, True), (STRANGER, True, False), (RELAY, False, False)):
            self.setUp()
            self.start()
            token = self.token() if right else TOKEN
            self.arrive(source, punching=True, firewall=CONSISTENT, addresses=(CLIENT,), remote_token=token)
            self.assertEqual([(CLIENT, verified)], list(self.puncher.remote_addresses))

    def test_random_takes_proof(self) -> None:
        """Nobody is sent thousands of datagrams who has not proved to be there."""
        self.start()
        answer = self.ask(punching=True, firewall=RANDOM, addresses=(CLIENT,), remote_token=TOKEN)
        self.assertAborted(answer)
        self.bench.run(60)
        self.assertEqual([], self.bench.punches)

    def test_repeated(self) -> None:
        """The same message again is no reason to refuse: our own attempt is the one under way."""
        self.start()
        token = self.token()
        for _ in range(3):
            answer = self.ask(punching=True, firewall=RANDOM, addresses=(CLIENT,), remote_token=token)
            self.assertEqual((0, True), (answer.error, answer.punching))
        self.assertEqual(1, self.bench.punching.random_punches.under_way)

    def test_busy(self) -> None:
        """While others are punched through for, a client with random ports is put off, or refused."""
        for relayed in (True, False):
            self.setUp()
            self.start(relayed=relayed)
            self.bench.punching.random_punches.begin()
            answer = self.ask(punching=True, firewall=RANDOM, addresses=(CLIENT,), remote_token=self.token())
            self.assertEqual(HandshakeCode.TRY_LATER, answer.error)
            self.assertEqual(relayed, not self.puncher.closed)
            self.assertEqual((CONSISTENT if relayed else UNKNOWN, False), (answer.firewall, answer.punching))

    def test_veto(self) -> None:
        """The user may refuse."""
        self.start(veto=lambda *_: False)
        self.assertAborted(self.ask(punching=True, firewall=CONSISTENT, addresses=(CLIENT,)))

    def test_many_addresses(self) -> None:
        """A client that names many addresses has little sent to each, and to a few only."""
        self.start()
        many = tuple(address_of(f"7.7.7.{number}", 53) for number in range(200))
        self.arrive(punching=True, firewall=CONSISTENT, addresses=many)
        self.bench.run(60)
        self.assertEqual(2 * MAX_ADDRESSES, len(self.bench.punches))


class EndTests(ServerCase):
    """It is over."""

    def test_patience(self) -> None:
        """A client that does not begin to punch in ten seconds is not waited for."""
        self.start()
        self.ask()
        self.bench.run(PATIENCE - 0.1)
        self.assertEqual(0, self.bench.aborted)
        self.bench.run(0.1)
        self.assertEqual((1, []), (self.bench.aborted, self.bench.sockets))
        self.assertAborted(self.ask())

    def test_punching_takes_longer(self) -> None:
        """One that punches is waited for as long as that takes."""
        self.start()
        self.ask(punching=True, firewall=CONSISTENT, addresses=(CLIENT,))
        self.bench.run(PATIENCE + ROUND - 0.1)
        self.assertEqual(0, self.bench.aborted)
        self.bench.run(0.2)
        self.assertEqual(1, self.bench.aborted)

    def test_wait_longer(self) -> None:
        """With a connection through a relay there is no hurry."""
        self.start(relayed=True)
        self.server.wait_longer()
        self.bench.run(100)
        self.assertEqual(0, self.bench.aborted)

    def test_client_gives_up(self) -> None:
        """A client that gives up is told that we do, as often as it says so; whoever waits for it is told once."""
        self.start()
        for _ in range(3):
            self.assertAborted(self.ask(error=HandshakeCode.ABORTED, round=2))
        self.bench.run(60)
        self.assertEqual((1, None), (self.bench.aborted, self.bench.schedule.next_deadline()))

    def test_unstable(self) -> None:
        """A side that can't be told, whatever socket is taken, is given up."""
        self.start(UNKNOWN)
        self.assertAborted(self.ask())

    def test_other_socket(self) -> None:
        """Where another socket helps, the answer comes from that."""
        self.bench.know_somebody()
        self.start(UNKNOWN)
        arrival, first = self.arrive(), self.server.socket
        self.bench.run(1)
        self.assertEqual([], arrival.sealed)
        self.bench.sample(self.puncher, CONSISTENT)
        self.assertEqual((CONSISTENT, first + 1), (self.answer_to(arrival).firewall, self.answered_from))

    def test_close(self) -> None:
        """With a connection it is over: whatever still comes is not answered."""
        self.start()
        self.ask()
        self.server.close(self.bench.now)
        arrival = self.arrive()
        self.bench.run(60)
        self.assertEqual(([], [], 0), (arrival.sealed, self.bench.sockets, self.bench.aborted))
        self.assertIsNone(self.bench.schedule.next_deadline())

    def test_no_socket(self) -> None:
        """Where there is no socket, there is no hole punching."""
        self.bench = Bench(max_sockets=0)
        self.assertRaises(OSError, self.start)


class LiarTests(ServerCase):
    """Clients that say what they like."""

    def test_undecryptable(self) -> None:
        """What was not encrypted with the keys of this handshake is nobody's."""
        self.start()
        stranger = SecurePayload(bytes(64), SPACESWARM, Random(3)).encrypt(HolepunchPayload(error=1))
        for data in (b"", b"junk", bytes(60), stranger):
            arrival = self.arrive(data=data)
            self.assertEqual(([], False), (arrival.sealed, self.taken))
        self.assertEqual((4, 0, 0), (self.server.ignored, self.server.answered, self.bench.aborted))

    def test_replay(self) -> None:
        """A message that a node in between sends again and again is answered, and makes nothing happen twice."""
        self.start()
        token = self.ask().token
        payload = HolepunchPayload(
            round=1, punching=True, firewall=RANDOM, addresses=(CLIENT,), token=TOKEN, remote_token=token
        )
        sealed = self.theirs.encrypt(payload)
        self.arrive(data=sealed)
        under_way = len(self.bench.sockets), len(self.puncher.remote_addresses)
        for source in (RELAY, STRANGER) * 50:
            answer = self.answer_to(self.arrive(source, data=sealed))
            self.assertEqual((source == RELAY, TOKEN), (answer.token is not None, answer.remote_token))
        self.assertEqual(under_way, (len(self.bench.sockets), len(self.puncher.remote_addresses)))
        self.assertEqual(1, self.bench.punching.random_punches.under_way)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.tuples(payloads, st.booleans(), st.booleans(), st.sampled_from((0.0, 0.5, 5.0)))),
        st.sampled_from(Firewall),
        st.booleans(),
    )
    def test_anything(self, messages: list[Any], ours: Firewall, relayed: bool) -> None:
        """Whatever is said, each message has one answer at most, and it all comes to an end that leaves nothing."""
        self.setUp()
        self.start(ours, relayed=relayed)
        token: bytes | None = None
        for payload, trusted, echoes, pause in messages:
            if echoes:
                payload = payload._replace(remote_token=token)
            source = RELAY if trusted else STRANGER
            arrival = self.arrive(source, self.server.socket, data=self.theirs.encrypt(payload))
            self.bench.run(pause)
            self.assertLessEqual(len(arrival.sealed), 1)
            if arrival.sealed:
                token = self.answer_to(arrival).token or token
        self.bench.run(PATIENCE + 60)
        self.assertEqual(([], None), (self.bench.sockets, self.bench.schedule.next_deadline()))
        self.assertEqual((1, 0), (self.bench.aborted, self.bench.punching.random_punches.under_way))
