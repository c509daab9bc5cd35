"""What a mux has to say: :mod:`spaceswarm_proxy.peering.protomux_output`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.peering.protomux_output import MuxOutput
from spaceswarm_proxy.peering.protomux_wire import Message, read_messages


class OutputTests(SynchronousTestCase):
    """Messages, put together."""

    def setUp(self) -> None:
        self.wakes = 0
        self.output = MuxOutput(self.woken)

    def woken(self) -> None:
        self.wakes += 1

    def test_alone(self) -> None:
        """What is written alone is a message of the stream, and somebody is woken for it."""
        message = Message(1, 2, b"three")
        self.output.write(message)
        self.assertEqual(([message.encode()], 1), (self.output.fetch(), self.wakes))
        self.assertEqual([], self.output.fetch())

    def test_batch(self) -> None:
        """A batch is one message, batches inside it are part of it, and nobody is woken before its end."""
        with self.output.batch():
            self.output.write(Message(1, 0, b"a"))
            with self.output.batch():
                self.output.write(Message(2, 0, b"b"))
            self.assertEqual(([], 0), (self.output.fetch(), self.wakes))
        [data] = self.output.fetch()
        self.assertEqual([Message(1, 0, b"a"), Message(2, 0, b"b")], list(read_messages(data)))
        self.assertEqual(1, self.wakes)

    def test_much(self) -> None:
        """What is too much for one batch becomes several, in order, none of them long."""
        written = [Message(number % 3 + 1, 0, bytes([number % 256]) * 50) for number in range(5000)]
        with self.output.batch():
            for message in written:
                self.output.write(message)
        output = self.output.fetch()
        self.assertEqual(written, [message for data in output for message in read_messages(data)])
        self.assertLess(max(map(len, output)), 33 * 1024)
        self.assertLess(len(output), 12)

    def test_large(self) -> None:
        """A large message is not made larger by others."""
        large = Message(1, 0, bytes(60_000))
        with self.output.batch():
            for message in (Message(1, 0, b"a"), large, Message(1, 0, b"b")):
                self.output.write(message)
        self.assertEqual(large.encode(), self.output.fetch()[1])

    def test_closed(self) -> None:
        """After the end nothing is added; what was there can be fetched."""
        self.output.write(Message(1, 0, b"a"))
        self.output.close()
        self.output.write(Message(1, 0, b"b"))
        self.assertEqual([Message(1, 0, b"a").encode()], self.output.fetch())
