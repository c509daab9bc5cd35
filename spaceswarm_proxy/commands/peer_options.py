"""The arguments of the commands that open streams to peers."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.dht_options import argument, natural_number, port
from spaceswarm_proxy.interfaces import HostPort, PeerAddress

#: Where a TCP port is, if nothing else is said.
LOOPBACK = "127.0.0.1"
#: Streams at once, unless told otherwise: each takes a file descriptor, and a process has 1,024 as a rule.
MAX_STREAMS = 500


def add_ways(group: argparse._ActionsContainer) -> None:
    """The ways to a peer."""
    group.add_argument(
        "--relay-through",
        metavar="KEY[,KEY]",
        type=argument(keys),
        default=(),
        help="blind relays, one of which carries the stream while there is no direct way",
    )
    group.add_argument("--no-local", action="store_true", help="do without addresses in the local network")


def add_max_streams(parser: ArgumentParser, when: str = "") -> None:
    """
    ``--max-streams``.

    :param when: it matters.
    """
    parser.add_argument(
        "--max-streams",
        metavar="NUMBER",
        type=argument(natural_number),
        default=MAX_STREAMS,
        help=f"{when}how many streams at once; {MAX_STREAMS}",
    )


def add_allow(parser: ArgumentParser, what: str) -> None:
    """
    ``--allow``: for :func:`allow_firewall`.

    :param what: it makes us do.
    """
    parser.add_argument("--allow", metavar="KEY[,KEY]", type=argument(keys), help=what)


def allow_firewall(options: Namespace) -> Callable[[PeerAddress], bool] | None:
    """:returns: what refuses everybody else; ``None`` where all are allowed."""
    keys = getattr(options, "allow", None)
    if keys is None:
        return None
    allowed = frozenset(keys)
    return lambda address: address.public_key not in allowed


def keys(text: str) -> tuple[bytes, ...]:
    """
    Read public keys with commas between them.

    :returns: 32 bytes each.
    :raises ValueError: not keys.
    """
    return tuple(decode_key(each) for each in text.split(","))


def place(text: str) -> HostPort:
    """
    Read ``HOST:PORT``, or ``PORT`` alone, which is one of this machine; 0 is any.

    :raises ValueError: neither.
    """
    host, _, digits = text.rpartition(":")
    return HostPort(host.removeprefix("[").removesuffix("]") or LOOPBACK, port(digits))


def service(text: str) -> HostPort:
    """
    The same for a TCP service that is there already.

    :raises ValueError: neither, or the port is 0.
    """
    found = place(text)
    if not found.port:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return found
