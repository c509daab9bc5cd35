"""Standard input and output, without blocking."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.process import ProcessReader
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError

STDIN = 0
STDOUT = 1
STDERR = 2


def occupy() -> None:
    """
    Let no file or socket of ours have the numbers of standard input, output and error, should these be closed.

    What is there instead can be neither read nor written: whoever uses them notices that they are closed.
    """
    for number, flags in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, flags)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


@contextmanager
def flags_restored(*descriptors: int) -> Iterator[None]:
    """
    Leave file descriptors as they were.

    ``StandardIO`` makes them non-blocking, which holds for everybody who shares them: the shell, and its next program.

    :raises CommandError: one is not open.
    """
    try:
        before = {descriptor: os.get_blocking(descriptor) for descriptor in descriptors}
    except OSError as problem:
        raise CommandError("standard input and output must be open") from problem
    try:
        yield
    finally:
        for descriptor, blocking in before.items():
            os.set_blocking(descriptor, blocking)


def attach(protocol: IProtocol, stdin: int, stdout: int, reactor: Any) -> StandardIO:
    """Connect a protocol to two file descriptors; these may also be regular files."""
    return StandardIO(protocol, stdin, stdout, reactor)  # type: ignore[call-arg]


def detach(standard_io: StandardIO) -> None:
    """Read and write no more, whatever was still to be written; it may be over already."""
    if not standard_io.disconnected:
        standard_io.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]


def close_output(descriptor: int) -> None:
    """Let whoever reads it see the end.  The number stays in use, so that nothing else gets it by chance."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)


def write_all(descriptor: int, data: bytes) -> None:
    """
    Write at once, if need be by waiting for whoever reads it.

    :raises OSError: it cannot be written; ``BrokenPipeError`` when nobody reads it any more.
    """
    while data:
        data = data[os.write(descriptor, data) :]


def read_all(descriptor: int, limit: int, reactor: Any) -> Deferred[bytes]:
    """
    Read to the end, or as far as is wanted.

    :param limit: bytes after which the rest is left.
    :returns: a Deferred of the bytes, which may be a few more; it fails with ``OSError``.
    """
    return _Input(descriptor, limit, reactor).whole


class _Input:
    """Gathers what is read."""

    def __init__(self, descriptor: int, limit: int, reactor: Any) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._reader.stopReading())
        self._data = b""
        self._limit = limit
        self._reader: Any = ProcessReader(reactor, self, "read", descriptor)

    def childDataReceived(self, name: str, data: bytes) -> None:
        self._data += data
        if len(self._data) >= self._limit and not self.whole.called:
            self._reader.stopReading()
            self.whole.callback(self._data)

    def childConnectionLost(self, name: str, reason: Failure) -> None:
        if not self.whole.called:
            self.whole.callback(self._data) if reason.check(ConnectionDone) else self.whole.errback(reason)
