"""Streams whose packets are passed on: spaceswarm_proxy.udx.core."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.errors import StreamResetError
from spaceswarm_proxy.udx.packet import DATA, encode_header
from tests.udx.udx_vectors import TRANSCRIPTS
from tests.udx.world import HERE, THERE, End, Net, Place

RELAY = address_of("10.0.0.5", 1005)


class Bench(SynchronousTestCase):
    """Two ends that know each other over a relay only, which has a stream for each."""

    def setUp(self) -> None:
        self.net = Net()
        self.relay = Place(self.net, RELAY, 5)
        self.first, self.second = self.relay.create(11), self.relay.create(12)
        self.first.stream.relay_to(self.second.stream)
        self.second.stream.relay_to(self.first.stream)
        self.first.connect(HERE, 1001)
        self.second.connect(THERE, 2002)
        self.ours, self.theirs = self.net.here.create(1001), self.net.there.create(2002)
        self.ours.connect(RELAY, 11)
        self.theirs.connect(RELAY, 12)
        self.net.run(0)


class RelayTests(Bench):
    """What passes."""

    def test_both_ways(self) -> None:
        """The ends do not notice, with whatever is lost on the way; the relay says nothing of its own."""
        self.net.path.loss = 0.02
        for end, text in ((self.ours, b"x"), (self.theirs, b"y")):
            end.write(text * 200_000)
            end.end()
        self.net.run(30)
        for end, text in ((self.theirs, b"x"), (self.ours, b"y")):
            self.assertEqual((text * 200_000, None, True), (end.data, end.problem, end.closed))
        self.assertEqual([], self.first.told + self.second.told)
        received = len([data for _, source, data in self.net.sent if source != RELAY])
        self.assertLess(len(self.net.packets(RELAY)), received + 1)
        self.assertEqual(inf, self.relay.core.next_deadline())

    def test_heartbeats(self) -> None:
        """Signs of life are passed on, too, and answered by the other end."""
        self.ours.stream.set_keep_alive(1.0, self.net.now)
        self.net.run(1.5)
        self.assertEqual([HERE, RELAY, THERE, RELAY], [source for _, source, _ in self.net.sent])

    def test_destroy(self) -> None:
        """An end's destruction passes, and takes the relay's streams with it."""
        self.ours.destroy()
        self.net.run(1)
        self.assertIsInstance(self.theirs.problem, StreamResetError)
        self.assertEqual([["closed"]] * 2, [self.first.told, self.second.told])
        self.assertIsInstance(self.first.problem, StreamResetError)
        self.assertEqual(0, len(self.relay.core))
        self.net.run(30)
        self.assertTrue(self.net.is_at_rest())

    def test_destroyed_here(self) -> None:
        """When the relay lets go of one, the other has nowhere to pass anything on to; nobody is told a word."""
        self.second.destroy()
        self.net.run(1)
        self.assertIsInstance(self.first.problem, StreamResetError)
        self.assertEqual([], self.net.sent)
        self.assertEqual(0, len(self.relay.core._sources))

    def test_other_end_unknown(self) -> None:
        """What comes before the other end is known is lost."""
        third, fourth = self.relay.create(13), self.relay.create(14)
        third.stream.relay_to(fourth.stream)
        third.connect(HERE, 5)
        self.relay.receive(encode_header(DATA, 0, 13, 0, 0, 0) + b"x", HERE)
        self.net.run(1)
        self.assertEqual([], self.net.sent)

    def test_trains(self) -> None:
        """Packets that come at once are passed on one by one."""
        self.relay.receive_train([encode_header(DATA, 0, 11, 9, seq, 7) + b"x" for seq in range(3)], HERE)
        self.net.run(0)
        packets = self.net.packets(RELAY)
        self.assertEqual([(2002, 9, seq, 7) for seq in range(3)], [(p.id, p.window, p.seq, p.ack) for p in packets])
        self.assertEqual(3, self.relay.core.relayed)

    def test_learns_the_ends(self) -> None:
        """A relay may learn from the first packet where an end is, and pass that packet on already."""
        ends: list[End] = []
        for place, number, remote_id in ((HERE, 21, 3001), (THERE, 22, 3002)):

            def firewall(socket: int, source: bytes, now: float, place: bytes = place, id: int = remote_id) -> bool:
                ends[id - 3001].connect(source, id)
                return False

            ends.append(self.relay.accept(number, firewall))
        ends[0].stream.relay_to(ends[1].stream)
        ends[1].stream.relay_to(ends[0].stream)
        ours, theirs = self.net.here.create(3001), self.net.there.create(3002)
        ours.connect(RELAY, 21)
        theirs.connect(RELAY, 22)
        ours.write(b"hello")
        theirs.write(b"hello to you")
        self.net.run(5)
        self.assertEqual((b"hello", b"hello to you"), (theirs.data, ours.data))


class VectorTests(SynchronousTestCase):
    """What the reference passed on."""

    def test_transcript(self) -> None:
        """Each packet comes out as there, byte for byte; the destruction closes the stream that it came for."""
        transcript = TRANSCRIPTS["relay"]
        net = Net()
        first, second = net.here.create(11), net.here.create(12)
        places = {"A": address_of("10.0.0.3", 1001), "B": address_of("10.0.0.4", 2002)}
        first.stream.relay_to(second.stream)
        second.stream.relay_to(first.stream)
        first.connect(places["A"], 1001)
        second.connect(places["B"], 2002)
        for sent, received in zip(transcript["sent"], transcript["received"], strict=True):
            net.sent.clear()
            net.here.receive(bytes.fromhex(sent["hex"]), places[sent["from"]])
            net.run(0)
            self.assertEqual([bytes.fromhex(received["hex"])], [data for _, _, data in net.sent])
        self.assertIsInstance(first.problem, StreamResetError)
