"""``spaceswarm ping``: is a node there, and how far away?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet.error import DNSLookupError
from twisted.internet.task import deferLater

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument, make_node, natural_number
from spaceswarm_proxy.commands.output import Field
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.results import Pong
from spaceswarm_proxy.errors import RequestTimeoutError
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.peering.node import DHTNode

#: Seconds from one to the next.
INTERVAL = 1.0


def add_arguments(parser: ArgumentParser) -> None:
    """Whom, how often, and how."""
    parser.add_argument("node", metavar="HOST:PORT", type=argument(BootstrapNode.parse), help="the node to ask")
    parser.add_argument(
        "--count", metavar="NUMBER", type=argument(positive_number), default=4, help="how often, once a second; 4"
    )
    add_dht_options(parser)


def positive_number(text: str) -> int:
    """:raises ValueError: not a positive number."""
    number = natural_number(text)
    if not number:
        raise ValueError("once, at least")
    return number


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Tell how long each answer takes.

    :raises CommandError: there is no such host.
    :raises SpaceswarmError: it does not answer.
    """
    return await run_with_node(reactor, options, stdout, _ping, _make)


def _make(reactor: Any, options: Namespace) -> DHTNode:
    """Whoever is pinged is all that is needed of the network."""
    beginnings = [str(node) for node in options.bootstrap or ()]
    return make_node(reactor, options, ephemeral=True, bootstrap=beginnings)


async def _ping(session: Session) -> None:
    node, count = await _address(session), session.options.count
    times: list[float] = []
    for number in range(count):
        due = session.reactor.seconds() + INTERVAL
        pong = await _ask(session, node)
        if pong is not None:
            times.append(pong.seconds)
        if number + 1 < count:
            await deferLater(session.reactor, max(due - session.reactor.seconds(), 0))
    if not times:
        raise RequestTimeoutError(f"{node} does not answer")
    text = f"{len(times)} of {count} answered; {_ms(min(times))} to {_ms(max(times))}"
    session.output.news("finished", text, sent=count, answered=len(times))


async def _address(session: Session) -> HostPort:
    """:raises CommandError: the host has no address."""
    ip, name, port = session.options.node
    if ip is not None:
        return HostPort(ip, port)
    try:
        return HostPort(await session.reactor.resolve(name), port)
    except DNSLookupError as problem:
        raise CommandError(f"{name}: no such host") from problem


async def _ask(session: Session, node: HostPort) -> Pong | None:
    try:
        pong = await session.node.ping(node.host, node.port, retries=0)
    except RequestTimeoutError:
        session.output.narrator.progress(f"{node}: no answer")
        return None
    text = f"{node}: {_ms(pong.seconds)}, sees us at {pong.to}"
    fields: dict[str, Field] = {"host": node.host, "port": node.port, "seconds": pong.seconds, "to": str(pong.to)}
    session.output.result("pong", text, **fields)
    return pong


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


COMMAND = Command(
    name="ping",
    summary="see whether a node is there",
    add_arguments=add_arguments,
    run=run,
    description="""\
Ask a node once a second whether it is there, and print how long each answer takes and which address of ours
it sees.""",
)
