"""The arguments that commands share."""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from spaceswarm_proxy import topics
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.keys import SEED_LENGTH, KeyPair
from spaceswarm_proxy.errors import ConnectTimeoutError


def add_logging_options(parser: ArgumentParser) -> None:
    """What is told on standard error."""
    group = parser.add_argument_group("messages")
    group.add_argument("-q", "--quiet", action="store_true", help="tell only of failures")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log on standard error; -vv logs more")


def add_topic(parser: ArgumentParser) -> None:
    """The topic that the command is about: ``topic``, 32 bytes."""
    parser.add_argument("topic", metavar="TOPIC", type=topics.topic, help="64 hex digits, or any text")


def add_seed(group: argparse._ArgumentGroup) -> None:
    """Who to be on the network: for :func:`key_pair`."""
    who = group.add_mutually_exclusive_group()
    who.add_argument(
        "--seed", metavar="HEX", type=seed, help="64 hex digits: who to be on the network; by default somebody new"
    )
    who.add_argument("--seed-file", metavar="FILE", type=Path, help="a file with the seed, where others cannot see it")


def add_timeout(parser: ArgumentParser, until: str, otherwise: str = "keep trying") -> None:
    """
    ``--timeout``, seconds: for :func:`in_time`.

    :param until: what must have come about by then.
    :param otherwise: what is done without it.
    """
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help=f"give up if {until} in this time; by default, {otherwise}"
    )


def seed(text: str) -> bytes:
    """:raises ArgumentTypeError: not 64 hex digits."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != SEED_LENGTH:
        raise ArgumentTypeError(f"a seed has {2 * SEED_LENGTH} hex digits")
    return value


def seconds(text: str) -> float:
    """:raises ArgumentTypeError: not a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def key_pair(options: Namespace) -> KeyPair | None:
    """
    Whom the user wants to be; ``None`` for somebody new.

    :raises CommandError: the file with the seed is not one.
    """
    value = options.seed
    if options.seed_file is not None:
        try:
            value = seed(read_text(options.seed_file))
        except ArgumentTypeError as problem:
            raise CommandError(f"{options.seed_file}: {problem}") from problem
    return None if value is None else KeyPair.from_seed(value)


def read_text(path: Path) -> str:
    """
    Read a short text, without blanks at its ends.

    :raises CommandError: there is none.
    """
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(f"cannot read {path}: {problem}") from problem


def within(
    seconds: float | None, connecting: Deferred[IProtocol], reactor: Any, what: str = "no stream was open"
) -> Deferred[IProtocol]:
    """
    Give a connection attempt up when it takes too long.

    :param seconds: ``None`` for as long as it takes.
    :param what: what did not come about, for the user.
    :returns: the same Deferred, which fails with ``ConnectTimeoutError`` then.
    """

    def too_late(result: IProtocol | Failure, seconds: float) -> IProtocol:
        if isinstance(result, Failure):
            raise ConnectTimeoutError(f"{what} in {seconds:g} s") from result.value
        return result

    return connecting if seconds is None else connecting.addTimeout(seconds, reactor, too_late)


async def in_time(waiting: Deferred[None], options: Namespace, reactor: Any, what: str) -> None:
    """
    Wait for something no longer than ``--timeout`` says.

    :param what: what did not come about, for the user.
    :raises CommandError: it is too late.
    """
    if options.timeout is not None:
        waiting.addTimeout(options.timeout, reactor)
    try:
        await waiting
    except TimeoutError as problem:
        raise CommandError(f"{what} in {options.timeout:g} s") from problem
