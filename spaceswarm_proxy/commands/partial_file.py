"""A file that is being received: under a name of its own until it is complete, so that it can be gone on with."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.task import deferLater

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import Have
from spaceswarm_proxy.commands.standard_io import write_all

SUFFIX = ".part"
#: Bytes that are hashed at a time, some two milliseconds; the network has its turn in between.
PIECE = 1024 * 1024


async def hashed(reactor: Any, file: BinaryIO, count: int, check: Callable[[], None]) -> Any:
    """
    Hash the beginning of a file without keeping the network waiting.

    :param count: bytes, or fewer if the file has fewer.
    :param check: called now and then; what it raises ends it.
    :returns: what ``hashlib`` has for it.
    """
    file.seek(0)
    digest = hashlib.sha256()
    while count:
        piece = file.read(min(PIECE, count))
        if not piece:
            break
        digest.update(piece)
        count -= len(piece)
        await deferLater(reactor, 0, check)
    return digest


class PartialFile:
    """A context manager; whatever of the file has come stays there when the body fails."""

    def __init__(self, path: Path) -> None:
        """
        Open what there is of it, or begin.

        :param path: the file's, when it is complete.
        :raises CommandError: there is such a file, or somebody else is receiving it, or it cannot be written.
        """
        self.path = path
        self.partial_path = path.with_name(path.name + SUFFIX)
        if os.path.lexists(path):
            raise self._taken()
        #: Bytes that are there.
        self.size = 0
        self._digest = hashlib.sha256()
        with ExitStack() as closing:
            descriptor = self._open()
            self._file: BinaryIO = closing.enter_context(os.fdopen(descriptor, "r+b", buffering=0))
            self._lock()
            closing.pop_all()

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _open(self) -> int:
        try:
            return os.open(self.partial_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _taken(self) -> CommandError:
        return CommandError(f"{self.path} is there already")

    def _unwritable(self, problem: OSError) -> CommandError:
        return CommandError(f"cannot write {self.partial_path}: {problem.strerror}")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise CommandError(f"{self.partial_path} is being received by somebody else") from problem

    @property
    def sha256(self) -> bytes:
        """Of the bytes that are there."""
        return self._digest.digest()

    async def look(self, reactor: Any, most: int, check: Callable[[], None]) -> Have:
        """
        Read what there is of it.

        :param most: a file with more bytes than these is another one, and none of it is of use.
        :param check: as for :func:`hashed`.
        """
        size = os.fstat(self._file.fileno()).st_size
        self.size = size if size <= most else 0
        self._digest = await hashed(reactor, self._file, self.size, check)
        return Have(self.size, self.sha256)

    def begin(self, offset: int) -> None:
        """
        Go on.

        :param offset: where: at the end of what is there, or at 0, which forgets that.
        """
        if offset != self.size:
            self.size, self._digest = 0, hashlib.sha256()
        self._file.truncate(self.size)
        self._file.seek(self.size)

    def write(self, data: bytes) -> None:
        """
        Add something.

        :raises CommandError: there is no room for it, or it cannot be written.
        """
        try:
            write_all(self._file.fileno(), data)
        except OSError as problem:
            raise self._unwritable(problem) from problem
        self._digest.update(data)
        self.size += len(data)

    def complete(self) -> None:
        """
        Give it its name.

        :raises CommandError: something else has that meanwhile.
        """
        try:
            os.link(self.partial_path, self.path)
        except FileExistsError as problem:
            raise self._taken() from problem
        except OSError:  # there are no links in this file system
            os.rename(self.partial_path, self.path)
        else:
            os.unlink(self.partial_path)

    def discard(self) -> None:
        """Keep nothing of it."""
        os.unlink(self.partial_path)
