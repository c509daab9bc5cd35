"""``spaceswarm node``: a node that stays, and works for the network."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredQueue

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import ANY_HOST, add_dht_options, argument, ip_address, make_node
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.dht.ports import DEFAULT_PORT
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.peering.node import DHTNode


def add_arguments(parser: ArgumentParser) -> None:
    """What kind of node, and its network."""
    parser.add_argument(
        "--bootstrap-node",
        action="store_true",
        help="be the first node of a network, where others begin; needs --host or --public-host",
    )
    parser.add_argument(
        "--public-host", metavar="IP", type=argument(ip_address), help="the address that others know this machine by"
    )
    parser.add_argument("--open", action="store_true", help="everybody can reach this machine: do not look whether")
    parser.add_argument(
        "--state", metavar="DIRECTORY", type=Path, help="remember in it who this node is, and whom it knows"
    )
    add_dht_options(parser, usual_port=True)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Run a node until the command is cancelled.

    :raises CommandError: there can be no such node.
    """
    return await run_with_node(reactor, options, stdout, _stay, _make)


def _make(reactor: Any, options: Namespace) -> DHTNode:
    if not options.bootstrap_node:
        firewalled = not options.open
        public_host, state = options.public_host, options.state
        return make_node(reactor, options, ephemeral=False, firewalled=firewalled, public_host=public_host, state=state)
    public_host = options.public_host or options.host
    if public_host == ANY_HOST:
        raise CommandError("--bootstrap-node needs --public-host, or a --host that others can use")
    port = DEFAULT_PORT if options.port is None else options.port
    beginnings = [str(node) for node in options.bootstrap or ()]
    return make_node(
        reactor,
        options,
        DHTNode.bootstrapper,
        public_host=public_host,
        port=port,
        any_port=False,
        bootstrap=beginnings,
        state=options.state,
    )


async def _stay(session: Session) -> None:
    """Tell what happens, for ever."""
    node = session.node
    # Told from here, not by the events themselves: that nobody reads it ends the command.
    news: DeferredQueue[str] = DeferredQueue()
    for name in NEWS:
        if name != "ready":
            node.events.on(name, partial(news.put, name))
    if not node.ephemeral:
        news.put("persistent")
    node.ready().addCallbacks(lambda _: news.put("ready"), lambda failure: failure.trap(ClosedError))
    try:
        while True:
            NEWS[await news.get()](session)
    finally:
        stats = node.stats
        text = f"{stats.answers} requests answered, {stats.requests_answered} of our own"
        session.output.news("finished", text, **asdict(stats))


def _tell_persistent(session: Session) -> None:
    node, address = session.node, session.node.public_address
    if node.node_id is not None and address is not None:
        id, (host, port) = node.node_id.hex(), address
        session.output.news("persistent", f"persistent: others know us at {address}", node_id=id, host=host, port=port)


def _tell_ephemeral(session: Session) -> None:
    session.output.news("ephemeral", "no longer persistent: it is not certain that others can reach us")


def _tell_unreachable(session: Session) -> None:
    session.output.news("unreachable", "no node answers; trying again now and then")


def _tell_reachable(session: Session) -> None:
    session.output.news("reachable", "the network answers")


def _tell_network(session: Session) -> None:
    address = session.node.public_address
    if address is None:
        session.output.news("network_changed", "our address is not known", host=None, port=None)
        return
    host, port = address
    text = f"others see us at {address}" if port else f"others see us at {host}, each at another port"
    session.output.news("network_changed", text, host=host, port=port)


#: What is told of a node, by the names of its events.
NEWS = {
    "ready": Session.tell_ready,
    "persistent": _tell_persistent,
    "ephemeral": _tell_ephemeral,
    "unreachable": _tell_unreachable,
    "reachable": _tell_reachable,
    "network_changed": _tell_network,
}

COMMAND = Command(
    name="node",
    summary="run a node of the network",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Run a node that stays, answers others and stores for them, as soon as it is certain that they can reach it.
Ctrl-C or SIGTERM ends it. A network of your own begins with its first node:

  spaceswarm node --bootstrap-node --public-host 192.0.2.1 --port 49737
  spaceswarm node --bootstrap 192.0.2.1:49737""",
)
