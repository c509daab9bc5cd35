"""A server, and those who flood it: :mod:`spaceswarm_proxy.peering.listener`."""

from __future__ import annotations

from unittest import mock

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto import noise
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.peering.admission import AdmissionLimits
from spaceswarm_proxy.peering.server_handshake import CLEAR_WAIT, INITIAL_TIMEOUT
from tests.crypto.connect_vectors import CLIENT
from tests.peering.door import CLIENT_ADDRESS, OPEN, OTHER_RELAY, RELAY, Door, Knock

#: Small enough to be reached in a test.
LIMITS = AdmissionLimits(
    max_pending=20, max_pending_of_host=8, rate_of_host=2, burst_of_host=10, rate=10, burst=40
)  # fmt: skip


def client(number: int) -> bytes:
    """A client's address, on a host of its own."""
    return bytes((88, 0, number >> 8, number & 255)) + b"\x01\x01"


def port(number: int) -> bytes:
    """One of the addresses of a single host."""
    return bytes((88, 1, 1, 1)) + (number + 1).to_bytes(2, "little")


class FloodTests(SynchronousTestCase):
    """More handshakes than anybody can want."""

    def setUp(self) -> None:
        self.door = Door(limits=LIMITS)

    def assertBounded(self) -> None:
        """Nothing there is more than the limits allow."""
        pending, sockets, streams = self.door.left
        self.assertLessEqual(pending, LIMITS.max_pending)
        self.assertLessEqual(sockets, LIMITS.max_pending)
        self.assertLessEqual(streams, LIMITS.max_pending + len(self.door.log.connections))

    def test_many_hosts(self) -> None:
        """However many come, so many are attended to, the rest hears nothing; when they have gone there is room."""
        for number in range(100):
            self.door.relayed(Knock().message, client(number))
            self.assertBounded()
        self.assertEqual(LIMITS.max_pending, len(self.door.answers()))
        self.door.run(INITIAL_TIMEOUT + 1)
        self.door.relayed(Knock().message, client(200))
        self.assertEqual(1, len(self.door.answers()))

    def test_one_host(self) -> None:
        """One host has its share, whatever its ports, and others are served all the same."""
        for number in range(50):
            self.door.relayed(Knock().message, port(number))
        self.assertEqual(LIMITS.max_pending_of_host, len(self.door.answers()))
        self.door.relayed(Knock().message, client(1))
        self.assertEqual(1, len(self.door.answers()))

    def test_unheard(self) -> None:
        """Clients that come by themselves are believed to be there, but not many whom nobody has heard."""
        for number in range(100):
            self.door.direct(Knock().message, client(number))
        self.assertEqual(LIMITS.max_pending, len(self.door.log.connections))

    def test_heard(self) -> None:
        """Those that were heard leave room for others of their host, up to what everybody may have."""
        for number in range(100):
            self.door.direct(Knock().message, port(number))
            for connection in self.door.log.connections:
                self.door.listener.heard(connection)
        self.assertEqual(LIMITS.burst, len(self.door.log.connections))

    def test_rate(self) -> None:
        """Even handshakes that come to something at once are not more than so many a second; nor is what is kept."""
        most = LIMITS.burst_of_host
        for second in range(30):
            for number in range(20):
                self.door.direct(Knock().message, port(number))
            self.door.run(1)
            self.assertLessEqual(len(self.door.log.connections), most + LIMITS.rate_of_host * (second + 1))
            self.assertLessEqual(len(self.door.listener), most + LIMITS.rate_of_host * (CLEAR_WAIT + 1))

    def test_cheap(self) -> None:
        """What is refused costs no cryptography; nor does what is repeated."""
        knocks = [Knock().message for _ in range(40)]
        with mock.patch.object(noise, "diffie_hellman", wraps=noise.diffie_hellman) as agreed:
            for message in knocks:
                self.door.direct(message)
            needed = agreed.call_count
            self.assertLessEqual(needed, 4 * LIMITS.burst_of_host)
            for message in (*knocks, *knocks):
                self.door.direct(message)
            self.assertEqual(needed, agreed.call_count)

    def test_strangers_stories(self) -> None:
        """Whoever is no relay of ours cannot name another client each time: it is all the same host's."""
        for number in range(50):
            self.door.relayed(Knock().message, client(number), OTHER_RELAY)
        self.assertEqual(LIMITS.max_pending_of_host, len(self.door.answers()))
        self.door.relayed(Knock().message, client(1))
        self.assertEqual(1, len(self.door.answers()))

    def test_second_relays_stories(self) -> None:
        """Nor can it by sending to a relay of ours, as if it were another: that relay says whom it has heard."""
        for number in range(50):
            value = PeerHandshake(Mode.FROM_SECOND_RELAY, Knock().message, client(number), OTHER_RELAY)
            self.door.handshake(value, RELAY)
        self.assertEqual(LIMITS.max_pending_of_host, len(self.door.answers()))

    def test_garbage(self) -> None:
        """Messages that are none leave nothing behind, and have their rate as well."""
        with mock.patch.object(noise, "diffie_hellman", wraps=noise.diffie_hellman) as agreed:
            for number in range(100):
                # The key is a good one, so that it comes to the second operation.
                self.door.direct(KeyPair.from_seed(bytes([number] * 32)).public_key + bytes(100), port(number))
            self.assertLessEqual(agreed.call_count, 2 * LIMITS.burst_of_host)
        self.assertEqual(((0, 0, 0), 0, []), (self.door.left, len(self.door.listener), self.door.answers()))

    def test_refused(self) -> None:
        """Those whom the firewall refuses do not stand in the way of others."""
        keys = [KeyPair.from_seed(bytes([number] * 32)) for number in range(100, 130)]

        def firewall(key, payload, address, decide, now):  # type: ignore[no-untyped-def]
            decide(key != CLIENT.public_key, now)

        door = Door(limits=LIMITS, firewall=firewall)
        for number, key in enumerate(keys):
            door.relayed(Knock(key).message, client(number))
        door.relayed(Knock(CLIENT).message, client(100))
        self.assertEqual((1, 1), (len(door.answers()), door.listener.admission.pending))

    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.floats(0, 15)), max_size=40))
    def test_nothing_leaks(self, steps: list[tuple[int, int, bool, float]]) -> None:
        """Whatever comes when: it is bounded all the time, and in the end nothing is left but connections."""
        door = self.door = Door(limits=LIMITS)
        knocks = [Knock(), Knock(firewall=OPEN), Knock(version=2), Knock(udx=None)]
        for kind, way, fresh, pause in steps:
            knock = Knock(firewall=OPEN if kind == 1 else 0) if fresh and kind < 2 else knocks[kind]
            if way == 0:
                door.direct(knock.message)
            else:
                door.relayed(knock.message, CLIENT_ADDRESS, (RELAY, OTHER_RELAY)[way - 1])
            self.assertBounded()
            door.run(pause)
        door.run(INITIAL_TIMEOUT + CLEAR_WAIT + 1)
        self.assertEqual((0, 0, len(door.log.connections)), door.left)
        self.assertEqual((0, 0), (len(door.listener), len(door.host.peering.room.punching)))
        self.assertEqual({}, door.listener.admission._pending_of_host)


class LifeTests(SynchronousTestCase):
    """Suspending a server."""

    def test_suspended(self) -> None:
        """A server that is suspended hears nothing, and what was under way comes to nothing; connections stay."""
        door = Door()
        waiting, open_ = Knock(), Knock(firewall=OPEN)
        door.relayed(waiting.message)
        door.relayed(open_.message)
        told: list[float] = []
        door.listener.suspend(told.append, door.world.now)
        self.assertEqual((0, 0, 1), door.left)
        door.take_sent()
        door.relayed(Knock().message)
        self.assertEqual([], door.answers())
        door.run(5)
        self.assertEqual(1, len(told))
        door.listener.resume(door.world.now)
        door.relayed(Knock().message)
        self.assertEqual(1, len(door.answers()))

    def test_closed(self) -> None:
        """A closed server does not come back."""
        door = Door()
        door.log.close()
        door.listener.suspend(lambda now: None, door.world.now)
        door.listener.resume(door.world.now)
        door.relayed(Knock().message)
        self.assertEqual([], door.answers())
