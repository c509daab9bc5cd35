"""Finds the addresses of the bootstrap nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.contact import address_of

log = txaio.make_logger()


class BootstrapResolver:
    """
    Keeps the addresses by which the network is found.

    Those that stand in the list are there at once.  Names are resolved when there is no address to begin with, and
    whenever nobody answers at those that there are.
    """

    def __init__(
        self, reactor: Any, nodes: Sequence[BootstrapNode], found: Callable[[tuple[bytes, ...]], None]
    ) -> None:
        """:param found: told of the addresses when there are new ones."""
        self._reactor = reactor
        self._nodes = nodes
        self._found = found
        self._resolved: dict[BootstrapNode, bytes] = {}
        self._resolving: Deferred[Any] | None = None

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Those that are known, six bytes each."""
        known = [address for node in self._nodes for address in (node.address, self._resolved.get(node)) if address]
        return tuple(dict.fromkeys(known))

    @property
    def busy(self) -> bool:
        """Is anything being resolved?"""
        return self._resolving is not None

    def start(self) -> Deferred[None]:
        """:returns: a Deferred that fires when everything that has to be resolved at first is, or can't be."""
        return self._resolve([node for node in self._nodes if node.address is None])

    def again(self) -> None:
        """Nobody answers: resolve all names, unless that is under way."""
        if self._resolving is None:
            self._resolve([node for node in self._nodes if node.name is not None])

    def close(self) -> None:
        """Stop."""
        if self._resolving is not None:
            self._resolving.cancel()

    def _resolve(self, nodes: Sequence[BootstrapNode]) -> Deferred[None]:
        lookups = [Deferred.fromCoroutine(self._resolve_one(node)) for node in nodes]
        waiting = DeferredList(lookups)
        self._resolving = waiting

        def done(_: Any) -> None:
            self._resolving = None

        return waiting.addCallback(done)

    async def _resolve_one(self, node: BootstrapNode) -> None:
        assert node.name is not None
        collector = _FirstHost()
        self._reactor.nameResolver.resolveHostName(collector, node.name, node.port, [IPv4Address])
        try:
            host = await collector.complete
        except CancelledError:
            return
        if host is None:
            log.debug("{name} has no address", name=node.name)
            return
        address = address_of(host, node.port)
        if self._resolved.get(node) != address:
            self._resolved[node] = address
            self._found(self.addresses)


@implementer(IResolutionReceiver)
class _FirstHost:
    """Takes the first address of a name."""

    def __init__(self) -> None:
        self._host: str | None = None
        #: Fires with the address, or with ``None``.
        self.complete: Deferred[str | None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """It can't be stopped anyway."""

    def addressResolved(self, address: Any) -> None:
        if self._host is None:
            self._host = address.host

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(self._host)
