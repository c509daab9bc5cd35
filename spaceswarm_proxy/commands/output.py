"""What a command of the DHT tells: people in words, programs an object a line."""

from __future__ import annotations

import json
from argparse import Namespace

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.commands.standard_io import write_all
from spaceswarm_proxy.errors import SpaceswarmError

#: A value of an event.
Field = str | int | float | bool | None | list[str]


class Output:
    """
    Results go to standard output, all else to standard error; with ``--json`` both are objects on standard output.

    Each is written at once.  A standard output that cannot be written to is an ``OSError``.
    """

    def __init__(self, options: Namespace, stdout: int) -> None:
        """:param options: those of the DHT."""
        #: For what programs need not know.
        self.narrator = Narrator(options.command.name, options.quiet or options.json)
        self._json = options.json
        self._stdout = stdout

    def news(self, event: str, text: str, **fields: Field) -> None:
        """
        Something has happened.

        :param event: what, for programs; so are the fields.
        :param text: the same for people.
        """
        if self._json:
            self._write_event(event, fields)
        else:
            self.narrator.progress(text)

    def event(self, event: str, **fields: Field) -> None:
        """Something has happened that only programs are told in this way."""
        if self._json:
            self._write_event(event, fields)

    def result(self, event: str, data: str | bytes, **fields: Field) -> None:
        """
        What the command is for.

        :param data: for people, or for the next program in a pipeline: a line without its end, or bytes as they are.
        """
        if self._json:
            self._write_event(event, fields)
        else:
            write_all(self._stdout, data if isinstance(data, bytes) else f"{data}\n".encode())

    def failed(self, problem: BaseException, **fields: Field) -> None:
        """
        Something has failed; people are told by somebody else.

        :param fields: what else programs should know.
        """
        if self._json:
            code = problem.code if isinstance(problem, CommandError | SpaceswarmError) else SpaceswarmError.code
            told: dict[str, Field] = {"code": code, "message": str(problem)}
            reference_code = getattr(problem, "reference_code", "")
            if reference_code:
                told["reference_code"] = reference_code
            self._write_event("error", {**told, **fields})

    def _write_event(self, event: str, fields: dict[str, Field]) -> None:
        write_all(self._stdout, json.dumps({"event": event, **fields}).encode() + b"\n")
