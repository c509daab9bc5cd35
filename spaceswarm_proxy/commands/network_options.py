"""The arguments of the commands that meet others, and the network that they describe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.dht_options import ANY_HOST, add_node_options, make_node
from spaceswarm_proxy.commands.narrator import Narrator
from spaceswarm_proxy.commands.options import key_pair, read_text
from spaceswarm_proxy.commands.peer_options import add_ways
from spaceswarm_proxy.commands.places import client_endpoint
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.endpoint_strings import DEFAULT_PROXY
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.port import Firewall
from spaceswarm_proxy.proxy.client import ProxyNetwork

#: What the arguments that are only about a node are, if they are not given.
NODE_DEFAULTS: dict[str, object] = {
    "bootstrap": None,
    "profile": SPACESWARM.name,
    "stream_label": None,
    "host": ANY_HOST,
    "port": 0,
    "relay_through": (),
    "no_local": False,
}


class Way(NamedTuple):
    """A network, and how people call what leads to it."""

    network: DHTNetwork | ProxyNetwork
    name: str


def add_network_options(parser: ArgumentParser) -> None:
    """Whether to be a node of the network or to go through a proxy server: for :func:`make_network`."""
    add_node_options(parser)
    add_ways(parser.add_argument_group("ways to a peer"))
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


def proxies(options: Namespace) -> list[str]:
    """:returns: the proxy servers that the user wants to go through, as endpoints; none to be a node."""
    if options.token_file is not None and not options.proxy:
        return [DEFAULT_PROXY]
    return options.proxy or []


def make_network(
    reactor: Any, options: Namespace, narrator: Narrator | None = None, firewall: Firewall | None = None
) -> Way:
    """
    The network that the user wants, directly or behind a proxy server.

    :param narrator: told if the direct one does not answer at first; the rest is in the network's ``events``.
    :param firewall: of the direct one, as for :class:`~spaceswarm_proxy.network.dht.DHTNetwork`.
    :raises CommandError: an endpoint or a file is not what it should be, or there can be no such node.
    """
    if proxies(options):
        return Way(_proxied(reactor, options), "the proxy server")
    node = make_node(reactor, options, ephemeral=True)
    name = f"the {node.profile.name} network"
    if narrator is not None:
        _tell_if_lonely(node, name, narrator)
    network = DHTNetwork(
        node, owns_node=True, relay_through=options.relay_through, local=not options.no_local, firewall=firewall
    )
    return Way(network, name)


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
    endpoints = [client_endpoint(reactor, text, "--proxy") for text in proxies(options)]
    return ProxyNetwork(endpoints, key_pair=key_pair(options), token=_token(options), reactor=reactor)


def _token(options: Namespace) -> bytes | None:
    return None if options.token_file is None else read_text(options.token_file).encode()
