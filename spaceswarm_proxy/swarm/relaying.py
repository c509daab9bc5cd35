"""
Whether a connection may take the way over a blind relay.

A relay costs somebody something, so it is for those who need one: a peer to whom no hole could be punched, and
everybody while our own NAT gives us another port for each of them.  The user may have another rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import (
    CannotHolepunchError,
    DoubleRandomizedError,
    HolepunchAbortedError,
    NotSupportedError,
    RemoteNotHolepunchableError,
)
from spaceswarm_proxy.interfaces import KEY_LENGTH, INetwork, IPeeringNetwork, PeerAddress
from spaceswarm_proxy.swarm.peer_info import PeerInfo

log = txaio.make_logger()

#: Public keys of relays, 32 bytes each: one, several of which one is used, or none.
Relays = bytes | Sequence[bytes] | None
#: The user's rule: told whether it is known that there is no direct way.
RelayRule = Callable[[bool], Relays]

#: What the network says where there is no direct way to a peer.
NO_DIRECT_WAY = (CannotHolepunchError, DoubleRandomizedError, HolepunchAbortedError, RemoteNotHolepunchableError)


def as_keys(relays: Relays) -> tuple[bytes, ...]:
    """:raises ValueError: one of them is none."""
    if relays is None:
        return ()
    keys = (relays,) if isinstance(relays, bytes) else tuple(relays)
    if any(len(key) != KEY_LENGTH for key in keys):
        raise ValueError(f"a relay's public key has {KEY_LENGTH} bytes")
    return keys


class Relaying:
    """
    The network, with relays for those who need them.

    The server's side knows of nobody that he needs one, as with Hyperswarm: for peers who connect to us, ``force`` is
    always false.
    """

    def __init__(self, network: INetwork, relay_through: Relays | RelayRule) -> None:
        """
        :param relay_through: relays for those who need one, or a rule of the user's own.
        :raises NotSupportedError: the network leaves that to others.
        :raises ValueError: one of the relays is none.
        """
        if relay_through is not None and not IPeeringNetwork.providedBy(network):
            raise NotSupportedError("whether streams go through relays is not decided here")
        self._network: Any = network
        #: Does the network ask a firewall before a stream opens?
        self.asks_first: bool = IPeeringNetwork.providedBy(network)
        self._rule = relay_through if callable(relay_through) or relay_through is None else self._if_needed
        self._keys = () if callable(relay_through) else as_keys(relay_through)

    def _if_needed(self, force: bool) -> Relays:
        return self._keys if force or self._network.randomized else None

    def _choose(self, force: bool) -> tuple[bytes, ...]:
        assert self._rule is not None
        try:
            return as_keys(self._rule(force))
        except Exception:
            log.failure("relay_through failed: no relay is used")
            return ()

    def connect(self, info: PeerInfo, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Open a stream to a peer."""
        options: dict[str, Any] = {}
        if self._rule is not None:
            options["relay_through"] = self._choose(info.force_relaying)
        connecting: Deferred[IProtocol] = self._network.connect(info.peer, factory, **options)
        return connecting

    def listen(self, factory: IProtocolFactory, firewall: Callable[[PeerAddress], object]) -> Deferred[IListeningPort]:
        """
        Let peers open streams to us.

        :param firewall: asked before that, if the network can do it.
        """
        options: dict[str, Any] = {}
        if self.asks_first:
            options["firewall"] = firewall
        if self._rule is not None:
            options["relay_through"] = lambda: self._choose(False)
        listening: Deferred[IListeningPort] = self._network.listen(factory, **options)
        return listening

    def failed(self, info: PeerInfo, reason: Failure) -> None:
        """An attempt has failed: if there was no direct way, the next one is made soon, and may use a relay."""
        if self._rule is not None and reason.check(*NO_DIRECT_WAY):
            info.force_relaying = True
            info.attempts = 0
