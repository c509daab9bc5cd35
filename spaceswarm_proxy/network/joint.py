"""
Two networks as one: neighbours, and everybody else.

The clients of one proxy server share a node.  For them to find each other by the real network would be a detour, and
impossible where there is no way to it; so each of them is in two networks, under the same key::

    network = node_network(DHTNode(reactor), LocalHub(reactor))     # a node, and a place on the hub
    client = network.with_identity()                                # the same node, and another place

The *near* network is a place on a hub in this process.  Whoever is there is a *neighbour*, and is found and reached
there only: its records in the *far* network are for others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from zope.interface import alsoProvides, implementer

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.interfaces import (
    IAnnouncement,
    IKeeper,
    ILookup,
    INetwork,
    IPeerReceiver,
    ISealedNetwork,
    NetworkStatus,
    Peer,
)
from spaceswarm_proxy.network.dht import DHTNetwork
from spaceswarm_proxy.network.joint_port import JointPort
from spaceswarm_proxy.network.joint_topics import JointAnnouncement, JointLookup
from spaceswarm_proxy.network.local import LocalHub, LocalNetwork
from spaceswarm_proxy.peering.node import DHTNode


def node_network(node: DHTNode, hub: LocalHub) -> JointNetwork:
    """
    The real network, by a node of our own, and a hub for those who share the node.

    :param node: it is closed with the network, and the other way round.
    :param hub: where the neighbours are; with the node's profile.
    :returns: a network that works at once, whether the node finds anybody or not.
    :raises ValueError: the hub has another profile.
    """
    far = DHTNetwork(node, owns_node=True)
    return JointNetwork(hub.network(far.key_pair), far)


@implementer(INetwork)
class JointNetwork:
    """
    A near network and a far one, closed, suspended and resumed together.

    It counts as reachable, and its ``events`` say so, when the near one is: neighbours are there all the time, and a
    far network that nobody answers in keeps nothing from being done that the near one can do.

    It is an :class:`~spaceswarm_proxy.interfaces.ISealedNetwork` if the far one is: the near one always is.
    """

    def __init__(self, near: LocalNetwork, far: INetwork, parent: JointNetwork | None = None) -> None:
        """
        :param near: a place on a hub.
        :param far: everybody else; known by the same key.
        :param parent: the network that this is another identity of.
        :raises ValueError: the two have different keys, or different profiles.
        """
        if near.public_key != far.public_key:
            raise ValueError("both networks must have the same key")
        if ISealedNetwork.providedBy(far):
            self.profile = _common_profile(near, far)
            alsoProvides(self, ISealedNetwork)
        self.near = near
        self.far = far
        self.public_key = near.public_key
        self.events = near.events
        #: Keys of neighbours who are leaving: the far network may still tell of them.
        self._leaving: Counter[bytes] = Counter() if parent is None else parent._leaving

    @property
    def seals(self) -> bool:
        """See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`."""
        far: Any = ISealedNetwork(self.far, None)
        return far is not None and bool(far.seals)

    def status(self) -> NetworkStatus:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return replace(self.near.status(), detail=self.far.status().detail)

    def is_neighbour(self, peer: Peer) -> bool:
        """Is it for the near network alone to tell of a peer?"""
        key = peer.public_key
        return key is not None and (self.near.sees(key) or key in self._leaving)

    # Topics.  The far network is asked first: it may refuse.

    def lookup(self, topic: bytes, receiver: IPeerReceiver) -> ILookup:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        lookup: ILookup = JointLookup(self.near, self.far, topic, receiver, self.is_neighbour)
        return lookup

    def announce(self, topic: bytes) -> IAnnouncement:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        far = self.far.announce(topic)
        announcement: IAnnouncement = JointAnnouncement(self.near.announce(topic), far)
        return announcement

    # Streams.

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`.  To a neighbour it is a pipe in this process."""
        connecting: Deferred[IProtocol] = self._way_to(peer).connect(peer, factory)
        return connecting

    def _way_to(self, peer: Peer) -> Any:
        key = peer.public_key
        if key is None:  # a TCP service that is announced on the hub
            return self.near
        return self.near if self.near.sees(key) and key != self.public_key else self.far

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return Deferred.fromCoroutine(self._listen(factory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        near = await self.near.listen(factory)
        try:
            port: IListeningPort = JointPort(near, await self.far.listen(factory))
        except BaseException:
            await maybeDeferred(near.stopListening)
            raise
        return port

    # What it is as a whole.

    def with_identity(self, key_pair: KeyPair | IKeeper | None = None) -> JointNetwork:
        """See :class:`~spaceswarm_proxy.interfaces.ISealedNetwork`.  It is a neighbour of this one."""
        pair = KeyPair.generate() if key_pair is None else key_pair
        far = self.far.with_identity(pair)  # type: ignore[arg-type]  # it is an ISealedNetwork
        return JointNetwork(self.near.with_identity(pair), far, self)

    def suspend(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return _both(self.near.suspend(), self.far.suspend())

    def resume(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`."""
        return _both(self.near.resume(), self.far.resume())

    def close(self) -> Deferred[None]:
        """See :class:`~spaceswarm_proxy.interfaces.INetwork`.  Streams that are open are aborted."""
        self._leaving[self.public_key] += 1
        return _both(self.far.close(), self.near.close()).addBoth(self._left)

    def _left(self, result: Any) -> Any:
        self._leaving[self.public_key] -= 1
        if not self._leaving[self.public_key]:
            del self._leaving[self.public_key]
        return result


def _common_profile(near: LocalNetwork, far: Any) -> Profile:
    """:raises ValueError: they have none."""
    if near.profile != far.profile:
        raise ValueError(f"the hub must have the profile of the far network, {far.profile.name}")
    return near.profile


def _both(one: Deferred[Any], other: Deferred[Any]) -> Deferred[None]:
    """:returns: a Deferred that fires when both have; it fails with the first that does."""
    return gatherResults([one, other], consumeErrors=True).addCallback(lambda _: None)
