"""A file that is being received."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.commands import partial_file
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import Have
from spaceswarm_proxy.commands.partial_file import PIECE, PartialFile, hashed

CONTENT = b"some bytes"


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def nothing() -> None:
    """Nothing has happened."""


class PartialFileTests(SynchronousTestCase):
    """In a directory of its own."""

    def setUp(self) -> None:
        self.clock = Clock()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "file"
        self.partial_path = directory / "file.part"

    def look(self, partial: PartialFile, most: int = 100) -> Have:
        looking = Deferred.fromCoroutine(partial.look(self.clock, most, nothing))
        self.clock.pump([0] * 3)
        return self.successResultOf(looking)

    def test_new(self) -> None:
        """It has its name as soon as it is complete, and not before."""
        with PartialFile(self.path) as partial:
            self.assertEqual(Have(0, sha256(b"")), self.look(partial))
            partial.begin(0)
            partial.write(CONTENT[:4])
            partial.write(CONTENT[4:])
            self.assertEqual((sha256(CONTENT), False), (partial.sha256, self.path.exists()))
            partial.complete()
        self.assertEqual((CONTENT, False), (self.path.read_bytes(), self.partial_path.exists()))

    def test_goes_on(self) -> None:
        """What is there stays, and the rest comes after it."""
        self.partial_path.write_bytes(CONTENT[:6])
        with PartialFile(self.path) as partial:
            self.assertEqual(Have(6, sha256(CONTENT[:6])), self.look(partial))
            partial.begin(6)
            partial.write(CONTENT[6:])
            self.assertEqual(sha256(CONTENT), partial.sha256)
        self.assertEqual(CONTENT, self.partial_path.read_bytes())

    def test_begins_again(self) -> None:
        """If the sender wants that, nothing is left of what was there."""
        self.partial_path.write_bytes(bytes(50))
        with PartialFile(self.path) as partial:
            self.look(partial)
            partial.begin(0)
            partial.write(CONTENT)
            self.assertEqual(sha256(CONTENT), partial.sha256)
        self.assertEqual(CONTENT, self.partial_path.read_bytes())

    def test_another(self) -> None:
        """What is longer than the file is another one."""
        self.partial_path.write_bytes(bytes(50))
        with PartialFile(self.path) as partial:
            self.assertEqual(Have(0, sha256(b"")), self.look(partial, most=49))
            partial.begin(0)
        self.assertEqual(b"", self.partial_path.read_bytes())

    def test_discarded(self) -> None:
        """Nothing is kept of what turns out to be something else."""
        with PartialFile(self.path) as partial:
            partial.write(CONTENT)
            partial.discard()
        self.assertEqual([], os.listdir(self.path.parent))

    def test_taken(self) -> None:
        """What has come by that name meanwhile stays as it is; so does what is complete."""
        with PartialFile(self.path) as partial:
            self.look(partial)
            partial.begin(0)
            partial.write(CONTENT)
            self.path.write_bytes(b"other")
            self.assertRaises(CommandError, partial.complete)
        self.assertEqual([b"other", CONTENT], [self.path.read_bytes(), self.partial_path.read_bytes()])

    def test_no_links(self) -> None:
        """A file system without links will do."""

        def link(source: Path, target: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        self.patch(os, "link", link)
        with PartialFile(self.path) as partial:
            self.look(partial)
            partial.begin(0)
            partial.write(CONTENT)
            partial.complete()
        self.assertEqual((CONTENT, False), (self.path.read_bytes(), self.partial_path.exists()))

    def test_there(self) -> None:
        """A file that is there stays as it is; so does whatever a link points to."""
        self.path.write_bytes(b"old")
        self.assertRaises(CommandError, PartialFile, self.path)
        self.path.rename(self.path.with_name("other"))
        self.path.symlink_to("nowhere")
        self.assertRaises(CommandError, PartialFile, self.path)
        self.path.unlink()
        self.partial_path.symlink_to("other")
        self.assertRaises(CommandError, PartialFile, self.path)

    def test_two(self) -> None:
        """One receives it at a time."""
        with PartialFile(self.path):
            self.assertRaises(CommandError, PartialFile, self.path)
        with PartialFile(self.path):
            pass

    def test_full(self) -> None:
        """That the disk is full is told with the file's name, and what has come stays."""

        def full(descriptor: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with PartialFile(self.path) as partial:
            partial.write(CONTENT)
            self.patch(partial_file, "write_all", full)
            problem = self.assertRaises(CommandError, partial.write, b"more")
        self.assertEqual(f"cannot write {self.partial_path}: No space left on device", str(problem))
        self.assertEqual(CONTENT, self.partial_path.read_bytes())

    def test_large(self) -> None:
        """A large file is hashed in steps, between which others have their turn; they can end it."""
        turns: list[int] = []

        def check() -> None:
            turns.append(1)
            if len(turns) == 3:
                raise CommandError("enough")

        self.path.write_bytes(bytes(2 * PIECE))
        with open(self.path, "rb") as file:
            for wanted in (None, CommandError):
                hashing: Deferred[Any] = Deferred.fromCoroutine(hashed(self.clock, file, 10 * PIECE, check))
                self.assertNoResult(hashing)
                self.clock.pump([0] * 5)
                if wanted is None:
                    self.assertEqual(sha256(bytes(2 * PIECE)), self.successResultOf(hashing).digest())
                else:
                    self.failureResultOf(hashing, wanted)
