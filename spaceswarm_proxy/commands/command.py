"""What a command is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from spaceswarm_proxy.errors import SpaceswarmError


@dataclass(frozen=True, slots=True)
class Command:
    """One of the things that ``spaceswarm`` does."""

    name: str
    #: One line for the list of commands.
    summary: str
    #: Gives its parser the arguments that it takes.
    add_arguments: Callable[[ArgumentParser], None]
    #: Does it, given a reactor and the arguments; returns the exit status.  Cancelled, it cleans up and ends.
    run: Callable[[Any, Namespace], Coroutine[Any, Any, int]]
    #: For its own help: what it is good for, with examples.
    description: str
    #: It goes on until it is told to leave: SIGTERM is then no failure.
    stays: bool = False


class CommandError(Exception):
    """A command cannot go on; the text is for the user, without a traceback."""

    def __init__(self, text: str, code: str = SpaceswarmError.code) -> None:
        """:param code: the same for programs, as in :mod:`spaceswarm_proxy.errors`."""
        super().__init__(text)
        self.code = code
