"""The arguments that the commands of the DHT share, and the node that they describe."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.error import CannotListenError

from spaceswarm_proxy.codec.compact import MAX_UINT
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.options import add_seed, key_pair
from spaceswarm_proxy.crypto.profile import PROFILES, SPACESWARM, profile_named
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.ports import DEFAULT_PORT
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode

Value = TypeVar("Value")

#: The host that stands for all of this machine's.
ANY_HOST = "0.0.0.0"


def argument(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """:returns: the same for argparse, which then tells the user what a ``ValueError`` says."""

    def read(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as problem:
            raise ArgumentTypeError(str(problem)) from problem

    return read


def add_dht_options(parser: ArgumentParser, usual_port: bool = False) -> None:
    """
    The network, our place in it, and how it is told: for :func:`make_node`.

    :param usual_port: be where others expect a node, unless told otherwise.
    """
    add_node_options(parser, usual_port)
    add_json(parser)


def add_json(parser: ArgumentParser) -> None:
    """``--json``: for :class:`~spaceswarm_proxy.commands.output.Output`."""
    parser.add_argument("--json", action="store_true", help="for programs: an object a line on standard output")


def add_node_options(parser: ArgumentParser, usual_port: bool = False) -> None:
    """The same, for commands that tell people only."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--bootstrap",
        metavar="HOST:PORT",
        action="append",
        type=argument(BootstrapNode.parse),
        help="a node to begin with, also as IP@NAME:PORT; may be given several times; by default the profile's own",
    )
    group.add_argument("--profile", choices=tuple(PROFILES), default=SPACESWARM.name, help="the network's names")
    group.add_argument("--stream-label", metavar="LABEL", help="what encrypted streams are bound to, if not the usual")
    add_seed(group)
    group.add_argument(
        "--host", metavar="IP", type=argument(ip_address), default=ANY_HOST, help="the address of this machine to use"
    )
    usual = f"{DEFAULT_PORT} or one of the next, else any" if usual_port else "any"
    group.add_argument(
        "--port",
        metavar="NUMBER",
        type=argument(port),
        default=None if usual_port else 0,
        help=f"the UDP port to use; by default {usual}",
    )


def add_mutable(parser: ArgumentParser, number: str) -> None:
    """
    ``--mutable``, and ``--seq`` that goes with it: for :func:`sequence_number`.

    :param number: what that is.
    """
    parser.add_argument("--mutable", action="store_true", help="a value that its owner can replace")
    parser.add_argument("--seq", metavar="NUMBER", type=argument(natural_number), help=f"{number}; by default 0")


def sequence_number(options: Namespace) -> int:
    """:raises CommandError: a number was given for something that has none."""
    if options.seq is not None and not options.mutable:
        raise CommandError("--seq goes with --mutable: what is found by its hash has no number")
    return options.seq or 0


def ip_address(text: str) -> str:
    """:raises ValueError: not an IPv4 address."""
    address_of(text, 0)
    return text


def ip_and_port(text: str) -> HostPort:
    """:raises ValueError: not an IPv4 address and a port."""
    address = HostPort.parse(text)
    address_of(*address)
    return address


def port(text: str) -> int:
    """:raises ValueError: not 0 to 65535."""
    number = natural_number(text)
    if number > 0xFFFF:
        raise ValueError(f"{text!r} is not a port")
    return number


def natural_number(text: str) -> int:
    """:raises ValueError: not a number that the network knows."""
    # The digits are counted first: to read a million of them takes a while.
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_UINT):
        raise ValueError(f"{text!r} is not a number from 0 to {MAX_UINT}")
    return int(text)


def make_node(reactor: Any, options: Namespace, make: Callable[..., DHTNode] = DHTNode, **settings: Any) -> DHTNode:
    """
    The node that the user wants.

    :param make: makes it.
    :param settings: what the command itself decides, as for :class:`~spaceswarm_proxy.peering.node.DHTNode`.
    :raises CommandError: there can be no such node.
    """
    profile = profile_named(options.profile)
    if options.stream_label is not None:
        profile = profile.with_stream_label(options.stream_label)
    usual: dict[str, Any] = {
        "profile": profile,
        "bootstrap": None if options.bootstrap is None else [str(node) for node in options.bootstrap],
        "host": options.host,
        "port": options.port,
        "any_port": options.port is None,
        "key_pair": key_pair(options),
    }
    try:
        return make(reactor, **{**usual, **settings})
    except (CannotListenError, ValueError, OSError) as problem:
        raise CommandError(str(problem).rstrip(".")) from problem
