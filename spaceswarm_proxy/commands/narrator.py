"""What a command tells the person at the keyboard: on standard error, standard output is for data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from spaceswarm_proxy.errors import AuthenticationError, ClosedError
from spaceswarm_proxy.interfaces import INetwork

#: Goes back to where the line begins, and wipes it.
WIPE = "\r\x1b[K"
#: Characters of a line of a terminal that does not say how many it has.
COLUMNS = 80


class Narrator:
    """Says a line at a time."""

    def __init__(self, prefix: str, quiet: bool = False, stream: TextIO | None = None) -> None:
        """
        :param prefix: who speaks.
        :param quiet: progress is not told.
        :param stream: by default standard error, as it is when something is said.
        """
        self._prefix = prefix
        self._quiet = quiet
        self._stream = stream
        # There is a line on the terminal that does not stay.
        self._passing = False

    def say(self, text: str) -> None:
        """Tell something that must be known."""
        self.clear()
        self._print(f"{self._prefix}: {text}\n")

    def progress(self, text: str) -> None:
        """Tell how it goes, unless that is not wanted."""
        if not self._quiet:
            self.say(text)

    def rewrite(self, text: str, otherwise: str | None) -> None:
        """
        Tell how it goes in a line that the next one takes the place of.

        :param text: as much of it is shown as there is room for: a line that has become two cannot be wiped.
        :param otherwise: what is told where that cannot be: not on a terminal.
        """
        stream = self._stream or sys.stderr
        if self._quiet:
            return
        if stream.isatty():
            self._print(WIPE + f"{self._prefix}: {text}"[: _columns(stream) - 1])
            self._passing = True
        elif otherwise is not None:
            self.say(otherwise)

    def clear(self) -> None:
        """Wipe that line, if there is one."""
        if self._passing:
            self._passing = False
            self._print(WIPE)

    def _print(self, text: str) -> None:
        # That nobody can read it is no reason to stop working.
        with suppress(OSError):
            print(text, end="", file=self._stream or sys.stderr, flush=True)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except OSError:
        return COLUMNS


def watch_link(network: INetwork, name: str, narrator: Narrator, refused: Callable[[Exception], None]) -> None:
    """
    Tell of the link to a network: that it is up, and once each time that it is not.

    :param name: what it leads to.
    :param refused: called if a proxy server does not want us, when it is no use to go on.
    """
    told = False

    def connected() -> None:
        nonlocal told
        told = False
        narrator.progress(f"connected to {name}")

    def disconnected(problem: Exception) -> None:
        nonlocal told
        if isinstance(problem, AuthenticationError):
            refused(problem)
        elif not told and not isinstance(problem, ClosedError):
            told = True
            narrator.progress(f"{str(problem).rstrip('.')}; trying again")

    network.events.on("connected", connected)
    network.events.on("disconnected", disconnected)
