"""What the commands of the DHT have in common: a node, from its first moment to its last, and somebody who is told."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.dht_options import make_node
from spaceswarm_proxy.commands.output import Output
from spaceswarm_proxy.commands.walking import walking
from spaceswarm_proxy.errors import ConnectCancelledError, NetworkUnreachableError, SpaceswarmError
from spaceswarm_proxy.peering.node import DHTNode

Value = TypeVar("Value")


@dataclass(frozen=True)
class Session:
    """A command at work."""

    reactor: Any
    options: Namespace
    node: DHTNode
    output: Output

    def tell_socket(self) -> None:
        """The node has its sockets."""
        host, port = self.node.address
        self.output.news("listening", f"listening on {self.node.address}", host=host, port=port)

    def walking(self, what: str) -> AbstractContextManager[None]:
        """While the body runs, people are told how far it has come."""
        return walking(self.reactor, self.output.narrator, self.node, what)

    async def reach_network(self) -> None:
        """
        Wait until the node has found the network.

        :raises NetworkUnreachableError: it has found nobody.
        """
        with self.walking("looking for the network"):
            await self.node.ready()
        self.tell_ready()
        if not self.node.online:
            raise self.unreachable()

    def tell_ready(self) -> None:
        """The node has looked for the network."""
        online, nodes = self.node.online, self.node.stats.nodes
        text = f"ready; nodes known: {nodes}" if online else "ready, but nobody answers"
        self.output.news("ready", text, online=online, nodes=nodes)

    def unreachable(self) -> NetworkUnreachableError:
        """:returns: what is raised when nobody answers."""
        return NetworkUnreachableError(f"no node of the {self.node.profile.name} network answers")


def make_visitor(reactor: Any, options: Namespace) -> DHTNode:
    """The node of a command that asks something, and is gone again: it keeps its address to itself."""
    return make_node(reactor, options, ephemeral=True)


async def interruptible(waiting: Deferred[Value]) -> Value:
    """
    Wait for a connection or a server.

    :raises CancelledError: the command was cancelled meanwhile.
    """
    try:
        return await waiting
    except ConnectCancelledError as problem:
        raise CancelledError() from problem


async def run_with_node(
    reactor: Any,
    options: Namespace,
    stdout: int,
    work: Callable[[Session], Awaitable[None]],
    make: Callable[[Any, Namespace], DHTNode] = make_visitor,
    begun: Callable[[Session], None] | None = Session.tell_socket,
) -> int:
    """
    Have a command of the DHT do its work.

    :param make: makes its node.
    :param begun: tells that it is there; ``None`` where nobody need know.
    :returns: the exit status.
    """
    output = Output(options, stdout)

    async def whole() -> None:
        session = Session(reactor, options, make(reactor, options), output)
        try:
            if begun is not None:
                begun(session)
            await work(session)
        finally:
            await session.node.close()

    return await run_told(output, whole())


async def run_told(output: Output, work: Coroutine[Any, Any, None]) -> int:
    """
    Have a command do its work; programs are told of its failure.

    When nobody reads its output any more, there is no more of it to do.

    :returns: the exit status.
    """
    try:
        try:
            await work
        except (CommandError, SpaceswarmError, OSError) as problem:
            output.failed(problem)
            raise
    except BrokenPipeError:
        return 0
    return 0
