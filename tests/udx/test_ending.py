"""How streams end: spaceswarm_proxy.udx.stream, seen from both ends."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import StreamResetError, StreamTimeoutError
from spaceswarm_proxy.udx.notes import NOTE_TIME
from spaceswarm_proxy.udx.packet import DATA, DESTROY, END, HEARTBEAT, MASK, encode_header
from spaceswarm_proxy.udx.stream import LINGER
from tests.udx.world import HERE, THERE, End, Net


class Bench(SynchronousTestCase):
    """Two ends."""

    def setUp(self) -> None:
        self.net = Net()
        self.ours, self.theirs = self.net.couple()

    def assert_clean(self) -> None:
        """Both have ended well, and nothing is left."""
        self.net.run(1)
        for end in (self.ours, self.theirs):
            self.assertEqual((True, None), (end.closed, end.problem))
            self.assertEqual(["ended", "closed"], [word for word in end.told if word in ("ended", "closed")])
        self.assertTrue(self.net.is_at_rest())

    def flags(self, source: bytes | None = None) -> list[int]:
        """:returns: of the packets that were sent."""
        return [packet.flags for packet in self.net.packets(source)]


class CleanTests(Bench):
    """Both ends end."""

    def test_one_after_the_other(self) -> None:
        """After its end, an end still receives; after that of the other, it still sends."""
        self.ours.write(b"question")
        self.ours.end()
        self.net.run(0.1)
        self.assertEqual((b"question", ["received", "ended"]), (self.theirs.data, self.theirs.told))
        self.assertFalse(self.ours.closed)
        for _ in range(5):
            self.theirs.write(b"answer")
            self.net.run(0.1)
        self.assertEqual(b"answer" * 5, self.ours.data)
        self.theirs.end()
        self.assert_clean()

    def test_with_the_last_data(self) -> None:
        """The end rides on the last data that is written in the same turn."""
        self.ours.write(b"last words")
        self.ours.end()
        self.net.run(1)
        self.assertEqual([DATA | END], self.flags(HERE))

    def test_at_once(self) -> None:
        """Both may end at the same time."""
        self.ours.end()
        self.theirs.end()
        self.assert_clean()

    def test_at_once_with_data(self) -> None:
        """With data on the way in both directions, too."""
        for end in (self.ours, self.theirs):
            end.write(b"x" * 100_000)
            end.end()
        self.assert_clean()
        self.assertEqual({100_000}, {len(self.ours.data), len(self.theirs.data)})

    def test_lost_end(self) -> None:
        """An end that is lost is sent again, as data is."""
        self.net.path.dead = True
        self.ours.end()
        self.net.run(0.5)
        self.net.path.dead = False
        self.theirs.end()
        self.net.run(5)
        self.assert_clean()

    def test_writing_after_it(self) -> None:
        """What is written after the end is thrown away."""
        self.ours.write(b"all")
        self.ours.end()
        self.ours.write(b"too late")
        self.net.run(0.1)
        self.ours.write(b"much too late")
        self.theirs.end()
        self.assert_clean()
        self.assertEqual(b"all", self.theirs.data)


class LastWordTests(Bench):
    """The last acknowledgement is lost (there is no TIME_WAIT in the reference)."""

    def lose_last_word(self) -> None:
        """Theirs has ended; ours ends, and hears of it, but theirs does not hear that."""
        self.ours.end()
        self.net.run(1)
        self.theirs.end()
        self.net.run(0.011)
        self.assertTrue(self.ours.closed)
        self.net.path.dead = True
        self.net.run(0.1)
        self.net.path.dead = False

    def test_note(self) -> None:
        """Who has closed answers for some seconds, though the stream is gone."""
        self.lose_last_word()
        self.assertEqual(0, len(self.net.here.core))
        self.net.run(2)
        self.assert_clean()

    def test_note_answers_questions_only(self) -> None:
        """Nor is anything said to what asks for no answer; or for an answer after that time."""
        self.lose_last_word()
        self.net.run(2)
        core, before = self.net.here.core, len(self.net.sent)
        said = {flags: encode_header(flags, 0, 1, 0, 5, 0) for flags in (0, DATA, END, 8, DESTROY, HEARTBEAT)}
        answered = []
        for flags, data in said.items():
            core.receive(memoryview(data), 20, 20, THERE, 1, self.net.now)
            if len(self.net.sent) > before:
                answered.append(flags)
                before = len(self.net.sent)
        core.turn(self.net.now)
        self.assertEqual([DATA, END, HEARTBEAT], answered)
        self.net.now += NOTE_TIME
        core.receive(memoryview(said[END]), 20, 20, THERE, 1, self.net.now)
        core.turn(self.net.now)
        self.assertEqual(before, len(self.net.sent))

    def test_without_note(self) -> None:
        """Where only our end is not acknowledged, a silent remote that has ended has just left before us."""
        self.lose_last_word()
        self.net.here.core._notes.clear()
        self.net.run(20)
        self.assert_clean()


class DestroyTests(Bench):
    """One end has enough."""

    def test_told(self) -> None:
        """The other one is told, and answers nothing; who destroys is told nothing."""
        self.ours.destroy()
        self.net.run(1)
        self.assertEqual(([], ["closed"]), (self.ours.told, self.theirs.told))
        self.assertIsInstance(self.theirs.problem, StreamResetError)
        self.assertEqual([DESTROY], self.flags())
        self.assertTrue(self.net.is_at_rest())

    def test_what_came_before(self) -> None:
        """What has come before it is told first, even in the same turn."""
        self.ours.write(b"abc")
        self.net.run(0)
        self.ours.destroy()
        self.net.run(1)
        self.assertEqual((b"abc", ["received", "closed"]), (self.theirs.data, self.theirs.told))
        self.assertIsInstance(self.theirs.problem, StreamResetError)

    def test_number(self) -> None:
        """It carries the number of the next packet."""
        self.ours.write(b"x" * 3000)
        self.net.run(1)
        self.ours.destroy()
        packet = self.net.packets(HERE)[-1]
        self.assertEqual((DESTROY, 3), (packet.flags, packet.seq))

    def test_lost(self) -> None:
        """Who has not heard it is told again when it says something."""
        self.net.path.dead = True
        self.ours.destroy()
        self.net.path.dead = False
        self.theirs.write(b"are you there?")
        self.net.run(1)
        self.assertIsInstance(self.theirs.problem, StreamResetError)

    def test_old(self) -> None:
        """One with a number of before is ignored; one of any later number is not."""
        for seq in (MASK, 1 << 31):
            self.net.there.receive(encode_header(DESTROY, 0, 2, 0, seq, 0), HERE)
            self.net.run(0)
            self.assertFalse(self.theirs.closed)
        self.net.there.receive(encode_header(DESTROY, 0, 2, 0, 5_000_000, 0), HERE)
        self.net.run(0)
        self.assertTrue(self.theirs.closed)

    def test_before_connecting(self) -> None:
        """A stream that knows nobody is just gone."""
        end = self.net.here.create()
        end.write(b"unsent")
        end.destroy()
        end.connect(THERE, 5)
        self.net.run(1)
        self.assertEqual(([], []), (end.told, self.net.sent))

    def test_unsent(self) -> None:
        """What was not sent, or not acknowledged, is let go of."""
        self.ours.write(bytes(1_000_000))
        self.net.run(0)
        self.ours.destroy()
        sender = self.ours.stream.sender
        self.assertEqual((0, 0), (sender.queue.length, len(sender.flights)))


class CloseTests(Bench):
    """One end reads no more (``loseConnection``)."""

    def test_waits_for_its_data(self) -> None:
        """It is told that it is over when all that it wrote has arrived."""
        self.ours.write(b"x" * 100_000)
        self.ours.stream.close()
        self.net.run_until(lambda: self.ours.closed)
        self.assertEqual((100_000, None), (len(self.theirs.data), self.ours.problem))

    def test_remote_still_sends(self) -> None:
        """What the remote still sends is thrown away; but it may, for a while."""
        self.theirs.write(b"x" * 10_000_000)
        self.net.run(0.1)
        before = len(self.ours.data)
        self.ours.stream.close()
        self.net.run(1)
        self.assertEqual(before, len(self.ours.data))
        self.assertEqual((True, None), (self.ours.closed, self.ours.problem))
        self.assertEqual(0, self.ours.stream.receiver.unread)
        self.theirs.end()
        self.net.run(5)
        self.assertEqual((True, None), (self.theirs.closed, self.theirs.problem))
        self.assertTrue(self.net.is_at_rest())

    def test_remote_does_not_end(self) -> None:
        """Not for ever."""
        self.ours.stream.close()
        self.net.run(LINGER - 0.1)
        self.assertFalse(self.theirs.closed)
        self.net.run(0.2)
        self.assertIsInstance(self.theirs.problem, StreamResetError)
        self.assertTrue(self.net.is_at_rest())

    def test_remote_has_ended(self) -> None:
        """If the remote has ended already, that is all."""
        self.theirs.end()
        self.net.run(1)
        self.ours.stream.close()
        self.assert_clean()

    def test_does_not_hear(self) -> None:
        """Who has closed hears of no data, message or end any more."""
        self.theirs.write(b"data")
        self.theirs.stream.send_message(b"message")
        self.theirs.end()
        self.net.run(0)
        self.ours.stream.close()
        self.net.run(1)
        self.assertEqual(["closed"], self.ours.told)


class TimeoutTests(Bench):
    """The other end is gone."""

    def lose(self) -> float:
        """:returns: seconds until ours has given up."""
        self.ours.write(b"ping")
        self.net.run(1)
        self.net.path.dead = True
        self.ours.write(b"never acknowledged")
        return self.net.run_until(lambda: self.ours.closed)

    def test_gives_up(self) -> None:
        """After thirteen seconds of silence it is over, with ten packets or so sent in vain."""
        self.assertLess(abs(13.0 - self.lose()), 0.1)
        self.assertIsInstance(self.ours.problem, StreamTimeoutError)
        data = [packet for packet in self.net.packets(HERE) if packet.flags & DATA and packet.seq == 1]
        self.assertLess(7, len(data))
        self.assertLess(len(data), 13)

    def test_tells_the_other(self) -> None:
        """An end that has been given up is told so when it is heard again."""
        self.lose()
        self.net.path.dead = False
        self.theirs.write(b"here I am")
        self.net.run(1)
        self.assertIsInstance(self.theirs.problem, StreamResetError)
        self.assertTrue(self.net.is_at_rest())

    def test_idle(self) -> None:
        """Who has nothing to say does not notice."""
        self.net.path.dead = True
        self.net.run(1000)
        self.assertEqual((False, False), (self.ours.closed, self.theirs.closed))

    def test_goes_on(self) -> None:
        """Just before that, the path comes back: nothing is lost."""
        self.ours.write(b"ping")
        self.net.run(1)
        self.net.path.dead = True
        self.ours.write(b"pong")
        self.net.run(11)
        self.net.path.dead = False
        self.net.run(2)
        self.assertEqual((b"pingpong", False), (self.theirs.data, self.ours.closed))


class ReactTests(SynchronousTestCase):
    """Owners that do something at each word that they are told."""

    ACTIONS: dict[str, Callable[[End], object]] = {
        "write": lambda end: end.write(b"y" * 2000),
        "end": lambda end: end.end(),
        "close": lambda end: end.stream.close(),
        "destroy": lambda end: end.destroy(),
        "message": lambda end: end.stream.send_message(b"z"),
        "write and end": lambda end: (end.write(b"y"), end.end()),
        "end and destroy": lambda end: (end.end(), end.destroy()),
    }
    WORDS = ("received", "message", "ended", "drained", "moved", "closed")

    def test_anything(self) -> None:
        """Whatever an owner does at whatever word, all ends, and nothing is told after the end."""
        for word in self.WORDS:
            for name, action in self.ACTIONS.items():
                net = Net()
                ours, theirs = net.couple()

                def react(
                    told: str, word: str = word, ours: End = ours, action: Callable[[End], object] = action
                ) -> None:
                    if told == word:
                        action(ours)

                ours.react = react
                self.converse(net, ours, theirs)
                self.assertTrue(net.is_at_rest(), (word, name))
                silent = "destroy" in name and word in ours.told
                self.assertEqual(not silent or word == "closed", ours.closed, (word, name))

    def converse(self, net: Net, ours: End, theirs: End) -> None:
        """Let each word be told, if nothing comes in between."""
        ours.stream.change_remote(1, theirs.stream.id, THERE, net.now)
        theirs.write(b"x" * 5000)
        theirs.stream.send_message(b"m")
        ours.write(bytes(300_000))
        net.run(1)
        theirs.end()
        net.run(1)
        ours.end()
        net.run(30)


class LeavingTests(Bench):
    """A remote that answers our end by leaving, without an end of its own."""

    def leave(self) -> None:
        """Our end arrives, and the remote leaves."""
        self.net.run(0.1)
        self.theirs.stream.destroy(self.net.now)
        self.net.run(0.1)

    def test_closed(self) -> None:
        """Who has closed, and reads no more, has what was wanted: all has arrived."""
        self.ours.write(b"last words")
        self.ours.stream.close()
        self.leave()
        self.assertEqual((True, None), (self.ours.closed, self.ours.problem))

    def test_half_closed(self) -> None:
        """Who still reads cannot know whether something is missing."""
        self.ours.write(b"question")
        self.ours.end()
        self.leave()
        self.assertIsInstance(self.ours.problem, StreamResetError)

    def test_not_all_has_arrived(self) -> None:
        """Who has closed, with something under way, learns that it is lost."""
        self.ours.write(b"last words")
        self.ours.stream.close()
        self.theirs.stream.destroy(self.net.now)
        self.net.run(0.1)
        self.assertIsInstance(self.ours.problem, StreamResetError)
