"""
Conversations of two streams of the reference, with one of them replaced by ours.

Where the specification leaves the choice, ours may say less, or later: it acknowledges once a turn.  What it says must
be what the other one said at some time, or must not be less.
"""

from __future__ import annotations

import re
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamResetError, StreamTimeoutError
from spaceswarm_proxy.udx.packet import DATA, DESTROY, END, HEARTBEAT, MESSAGE, Packet, parse
from spaceswarm_proxy.udx.stream import ACK_DELAY
from tests.udx.udx_vectors import PACKETS, TRANSCRIPTS, A, B, datagram_of
from tests.udx.world import THERE, End, Net

#: Milliseconds of the transcripts, in seconds.
MS = 0.001


def arrival_of(entry: dict[str, Any]) -> float:
    """:returns: when a packet arrived, in milliseconds; never, if it was lost."""
    if entry["fate"] == "dropped":
        return inf
    held_back = re.fullmatch(r"held back (\d+) ms", entry["fate"])
    return float(entry["t"]) + (int(held_back[1]) if held_back else 0)


class Replay(SynchronousTestCase):
    """One side is ours; the other one says what it said then."""

    def play(self, name: str, ours: str, first: int = 0, remote_first: int = 0, connected: bool = True) -> None:
        """:param ours: which side: ``A`` or ``B``."""
        self.transcript = TRANSCRIPTS[name]
        self.ours, self.net = ours, Net()
        self.began = self.net.now
        number, remote = (A, B) if ours == "A" else (B, A)
        if connected:
            self.end = self.net.here.create(number, first, remote_first)
            self.end.connect(THERE, remote)
        else:
            self.end = self.net.here.accept(number, lambda socket, source, now: False)
        self.net.run(0)

    def entries(self, until: float = inf, since: float = 0.0) -> list[dict[str, Any]]:
        """:returns: what was sent in that time, in milliseconds."""
        return [entry for entry in self.transcript["packets"] if since <= entry["t"] < until]

    def theirs(self, until: float = inf, since: float = 0.0) -> list[list[Packet]]:
        """Let the other side say what arrived in that time.  :returns: what ours said to each packet."""
        arrivals = [(arrival_of(entry), datagram_of(entry)) for entry in self.entries() if entry["dir"][0] != self.ours]
        answers = []
        for at, data in sorted(arrivals):
            if since <= at < until:
                self.go_to(at)
                before = len(self.net.sent)
                self.net.here.receive(data, THERE)
                self.net.run(ACK_DELAY)
                answers.append(self.said(before))
        return answers

    def go_to(self, milliseconds: float) -> None:
        """Let time pass up to then."""
        self.net.run(max(self.began + milliseconds * MS - self.net.now, 0.0))

    def said(self, since: int = 0) -> list[Packet]:
        """:returns: what ours has said, from that packet on."""
        packets = [parse(data) for _, _, data in self.net.sent[since:]]
        return [packet for packet in packets if packet is not None]

    def they_said(self, dir: str, until: float = inf, since: float = 0.0) -> list[Packet]:
        """:returns: what the side that ours replaces said then."""
        packets = [parse(datagram_of(entry)) for entry in self.entries(until, since) if entry["dir"] == dir]
        return [packet for packet in packets if packet is not None]


class ConversationTests(Replay):
    """``conversation``: greetings, last words, and both end."""

    def test_as_first(self) -> None:
        """What A says of its own is the same; so is the end."""
        self.play("conversation", "A")
        self.end.write(b"hello")
        self.net.run(0)
        self.theirs(until=60)
        self.go_to(63.1)
        self.end.write(b"last words")
        self.end.end()
        self.net.run(0)
        self.theirs(since=60)
        own = [packet for packet in self.they_said("A>B") if packet.flags]
        self.assertEqual(own, [packet for packet in self.said() if packet.flags])
        self.assertEqual(parse(bytes.fromhex(PACKETS["ack-of-end"]["hex"])), self.said()[-1])
        self.assertEqual((b"world", ["received", "ended", "closed"]), (self.end.data, self.end.told))
        self.assertIsNone(self.end.problem)

    def test_as_second(self) -> None:
        """What B answers in the same turn carries the acknowledgement."""
        self.play("conversation", "B")
        self.end.react = lambda word: self.end.write(b"world") and None if len(self.end.told) == 1 else None
        self.theirs(until=60)
        self.end.react = lambda word: self.end.end() if word == "ended" else None
        self.theirs(since=60)
        own = [packet for packet in self.they_said("B>A") if packet.flags]
        self.assertEqual(own, self.said())
        self.assertEqual(b"hellolast words", self.end.data)
        self.assertEqual((True, None), (self.end.closed, self.end.problem))


class LossTests(Replay):
    """``loss-and-sack``, ``mild-reorder`` and ``tail-loss``."""

    def test_ranges(self) -> None:
        """Every acknowledgement is that of the reference, range for range."""
        for name in ("loss-and-sack", "mild-reorder"):
            self.play(name, "B")
            answers = [answer for answers in self.theirs() for answer in answers]
            states = [packet for packet in self.they_said("B>A") if not packet.flags & END]
            self.assertEqual(states[:8], answers[:8])
            self.assertEqual("ended", self.end.told[-1])

    def test_repeats(self) -> None:
        """What was lost is sent again, as it was cut, in order; each once, and nothing else."""
        self.play("loss-and-sack", "A")
        self.end.write(b"x" * 9000)
        self.end.end()
        self.net.run(0)
        self.assertEqual(list(range(8)), [packet.seq for packet in self.said()])
        self.theirs(until=8)
        self.net.run(0.003)
        self.assertEqual([1, 4, 5], [packet.seq for packet in self.said()[8:]])
        self.assertEqual([self.said()[seq].payload for seq in (1, 4, 5)], [p.payload for p in self.said()[8:]])

    def test_waits_for_the_late(self) -> None:
        """Three that have come after it make a packet lost, where nothing was ever late; then it is."""
        self.play("mild-reorder", "A")
        self.end.write(b"x" * 9000)
        self.end.end()
        self.net.run(0)
        self.theirs(until=22)
        self.assertEqual([3], [packet.seq for packet in self.said()[8:]])
        self.theirs(since=22, until=24)
        self.assertLess(0.0, self.end.stream.sender._detector.tolerance)
        self.assertEqual(0, len(self.end.stream.sender.flights))

    def test_tail(self) -> None:
        """The last packet comes again about two round trips later."""
        self.play("tail-loss", "A")
        answers = [entry for entry in self.entries() if entry["dir"] == "B>A"]
        for number, at in enumerate((0.317, 50.918, 100.484, 151.057)):
            self.go_to(at)
            self.end.write(b"x%d" % number)
            self.net.run(0)
            self.go_to(arrival_of(answers[number]))
            self.net.here.receive(datagram_of(answers[number]), THERE)
            self.net.run(0)
        self.go_to(201.426)
        self.end.write(b"tail")
        self.net.run(0)
        self.go_to(263)
        self.assertEqual([0, 1, 2, 3, 4], [packet.seq for packet in self.said()])
        self.go_to(267)
        self.assertEqual([(4, b"tail")], [(packet.seq, packet.payload) for packet in self.said()[5:]])


class SmallTests(Replay):
    """The others."""

    def test_messages(self) -> None:
        """``messages``: both ways, the empty one too; nothing answers."""
        self.play("messages", "B")
        self.assertEqual([[], []], self.theirs())
        self.assertEqual([b"unordered", b""], self.end.messages)
        self.play("messages", "A")
        for message in (b"unordered", b""):
            self.end.stream.send_message(message)
        self.assertEqual(self.they_said("A>B"), self.said())
        self.assertEqual({MESSAGE}, {packet.flags for packet in self.said()})

    def test_destroy(self) -> None:
        """``destroy``: who destroys says so once; who hears it fails, and says nothing."""
        self.play("destroy", "B")
        self.assertEqual([self.they_said("B>A"), []], self.theirs())
        self.assertEqual(b"abc", self.end.data)
        self.assertIsInstance(self.end.problem, StreamResetError)
        self.play("destroy", "A")
        self.end.write(b"abc")
        self.net.run(0)
        self.theirs()
        self.end.destroy()
        self.net.run(0)
        self.assertEqual(self.they_said("A>B"), self.said())
        self.assertEqual(DESTROY, self.said()[-1].flags)

    def test_keep_alive(self) -> None:
        """``keepalive``: a heartbeat each period, a state for each."""
        self.play("keepalive", "B")
        self.assertEqual(self.they_said("B>A"), [answer for answers in self.theirs() for answer in answers])
        self.play("keepalive", "A")
        self.end.stream.set_keep_alive(0.04, self.net.now)
        self.go_to(125)
        self.assertEqual(self.they_said("A>B"), self.said())
        self.assertEqual({HEARTBEAT}, {packet.flags for packet in self.said()})

    def test_wrap(self) -> None:
        """``sequence-wrap``: acknowledgements and data across the end of the numbers."""
        self.play("sequence-wrap", "B", 0, 0xFFFFFFFE)
        answers = [answer for answers in self.theirs() for answer in answers]
        states = [packet for packet in self.they_said("B>A") if not packet.flags]
        self.assertEqual(states, answers[: len(states)])
        self.play("sequence-wrap", "A", 0xFFFFFFFE, 0)
        self.end.write(b"x" * 4000)
        self.end.end()
        self.net.run(0)
        self.theirs()
        data = [packet.seq for packet in self.they_said("A>B") if packet.flags]
        self.assertEqual(data, [packet.seq for packet in self.said() if packet.flags])
        self.assertEqual((True, None), (self.end.closed, self.end.problem))

    def test_early_data(self) -> None:
        """``early-data``: what comes before we connect is acknowledged once, when we do."""
        self.play("early-data", "B", connected=False)
        self.assertEqual([[]], self.theirs())
        self.go_to(40)
        self.end.connect(THERE, A)
        self.net.run(0)
        self.assertEqual((self.they_said("B>A"), b"early"), (self.said(), self.end.data))

    def test_zero_window(self) -> None:
        """``zero-window``: when and what is asked, and what follows when it opens."""
        self.play("zero-window", "A")
        self.end.write(b"fill")
        self.net.run(0)
        self.go_to(20)
        self.net.here.receive(bytes.fromhex(PACKETS["ack-zero-window"]["hex"]), THERE)
        self.net.run(0)
        self.go_to(51.7)
        self.end.write(b"blocked")
        self.go_to(3403)
        self.net.here.receive(bytes.fromhex(PACKETS["ack-window-open"]["hex"]), THERE)
        self.net.run(0)
        self.assertEqual(self.they_said("A>B"), self.said())
        times = [(at - self.began) / MS for at, _, _ in self.net.sent]
        for ours, theirs in zip(times, [entry["t"] for entry in self.transcript["packets"]], strict=True):
            self.assertLess(abs(ours - theirs), 2)

    def test_give_up(self) -> None:
        """``give-up``: after as long, with about as many repetitions."""
        self.play("give-up", "A")
        self.end.write(b"ping")
        self.net.run(0)
        self.theirs()
        self.go_to(100.7)
        self.end.write(b"never acknowledged")
        self.go_to(13_090)
        self.assertFalse(self.end.closed)
        self.go_to(13_120)
        self.assertIsInstance(self.end.problem, StreamTimeoutError)
        repeated = [packet for packet in self.said() if packet.flags & DATA and packet.seq == 1]
        self.assertLessEqual(len([p for p in self.they_said("A>B") if p.seq == 1]), len(repeated))

    def test_mtu_probes(self) -> None:
        """``mtu-search``: padded packets are taken as any, and the padding is no data."""
        self.play("messages", "B")
        probe = bytes.fromhex(PACKETS["mtu-probe"]["hex"])
        fields = PACKETS["mtu-probe"]["fields"]
        end = self.make_end(fields["seq"])
        self.net.here.receive(probe, THERE)
        self.net.run(0)
        self.assertEqual(fields["payload_length"], len(end.data))
        self.assertEqual(fields["seq"] + 1, self.said()[-1].ack)

    def make_end(self, remote_first: int) -> End:
        self.end.destroy()
        end = self.net.here.create(B, 0, remote_first)
        end.connect(THERE, A)
        return end

    def test_change_remote(self) -> None:
        """
        ``change-remote``: new packets go to the new place, and it is done when the old ones are acknowledged.

        Unlike the reference, ours repeats what was lost there too, with the new number: the old path may be gone.
        """
        received = TRANSCRIPTS["change-remote"]["received"]
        self.play("messages", "A")
        self.end.write(b"to the old")
        self.net.run(0)
        self.end.stream.change_remote(1, 3003, THERE, self.net.now)
        self.end.write(b"to the new")
        self.net.run(0)
        self.assertEqual(
            [bytes.fromhex(entry["hex"]) for entry in received[:2]], [data for _, _, data in self.net.sent]
        )
        self.net.run(2)
        self.assertNotIn("moved", self.end.told)
        self.assertEqual({3003}, {packet.id for packet in self.said(2)})
        self.assertIn(0, [packet.seq for packet in self.said(2)])
        self.net.here.receive(bytes.fromhex(PACKETS["ack"]["hex"]), THERE)
        self.net.run(0)
        self.assertEqual(["moved"], self.end.told)
