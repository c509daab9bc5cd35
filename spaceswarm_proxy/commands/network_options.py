"""The arguments of the commands that meet others by topic, and the network that they describe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.dht_options import NODE_DEFAULTS, add_node_options, make_node
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.commands.options import key_pair, read_text
from spaceswarm_proxy.endpoint_strings import DEFAULT_PROXY
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import INetwork
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.proxy.client import ProxyNetwork


class Way(NamedTuple):
    """A network, and how people call what leads to it."""

    network: INetwork
    name: str


def add_network_options(parser: ArgumentParser) -> None:
    """Whether to be a node of the network or to go through a proxy server: for :func:`make_network`."""
    add_node_options(parser)
    group = parser.add_argument_group("instead of being a node")
    group.add_argument(
        "--proxy",
        metavar="ENDPOINT",
        action="append",
        help=f"go through this proxy server, given as a Twisted client endpoint: {DEFAULT_PROXY}, ws:HOST:PORT,"
        " tls:HOST:PORT, unix:PATH; given again: another one to try when that fails",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help=f"a file with the token that the server asks for; without --proxy, that is the one at {DEFAULT_PROXY}",
    )


def make_network(reactor: Any, options: Namespace, narrator: Narrator) -> Way:
    """
    The network that the user wants, directly or behind a proxy server.

    :param narrator: told if the direct one does not answer at first; the rest is in the network's ``events``.
    :raises CommandError: an endpoint or a file is not what it should be, or there can be no such node.
    """
    if options.proxy or options.token_file is not None:
        return Way(_proxied(reactor, options), "the proxy server")
    node = make_node(reactor, options, ephemeral=True)
    name = f"the {node.profile.name} network"
    _tell_if_lonely(node, name, narrator)
    return Way(DHTNetwork(node, owns_node=True), name)


def _tell_if_lonely(node: DHTNode, name: str, narrator: Narrator) -> None:
    def ready(_: None) -> None:
        if not node.online:
            narrator.progress(f"nobody answers in {name}; trying again")

    def closed(failure: Failure) -> None:
        failure.trap(ClosedError)

    node.ready().addCallbacks(ready, closed)


def _proxied(reactor: Any, options: Namespace) -> ProxyNetwork:
    for name, usual in NODE_DEFAULTS.items():
        if getattr(options, name) != usual:
            raise CommandError(f"--{name.replace('_', '-')} is for a node, and with a proxy server we are none")
    endpoints = [_endpoint(reactor, text) for text in options.proxy or [DEFAULT_PROXY]]
    return ProxyNetwork(endpoints, key_pair=key_pair(options), token=_token(options), reactor=reactor)


def _endpoint(reactor: Any, text: str) -> IStreamClientEndpoint:
    try:
        return clientFromString(reactor, text)
    # A parser, ours or another's, is called with what the text says: its wrong names and numbers are TypeErrors.
    except (ValueError, TypeError, LookupError, OSError) as problem:
        raise CommandError(f"--proxy {text}: not a client endpoint: {problem}") from problem


def _token(options: Namespace) -> bytes | None:
    return None if options.token_file is None else read_text(options.token_file).encode()
