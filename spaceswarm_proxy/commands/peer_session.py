"""
What the commands that open streams to peers, or take theirs, have in common: a network, from its first moment to its
last, whether we are a node of it or behind a proxy server, and somebody who is told.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.network_options import make_network, proxies
from spaceswarm_proxy.commands.options import within
from spaceswarm_proxy.commands.output import Field, Output
from spaceswarm_proxy.commands.peer_options import allow_firewall
from spaceswarm_proxy.commands.session import Session, interruptible, run_told
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.endpoints import TopicServerEndpoint
from spaceswarm_proxy.errors import AuthenticationError, ClosedError, FirewallError, SpaceswarmError, to_code
from spaceswarm_proxy.interfaces import INetwork, Peer
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.peering.port import Firewall


@dataclass
class PeerSession:
    """A command at work."""

    reactor: Any
    options: Namespace
    network: INetwork
    output: Output
    #: The same as a node of the network; ``None`` behind a proxy server.
    as_node: Session | None = None
    _working: Deferred[None] | None = field(default=None, init=False)
    _lost: bool = field(default=False, init=False)
    _refusal: Exception | None = field(default=None, init=False)

    async def run(self, work: Callable[[PeerSession], Coroutine[Any, Any, None]]) -> None:
        """
        Do the command's work.

        :raises AuthenticationError: a proxy server has wanted us, and does not any more.
        """
        self._working = Deferred.fromCoroutine(work(self))
        try:
            await self._working
        except CancelledError:
            if self._refusal is not None:
                raise self._refusal from None
            raise

    # The network.

    def walking(self, what: str) -> AbstractContextManager[None]:
        """While the body runs, people are told how far it has come, if we can know."""
        return nullcontext() if self.as_node is None else self.as_node.walking(what)

    async def reach_network(self) -> None:
        """
        Wait until the network answers; from then on it is told when it does not any more, and when it does again.

        :raises SpaceswarmError: nobody answers: no node, or none of the proxy servers; or none of these wants us.
        """
        if self.as_node is None:
            await self._reach_server()
            self.output.news("ready", "connected to the proxy server", online=True)
        else:
            await self.as_node.reach_network()
        self.network.events.on("disconnected", self._tell_lost)
        self.network.events.on("connected", self._tell_back)

    async def _reach_server(self) -> None:
        stages, left = Stages(), len(proxies(self.options))

        def failed(problem: Exception) -> None:
            nonlocal left
            left -= 1
            if not left or isinstance(problem, AuthenticationError):
                stages.fail(problem)

        if self.network.status().online:  # while the command prepared itself
            stages.begin()
        ends = self.network.events.on("connected", stages.begin), self.network.events.on("disconnected", failed)
        try:
            await stages.begun
        finally:
            for end in ends:
                end()

    def _tell_lost(self, problem: Exception) -> None:
        if isinstance(problem, AuthenticationError) and self._working is not None:
            self._refusal = problem
            self._working.cancel()
        elif not self._lost and not isinstance(problem, ClosedError):
            self._lost = True
            code, text = to_code(problem)
            self._tell("unreachable", f"{text.rstrip('.')}; trying again", code=code, message=text)

    def _tell_back(self) -> None:
        if self._lost:
            self._lost = False
            self._tell("reachable", "the network answers again")

    def _tell(self, event: str, text: str, **fields: Field) -> None:
        # That nobody reads it is for the result to find out.
        with suppress(OSError):
            self.output.news(event, text, **fields)

    # Streams.

    def connect(self, factory: IProtocolFactory, timeout: float | None) -> Deferred[IProtocol]:
        """
        Connect to the peer that the options name.

        :param timeout: seconds, after which the Deferred that is returned fails with ``ConnectTimeoutError``.
        """
        return within(timeout, self.network.connect(Peer.keyed(self.options.key), factory), self.reactor)

    async def be_found(self, factory: IProtocolFactory, topic: bytes | None = None) -> IListeningPort:
        """
        Reach the network, take the streams that peers open to us, and tell by which key they can.

        :param factory: their protocols'; those whom the options do not allow are refused.
        :param topic: what peers find us under, if they need not know the key.
        :raises SpaceswarmError: that can't be; ``CommandError`` likewise.
        """
        await self.reach_network()
        with self.walking("announcing"):
            port = await interruptible(self._listen(self._guarded(factory), topic))
        key = port.getHost().public_key
        if key is None:
            raise CommandError("the proxy server gives its clients no keys, so nobody could name us")
        self.output.result("listening", key.hex(), public_key=key.hex(), **self._where(), **_named(topic))
        return port

    def _guarded(self, factory: IProtocolFactory) -> IProtocolFactory:
        firewall = allow_firewall(self.options)
        # A node of our own asks the firewall sooner.
        return factory if firewall is None or self.as_node is not None else Guarded(factory, firewall)

    def _listen(self, factory: IProtocolFactory, topic: bytes | None) -> Deferred[Any]:
        endpoint = TopicServerEndpoint(self.network, topic) if topic is not None else self.network
        return listening(endpoint, factory)

    def _where(self) -> dict[str, Field]:
        if self.as_node is None:
            return {}
        host, port = self.as_node.node.address
        return {"host": host, "port": port}


def _named(topic: bytes | None) -> dict[str, Field]:
    return {} if topic is None else {"topic": topic.hex()}


def listening(endpoint: IStreamServerEndpoint | INetwork, factory: IProtocolFactory) -> Deferred[IListeningPort]:
    """:returns: a Deferred of the port; it fails with ``CommandError`` when that is not to be had."""
    return endpoint.listen(factory).addErrback(_explain)


def _explain(failure: Any) -> Any:
    if not failure.check(CannotListenError):
        return failure
    reason = failure.value.socketError
    if isinstance(reason, SpaceswarmError):
        raise reason from failure.value
    raise CommandError(str(failure.value).rstrip(".")) from failure.value


@implementer(IProtocolFactory)
class Guarded:
    """A factory that refuses some peers, by the ``PeerAddress`` that they have."""

    def __init__(self, factory: IProtocolFactory, firewall: Firewall) -> None:
        self.doStart = factory.doStart
        self.doStop = factory.doStop
        self._factory = factory
        self._firewall = firewall

    def buildProtocol(self, address: Any) -> IProtocol | None:
        """:raises FirewallError: for one of them."""
        if self._firewall(address):
            raise FirewallError("this peer is not allowed")
        return self._factory.buildProtocol(address)


async def run_with_network(
    reactor: Any, options: Namespace, stdout: int, work: Callable[[PeerSession], Coroutine[Any, Any, None]]
) -> int:
    """
    Have a command that meets peers do its work.

    :returns: the exit status.
    """
    output = Output(options, stdout)

    async def whole() -> None:
        network, _ = make_network(reactor, options, firewall=allow_firewall(options))
        as_node = Session(reactor, options, network.node, output) if isinstance(network, DHTNetwork) else None
        try:
            await PeerSession(reactor, options, network, output, as_node).run(work)
        finally:
            await network.close()

    return await run_told(output, whole())
