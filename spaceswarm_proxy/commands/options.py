"""The arguments that commands share."""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint

from spaceswarm_proxy import topics
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.crypto.keys import SEED_LENGTH, KeyPair
from spaceswarm_proxy.endpoint_strings import DEFAULT_PROXY
from spaceswarm_proxy.proxy.client import ProxyNetwork


def add_logging_options(parser: ArgumentParser) -> None:
    """What is told on standard error."""
    group = parser.add_argument_group("messages")
    group.add_argument("-q", "--quiet", action="store_true", help="tell only of failures")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log on standard error; -vv logs more")


def add_topic(parser: ArgumentParser) -> None:
    """The topic that the command is about: ``topic``, 32 bytes."""
    parser.add_argument("topic", metavar="TOPIC", type=topics.topic, help="64 hex digits, or any text")


def add_proxy_options(parser: ArgumentParser) -> None:
    """How to reach the network through a proxy server: for :func:`make_network`."""
    group = parser.add_argument_group("proxy server")
    group.add_argument(
        "--proxy",
        metavar="ENDPOINT",
        action="append",
        help=f"where the server is, as a Twisted client endpoint: {DEFAULT_PROXY} (the default), ws:HOST:PORT,"
        " tls:HOST:PORT, unix:PATH; given again: another one to try when that fails",
    )
    group.add_argument("--token-file", metavar="FILE", type=Path, help="a file with the token that the server asks for")
    add_seed(group)


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


def make_network(reactor: Any, options: argparse.Namespace) -> ProxyNetwork:
    """
    The network behind the proxy server that the user named.

    :raises CommandError: an endpoint or a file is not what it should be.
    """
    endpoints = [_endpoint(reactor, text) for text in options.proxy or [DEFAULT_PROXY]]
    return ProxyNetwork(endpoints, key_pair=key_pair(options), token=_token(options), reactor=reactor)


def _endpoint(reactor: Any, text: str) -> IStreamClientEndpoint:
    try:
        return clientFromString(reactor, text)
    # A parser, ours or another's, is called with what the text says: its wrong names and numbers are TypeErrors.
    except (ValueError, TypeError, LookupError, OSError) as problem:
        raise CommandError(f"--proxy {text}: not a client endpoint: {problem}") from problem


def key_pair(options: Namespace) -> KeyPair | None:
    """
    Whom the user wants to be; ``None`` for somebody new.

    :raises CommandError: the file with the seed is not one.
    """
    value = options.seed
    if options.seed_file is not None:
        try:
            value = seed(_read(options.seed_file))
        except ArgumentTypeError as problem:
            raise CommandError(f"{options.seed_file}: {problem}") from problem
    return None if value is None else KeyPair.from_seed(value)


def _token(options: Namespace) -> bytes | None:
    return None if options.token_file is None else _read(options.token_file).encode()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CommandError(f"cannot read {path}: {problem}") from problem


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
