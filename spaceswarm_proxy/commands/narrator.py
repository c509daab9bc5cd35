"""What a command tells the person at the keyboard: on standard error, standard output is for data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from spaceswarm_proxy.errors import AuthenticationError, ClosedError
from spaceswarm_proxy.interfaces import INetwork


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

    def say(self, text: str) -> None:
        """Tell something that must be known."""
        # That nobody can read it is no reason to stop working.
        with suppress(OSError):
            print(f"{self._prefix}: {text}", file=self._stream or sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """Tell how it goes, unless that is not wanted."""
        if not self._quiet:
            self.say(text)


def watch_link(network: INetwork, narrator: Narrator, refused: Callable[[Exception], None]) -> None:
    """
    Tell of the link to the proxy server: that it is up, and once each time that it is not.

    :param refused: called if the server does not want us, when it is no use to go on.
    """
    told = False

    def connected() -> None:
        nonlocal told
        told = False
        narrator.progress("connected to the proxy server")

    def disconnected(problem: Exception) -> None:
        nonlocal told
        if isinstance(problem, AuthenticationError):
            refused(problem)
        elif not told and not isinstance(problem, ClosedError):
            told = True
            narrator.progress(f"{str(problem).rstrip('.')}; trying again")

    network.events.on("connected", connected)
    network.events.on("disconnected", disconnected)
