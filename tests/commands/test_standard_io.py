"""Reading and writing of what a command is given."""

from __future__ import annotations

import os
import tempfile

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from spaceswarm_proxy.commands.standard_io import flags_restored, read_all, write_all
from tests.commands.support import reactor


class PipeCase(TestCase):
    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(self.end)

    def end(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1


class ReadAllTests(PipeCase):
    """What comes in."""

    async def test_to_the_end(self) -> None:
        """All of it is read, and the end is the end."""
        write_all(self.writing, b"some ")
        reading = read_all(self.reading, 100, reactor)
        write_all(self.writing, b"text")
        self.end()
        self.assertEqual(b"some text", await reading)

    async def test_enough(self) -> None:
        """Who sends for ever is not read for ever."""
        write_all(self.writing, b"x" * 200)
        self.assertLessEqual(100, len(await read_all(self.reading, 100, reactor)))

    async def test_file(self) -> None:
        """A regular file is as good."""
        with tempfile.TemporaryFile() as file:
            os.write(file.fileno(), b"some text")
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            with flags_restored(file.fileno()):
                self.assertEqual(b"some text", await read_all(file.fileno(), 100, reactor))

    async def test_cancelled(self) -> None:
        """Who does not want to wait any longer leaves nothing in the reactor."""
        reading = read_all(self.reading, 100, reactor)
        reading.cancel()
        await self.assertFailure(reading, CancelledError)
        self.assertNotIn(self.reading, [reader.fileno() for reader in reactor.getReaders()])


class WriteAllTests(PipeCase):
    """What goes out."""

    def test_at_once(self) -> None:
        """What is written is there."""
        write_all(self.writing, b"some text")
        self.assertEqual(b"some text", os.read(self.reading, 100))

    def test_nobody_reads(self) -> None:
        """That nobody reads it any more is told."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.close(reading)
        self.assertRaises(BrokenPipeError, write_all, writing, b"some text")
