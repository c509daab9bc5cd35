"""Standard input and output, without blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError

STDIN = 0
STDOUT = 1


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
