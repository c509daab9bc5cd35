"""What a command is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any


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


class CommandError(Exception):
    """A command cannot go on; the text is for the user, without a traceback."""
