"""The client's side of hole punching: :mod:`spaceswarm_proxy.peering.holepunch_client`."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.commands import PEER_HOLEPUNCH
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHolepunch
from spaceswarm_proxy.dht.message import Request, encode_response
from spaceswarm_proxy.errors import (
    BadHolepunchReplyError,
    DoubleRandomizedError,
    HolepunchAbortedError,
    HolepunchInvalidError,
    HolepunchProbeTimeoutError,
    RemoteAbortedError,
    RemoteNotHolepunchableError,
    RemoteNotHolepunchingError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.holepunch_client import HolepunchClient, PunchTarget
from spaceswarm_proxy.peering.holepunch_payload import HolepunchPayload, SecurePayload
from spaceswarm_proxy.peering.noise_payload import Firewall, HandshakeCode, HolepunchInfo, RelayPair
from spaceswarm_proxy.peering.puncher import LOW_TTL
from tests.peering.bench import OURS, THEIRS, Bench
from tests.peering.test_holepunch_payload import payloads

UNKNOWN, OPEN, CONSISTENT, RANDOM = Firewall
HASH, KEY_HASH, TOKEN = bytes(range(64)), bytes(range(32)), bytes(32)
#: Two nodes, and the server's ordinary socket as they see it.
FIRST, SECOND = (RelayPair(address_of(f"10.0.0.{number}", 49737), THEIRS[number]) for number in (1, 2))
SERVER, OTHER_SOCKET = THEIRS[0], THEIRS[8]


class ClientCase(SynchronousTestCase):
    """A client; the test is the nodes in between, and the server."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.problem: SpaceswarmError | None = None
        self.theirs = SecurePayload(HASH, SPACESWARM, Random(2))

    def start(self, ours: Firewall = CONSISTENT, relay: RelayPair = FIRST, **options: Any) -> HolepunchClient:
        """:returns: a client that knows what it is behind, its first message sent."""
        info = HolepunchInfo(5, (FIRST, SECOND))
        target = PunchTarget(KEY_HASH, relay.relay_address, SERVER, UNKNOWN, info)
        secure = SecurePayload(HASH, SPACESWARM, Random(1))
        self.client = HolepunchClient(
            self.bench.punching, target, secure, self.bench._connected, self._failed, **options
        )  # fmt: skip
        self.client.start(self.bench.now)
        self.bench.sample(self.client.puncher, ours)
        return self.client

    def _failed(self, problem: SpaceswarmError, now: float) -> None:
        self.assertIsNone(self.problem)
        self.assertEqual(self.bench.now, now)
        self.problem = problem

    def message(self) -> HolepunchPayload:
        """:returns: what it has sent since the last call, once or over and over, and only that."""
        sent = {request.tid: (socket, to, request) for socket, to, request in self.bench.take_requests(PEER_HOLEPUNCH)}
        [(self.socket, self.asked, self.request)] = sent.values()
        self.assertEqual(KEY_HASH, self.request.target)
        self.value = PeerHolepunch.parse(self.request.value)
        self.assertEqual((Mode.FROM_CLIENT, 5), (self.value.mode, self.value.id))
        return self.theirs.decrypt(self.value.payload)

    def answer(self, **fields: Any) -> None:
        """The server answers the message that was read last."""
        self.answer_with(self.theirs.encrypt(HolepunchPayload(**fields)))

    def answer_with(self, payload: bytes, mode: int = Mode.REPLY, peer_address: bytes | None = SERVER) -> None:
        self.respond(self.request, PeerHolepunch(mode, 0, payload, peer_address).encode())

    def respond(self, request: Request, value: bytes | None) -> None:
        response = encode_response(request.tid, OURS[0], None, None, b"", 0, value)
        self.bench.alone.receive(response, self.asked, self.socket)

    def assertFailed(self, kind: type[SpaceswarmError]) -> None:
        """It has failed with this, and nothing is left of it."""
        self.assertIs(kind, type(self.problem))
        self.bench.run(60)
        self.assertEqual(([], None), (self.bench.sockets, self.bench.schedule.next_deadline()))
        self.assertEqual(0, self.bench.punching.random_punches.under_way)


class ProbeTests(ClientCase):
    """The first round."""

    def test_message(self) -> None:
        """It opens our own side for the server, and asks through the node that both know."""
        self.start()
        payload = self.message()
        self.assertEqual([(self.bench.now, self.socket, SERVER, LOW_TTL)], self.bench.punches)
        self.assertEqual((FIRST.relay_address, FIRST.peer_address), (self.asked, self.value.peer_address))
        self.assertEqual(HolepunchPayload(remote_address=SERVER), payload)

    def test_relay(self) -> None:
        """It is the node of the handshake, if the server vouches for it, else the first that it does."""
        for relay, chosen in ((SECOND, SECOND), (RelayPair(address_of("10.0.0.9", 9), SERVER), FIRST)):
            self.start(relay=relay)
            self.message()
            self.assertEqual((chosen.relay_address, chosen.peer_address), (self.asked, self.value.peer_address))

    def test_without_fast_open(self) -> None:
        """Where the server is not to send at once, it is not told that it may, and nothing is opened."""
        self.start(fast_open=False)
        self.assertIsNone(self.message().remote_address)
        self.assertEqual([], self.bench.punches)

    def test_unknown(self) -> None:
        """A server that does not know yet is given a second, and is asked once more."""
        self.start()
        self.message()
        self.answer(firewall=UNKNOWN, token=TOKEN)
        self.bench.run(0.9)
        self.assertEqual([], self.bench.take_requests(PEER_HOLEPUNCH))
        self.bench.run(0.1)
        payload = self.message()
        self.assertEqual((1, CONSISTENT, (OURS[0],)), (payload.round, payload.firewall, payload.addresses))
        self.answer(firewall=UNKNOWN, token=TOKEN)
        self.bench.run(1)
        self.assertEqual(HandshakeCode.ABORTED, self.message().error)
        self.answer(error=HandshakeCode.ABORTED)
        self.assertFailed(HolepunchProbeTimeoutError)

    def test_no_token(self) -> None:
        """Without a token it is asked once more, and then done without."""
        self.start()
        self.message()
        self.answer(firewall=CONSISTENT)
        self.assertFalse(self.message().punching)
        self.answer(firewall=CONSISTENT)
        payload = self.message()
        self.assertEqual((True, None), (payload.punching, payload.remote_token))

    def test_other_socket(self) -> None:
        """Where another socket helps, the server is asked once more, from that."""
        self.bench.know_somebody()
        self.start(UNKNOWN)
        self.message()
        first = self.socket
        self.answer(firewall=CONSISTENT, token=TOKEN)
        self.bench.run(1)
        self.bench.sample(self.client.puncher, CONSISTENT)
        payload = self.message()
        self.assertEqual((1, False, CONSISTENT), (payload.round, payload.punching, payload.firewall))
        self.assertEqual(first + 1, self.socket)

    def test_both_random(self) -> None:
        """Where no other socket helps it is given up, and the server is told, whatever it says to that."""
        self.bench = Bench(max_sockets=1)
        self.start(RANDOM)
        self.message()
        self.answer(firewall=RANDOM, token=TOKEN)
        payload = self.message()
        self.assertEqual((HandshakeCode.ABORTED, UNKNOWN, 1), (payload.error, payload.firewall, payload.round))
        self.answer_with(b"junk")
        self.assertFailed(DoubleRandomizedError)

    def test_abort_is_not_answered(self) -> None:
        """The server that is told need not be there any more."""
        self.bench = Bench(max_sockets=1)
        self.start(RANDOM)
        self.message()
        self.answer(firewall=RANDOM, token=TOKEN)
        self.bench.run(10)
        self.assertFailed(DoubleRandomizedError)

    def test_fast(self) -> None:
        """The server may come through before it has answered; then nothing more is said."""
        self.start()
        self.message()
        self.bench.punching.received(SERVER, self.socket, self.bench.now)
        self.assertEqual([(self.socket, SERVER)], self.bench.connected)
        self.answer(error=HandshakeCode.ABORTED)
        self.bench.run(60)
        self.assertEqual(([], None), (self.bench.take_requests(PEER_HOLEPUNCH), self.problem))
        self.assertEqual([self.socket], self.bench.sockets)
        self.client.close(self.bench.now)
        self.assertEqual([], self.bench.sockets)


class PunchTests(ClientCase):
    """The second round."""

    def punch(self, ours: Firewall = CONSISTENT, theirs: Firewall = CONSISTENT, **options: Any) -> HolepunchPayload:
        """:returns: the message that asks the server to punch."""
        self.start(ours, **options)
        self.message()
        self.answer(firewall=theirs, addresses=(SERVER,), token=TOKEN)
        return self.message()

    def test_message(self) -> None:
        """It tells what we are, and sends the token back, with one of our own, to the server's new socket."""
        payload = self.punch()
        self.assertEqual((True, CONSISTENT, (OURS[0],)), (payload.punching, payload.firewall, payload.addresses))
        self.assertEqual((TOKEN, 1, None), (payload.remote_token, payload.round, payload.remote_address))
        self.assertIsNotNone(payload.token)
        self.assertEqual((FIRST.relay_address, SERVER), (self.asked, self.value.peer_address))

    def test_agreed(self) -> None:
        """Once the server has agreed we send to its addresses; those of the host that the token reached, often."""
        payload = self.punch()
        self.bench.punches.clear()
        other = address_of("3.3.3.3", 3)
        self.answer(
            firewall=CONSISTENT, punching=True, addresses=(THEIRS[3], other), remote_token=payload.token, round=1
        )
        self.bench.run(2.5)
        self.assertEqual([THEIRS[3]] * 3, [address for _, _, address, _ in self.bench.punches])
        self.bench.run(60)
        self.assertFailed(HolepunchAbortedError)

    def test_token_of_somebody_else(self) -> None:
        """A token that is not ours, or is that of another message, verifies nothing."""
        for token in (None, bytes(32), TOKEN):
            self.punch(CONSISTENT, RANDOM)
            self.answer(firewall=RANDOM, punching=True, addresses=(SERVER,), remote_token=token)
            self.assertFailed(RemoteNotHolepunchableError)
            self.setUp()

    def test_frozen(self) -> None:
        """What the server was told stays so."""
        self.punch()
        for number, address in enumerate(OURS[1:]):
            self.client.puncher.sampled(address, address_of("8.8.8.8", 1 + number), self.bench.now)
        self.assertEqual(
            (CONSISTENT, (OURS[0],)), (self.client.puncher.firewall, self.client.puncher.samples.addresses)
        )

    def test_other_socket(self) -> None:
        """A server that has taken another socket is looked for there."""
        self.start()
        self.message()
        self.bench.punches.clear()
        sealed = self.theirs.encrypt(HolepunchPayload(firewall=CONSISTENT, addresses=(SERVER,), token=TOKEN))
        self.answer_with(sealed, peer_address=OTHER_SOCKET)
        self.message()
        self.assertEqual([(OTHER_SOCKET, LOW_TTL)], [(address, ttl) for _, _, address, ttl in self.bench.punches])
        self.assertEqual(OTHER_SOCKET, self.value.peer_address)

    def test_refusals(self) -> None:
        """A server that does not want to, or can't be reached, is given up."""
        for fields, kind in (
            ({"error": HandshakeCode.ABORTED}, RemoteAbortedError),
            ({"error": HandshakeCode.TRY_LATER}, RemoteAbortedError),
            ({"error": 99}, RemoteAbortedError),
            ({"addresses": (SERVER,)}, RemoteNotHolepunchingError),
            ({"punching": True}, RemoteNotHolepunchableError),
        ):
            self.punch()
            self.answer(firewall=CONSISTENT, **fields)
            self.assertFailed(kind)
            self.setUp()

    def test_turn(self) -> None:
        """The turn for random ports is taken when the server is asked, and given back if it refuses."""
        self.punch(CONSISTENT, RANDOM)
        self.assertEqual(1, self.bench.punching.random_punches.under_way)
        self.answer(error=HandshakeCode.ABORTED)
        self.assertFailed(RemoteAbortedError)
        self.assertTrue(self.bench.punching.random_punches.allowed(self.bench.now))

    def test_later(self) -> None:
        """With a relay a server that puts us off is asked again, through its own node, as long as it does so."""
        payload = self.punch(CONSISTENT, RANDOM, relay=SECOND, relayed=True)
        for _ in range(3):
            self.answer(error=HandshakeCode.TRY_LATER, firewall=RANDOM, addresses=(SERVER,), remote_token=payload.token)
            payload = payload._replace(token=None)
            self.bench.run(9.9)
            self.assertEqual([], self.bench.take_requests(PEER_HOLEPUNCH))
            until = self.bench.now + 10.2
            while not self.bench.requests and self.bench.now < until:
                self.bench.run(0.1)
            again = self.message()
            self.assertEqual((True, None, TOKEN), (again.punching, again.token, again.remote_token))
            self.assertEqual((SECOND.relay_address, SECOND.peer_address), (self.asked, self.value.peer_address))
        self.answer(firewall=RANDOM, punching=True, addresses=(SERVER,))
        self.assertTrue(self.client.puncher.punching)

    def test_close(self) -> None:
        """Once it is closed, whatever comes is nobody's."""
        self.punch(CONSISTENT, RANDOM)
        self.client.close(self.bench.now)
        self.answer(error=HandshakeCode.ABORTED)
        self.bench.run(60)
        self.assertEqual(
            (None, [], 0), (self.problem, self.bench.sockets, self.bench.punching.random_punches.under_way)
        )


class LiarTests(ClientCase):
    """Nodes and servers that say what they like."""

    def test_no_answer(self) -> None:
        """What is no answer of the server's ends the attempt, and says what it was."""
        sealed = self.theirs.encrypt(HolepunchPayload())
        stranger = SecurePayload(bytes(64), SPACESWARM, Random(3)).encrypt(HolepunchPayload())
        for value, kind in (
            (None, BadHolepunchReplyError),
            (b"\xff", BadHolepunchReplyError),
            (PeerHolepunch(Mode.FROM_SERVER, 0, sealed, SERVER).encode(), BadHolepunchReplyError),
            (PeerHolepunch(Mode.REPLY, 0, stranger, SERVER).encode(), HolepunchInvalidError),
            (PeerHolepunch(Mode.REPLY, 0, b"", SERVER).encode(), HolepunchInvalidError),
            (PeerHolepunch(Mode.REPLY, 0, sealed[:-1], SERVER).encode(), HolepunchInvalidError),
        ):
            self.start()
            self.message()
            self.respond(self.request, value)
            self.assertFailed(kind)
            self.setUp()

    def test_somebody_else(self) -> None:
        """An answer from somewhere else is none."""
        self.start()
        self.message()
        self.asked = SECOND.relay_address
        self.answer(error=HandshakeCode.ABORTED)
        self.assertIsNone(self.problem)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(payloads | st.binary(max_size=60), max_size=6), st.sampled_from(Firewall), st.booleans())
    def test_anything(self, answers: list[HolepunchPayload | bytes], ours: Firewall, relayed: bool) -> None:
        """Whatever is answered, it ends with an error of ours, or goes on until it is closed; little is sent."""
        self.setUp()
        self.start(ours, relayed=relayed)
        for answer in answers:
            requests = self.bench.take_requests(PEER_HOLEPUNCH)
            if requests:
                self.socket, self.asked, self.request = requests[-1]
                sealed = answer if isinstance(answer, bytes) else self.theirs.encrypt(answer)
                self.answer_with(sealed, peer_address=OTHER_SOCKET)
            self.bench.run(11)
        self.client.close(self.bench.now)
        self.bench.run(60)
        self.assertEqual(([], None), (self.bench.sockets, self.bench.schedule.next_deadline()))
        self.assertEqual(0, self.bench.punching.random_punches.under_way)
        self.assertLess(len(self.bench.punches), 4000)
