"""
The ``spaceswarm`` command line.

:data:`COMMANDS` is all that there is; a new command is a file with a ``COMMAND``, and a line there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from twisted.internet import task

from spaceswarm_proxy import __version__
from spaceswarm_proxy.commands import (
    announce,
    chat,
    connect,
    demo,
    forward,
    get,
    listen,
    lookup,
    node,
    ping,
    pipe,
    put,
    receive,
    relay,
    send,
)
from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.options import add_logging_options
from spaceswarm_proxy.commands.standard_io import occupy
from spaceswarm_proxy.commands.supervisor import begin_logging, supervise

#: In the order of the help.
COMMANDS: tuple[Command, ...] = (
    demo.COMMAND,
    chat.COMMAND,
    pipe.COMMAND,
    send.COMMAND,
    receive.COMMAND,
    forward.COMMAND,
    listen.COMMAND,
    connect.COMMAND,
    lookup.COMMAND,
    announce.COMMAND,
    put.COMMAND,
    get.COMMAND,
    ping.COMMAND,
    node.COMMAND,
    relay.COMMAND,
)


def make_parser() -> argparse.ArgumentParser:
    """:returns: what understands the command line; its result has the chosen :class:`Command` as ``command``."""
    parser = argparse.ArgumentParser(
        prog="spaceswarm",
        description="Everyday things on the Spaceswarm and Hyperswarm peer-to-peer networks.",
        epilog="'spaceswarm COMMAND --help' tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"spaceswarm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.set_defaults(command=command)
        command.add_arguments(own)
        add_logging_options(own)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run a command to its end.

    :param argv: its name and arguments; by default those of the process.
    :raises SystemExit: always: 0 all went well, 1 it did not, 2 the command line is wrong, 130 interrupted.
    """
    occupy()
    options = make_parser().parse_args(argv)
    begin_logging(options.verbose)
    task.react(supervise, (options,))
