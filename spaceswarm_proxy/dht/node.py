"""
A node of the network, as those see it who look things up and store them; ``peering.node`` adds connections.

::

    node = DHTNode(reactor, profile="hyperswarm")
    await node.ready()
    async for reply in node.lookup(topic("my room")):
        print(reply.value.peers)
    await node.close()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from random import SystemRandom
from typing import Any, Self

import txaio
from twisted.internet.defer import Deferred, execute, fail, succeed

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.hashing import HASH_LENGTH, hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import SEED_LENGTH, KeyPair
from spaceswarm_proxy.crypto.profile import Profile, profile_named
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.commands import ERROR_NAMES, OK, PING
from spaceswarm_proxy.dht.contact import HOST_LENGTH, address_of, host_port
from spaceswarm_proxy.dht.distant import Keepers
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.operations import Operations, relay_addresses
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.ports import candidates
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.rates import MAX_REQUESTS_OF_HOST
from spaceswarm_proxy.dht.replies import Replies
from spaceswarm_proxy.dht.requests import RETRIES
from spaceswarm_proxy.dht.results import MutableValue, Pong, Reply, Stored, TopicPeers
from spaceswarm_proxy.dht.runner import CoreRunner
from spaceswarm_proxy.dht.state import StateDirectory
from spaceswarm_proxy.dht.stats import NodeStats
from spaceswarm_proxy.dht.table import K
from spaceswarm_proxy.errors import (
    ClosedError,
    RequestRefusedError,
    SequenceReusedError,
    SequenceTooLowError,
    SpaceswarmError,
)
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import HostPort, IKeeper, Peer

log = txaio.make_logger()


_EVENT_NAMES = (
    "ready", "persistent", "ephemeral", "unreachable", "reachable", "network_changed", "network_update", "closed"
)  # fmt: skip


class QueryNode:
    """
    A node of a Spaceswarm or Hyperswarm network.

    It works from its construction on, whether it finds anybody or not, until it is closed.

    While it is suspended or closed, what returns :class:`~spaceswarm_proxy.dht.replies.Replies` raises
    ``SuspendedError`` or ``ClosedError`` at once, and what returns a Deferred fails with it.  So it is with arguments
    that make no sense, and ``ValueError``; :meth:`ping` raises that one.
    """

    def __init__(
        self,
        reactor: Any = None,
        *,
        profile: Profile | str = "spaceswarm",
        bootstrap: Iterable[str | int | HostPort] | None = None,
        port: int | None = None,
        host: str = "0.0.0.0",
        any_port: bool = True,
        key_pair: KeyPair | None = None,
        ephemeral: bool | None = None,
        firewalled: bool = True,
        public_host: str | None = None,
        nodes: Iterable[HostPort] = (),
        state: str | os.PathLike[str] | None = None,
        adaptive_timeouts: bool = False,
        down_hints: bool = True,
        max_requests_of_host: int = MAX_REQUESTS_OF_HOST,
    ) -> None:
        """
        Bind the sockets, and begin to look for the network.

        :param reactor: one that watches file descriptors; by default the process's.
        :param profile: the network: ``spaceswarm``, ``hyperswarm``, or one of your own.
        :param bootstrap: where to begin, each ``HOST:PORT``, ``IP@NAME:PORT`` or a port of this machine; by default the
            profile's, and none for a private network's first node.
        :param port: where to listen: by default 49737 or one of the next, else any; 0 for any.
        :param host: the IPv4 address of this machine to bind to.
        :param any_port: may it be another port if that one is taken?
        :param key_pair: who we are when we announce; by default the state's, or a fresh one.
        :param ephemeral: ``True`` to keep our address to ourselves, ``False`` to store for others as soon as our
            address is known; by default after 20 minutes, if others can reach us.
        :param firewalled: ``False`` if everybody can reach us, which is not checked then.
        :param public_host: our address from outside, where nobody can tell it to us: for a network's first node.
        :param nodes: others that are known from before, most recently heard first.
        :param state: a directory that the node's seed and routing table are kept in.
        :param adaptive_timeouts: wait for answers as long as they usually take, not a second.
        :param down_hints: tell others of nodes that do not answer.
        :param max_requests_of_host: how many requests one host may make in a second.
        :raises CannotListenError: the port is not to be had.
        :raises ValueError: the profile or an address is none.
        :raises OSError: the state's directory can't be used.
        """
        self.profile = profile_named(profile)
        #: ``ready()``, ``persistent()``, ``ephemeral()``: how far we have come.  ``unreachable()``, ``reachable()``:
        #: nobody answers, or somebody again.  ``network_changed()``: our address has changed, here or as others see it.
        #: ``network_update()``: the network has changed, or works better or worse than before.  ``closed()``.
        self.events = Events(*_EVENT_NAMES)
        wanted = self.profile.bootstrap if bootstrap is None else bootstrap
        beginnings = [BootstrapNode.parse(each) for each in wanted]
        known = [address_of(*node) for node in nodes]
        options = NodeOptions(
            profile=self.profile,
            ephemeral=ephemeral,
            firewalled=firewalled,
            public_host=None if public_host is None else address_of(public_host, 0)[:HOST_LENGTH],
            bootstrap_count=len(beginnings),
            adaptive_timeouts=adaptive_timeouts,
            down_hints=down_hints,
            max_requests_of_host=max_requests_of_host,
        )
        directory = None if state is None else StateDirectory(state)
        remembered = None if directory is None else directory.load()
        seed = SystemRandom().randbytes(SEED_LENGTH) if remembered is None else remembered.seed
        #: Who we are when we announce, and no other key is given.
        self.key_pair = KeyPair.from_seed(seed) if key_pair is None else key_pair
        self._ready: Waiters[None] = Waiters()
        ports = candidates(port, any_port)
        self._reactor = or_global(reactor)
        self._runner = CoreRunner(self._reactor, options, beginnings, host, ports, directory, seed, self._told)
        self._core = self._runner.core
        self._operations = Operations(self._core, self.profile)
        self._keepers = Keepers(self._reactor, self._runner.soon)
        self._add_rooms()
        self._runner.start([*known, *(remembered.nodes if remembered else ())])

    def _add_rooms(self) -> None:
        """For subclasses: add what stands on the core, before it begins."""

    @classmethod
    def bootstrapper(cls, reactor: Any, public_host: str, port: int, **options: Any) -> Self:
        """
        The first node of a network, and one that others begin at.

        :param public_host: the IPv4 address that others know it by.
        :param port: where it listens, and nowhere else; 0 for any.
        :param options: as for any node.
        :raises ValueError: not an address that others could use.
        """
        if public_host == "0.0.0.0":
            raise ValueError(f"{public_host} is not an address that others could use")
        settings = {"bootstrap": (), "ephemeral": False, "firewalled": False, "any_port": False, **options}
        return cls(reactor, port=port, public_host=public_host, **settings)

    # What it is.

    @property
    def reactor(self) -> Any:
        """What it runs in."""
        return self._reactor

    @property
    def address(self) -> HostPort:
        """Where it listens."""
        return HostPort(self._runner.ports.host, self._runner.ports.server_port)

    @property
    def public_address(self) -> HostPort | None:
        """Our address as others see it, its port 0 where they disagree on that; ``None`` while it is not known."""
        address = self._core.public_address
        return None if address is None else host_port(address)

    @property
    def node_id(self) -> bytes | None:
        """Our id in the network, 32 bytes; only persistent nodes have one."""
        return None if self._core.ephemeral else self._core.own_id

    @property
    def ephemeral(self) -> bool:
        """Do we keep our address to ourselves, and store nothing?"""
        return self._core.ephemeral

    @property
    def firewalled(self) -> bool:
        """Can others not reach us, as far as we know?"""
        return self._core.firewalled

    @property
    def online(self) -> bool:
        """Does anybody answer, as far as we know?"""
        return not self._core.joining.lonely and self._core.upkeep.health.online

    @property
    def degraded(self) -> bool:
        """Are most of our requests lost?"""
        return self._core.upkeep.health.degraded

    @property
    def suspended(self) -> bool:
        """Is it suspended, or closed?"""
        return self._core.suspended

    @property
    def stats(self) -> NodeStats:
        """What it has done so far."""
        return NodeStats.of(self._core, self._runner.ports.unsent)

    def closest(self, target: bytes | None = None, count: int = K) -> list[HostPort]:
        """
        Nodes that we know.

        :param target: near to this id, 32 bytes; by default those that were heard most recently.
        :param count: how many at most.
        """
        if target is None:
            return [host_port(address) for address in self._runner.latest(count)]
        return [host_port(address) for address in self._core.nearest(_check_id(target), count)]

    # Its life.

    def ready(self) -> Deferred[None]:
        """
        :returns: a Deferred, one for each caller, that fires when the node has looked for the network, whether it has
            found anybody (see :attr:`online`) or not; it fails with ``ClosedError``.
        """
        if self._core.closed:
            return fail(ClosedError("the node is closed"))
        return succeed(None) if self._core.joining.done else self._ready.wait()

    def suspend(self) -> Deferred[None]:
        """
        Go quiet: close the sockets; what is under way fails with ``SuspendedError``.

        :returns: a Deferred that fires when that is done.
        """
        self._runner.suspend()
        return succeed(None)

    def resume(self) -> Deferred[None]:
        """
        Undo :meth:`suspend`, on the same ports if they are free.

        :returns: a Deferred that fires when that is done, and fails with ``CannotListenError`` or ``ClosedError``.
        """
        if self._core.closed:
            return fail(ClosedError("the node is closed"))
        return execute(self._runner.resume)

    def close(self) -> Deferred[None]:
        """
        Stop: what is under way fails with ``ClosedError``.

        :returns: a Deferred that fires when no timer, socket or query is left; a second call likewise.
        """
        if not self._core.closed:
            self._runner.close()
            self._keepers.close()
            self._ready.fail(ClosedError("the node was closed"))
            self.events.emit("closed")
        return succeed(None)

    def _told(self, name: str) -> None:
        """The core tells of something."""
        if name == "ready":
            self._ready.fire(None)
        elif name == "unreachable":
            log.warn("no node of the {name} network answers; trying again now and then", name=self.profile.name)
        elif name == "reachable":
            log.info("the {name} network answers", name=self.profile.name)
        for event in _EVENTS.get(name, (name,)):
            self.events.emit(event)

    # One node.

    def ping(self, host: str, port: int, *, retries: int = RETRIES) -> Deferred[Pong]:
        """
        See whether a node is there.

        :param host: an IPv4 address.
        :param retries: attempts after the first, each a second later.
        :returns: a Deferred of a :class:`~spaceswarm_proxy.dht.results.Pong`; it fails with ``RequestTimeoutError``.
        :raises ValueError: that is no address.
        """
        address = address_of(host, port)
        began = self._runner.now()

        def pong(response: Response) -> Pong:
            seconds = self._runner.now() - began
            return Pong(host_port(address), response.id, host_port(response.to), seconds)

        return self._ask(address, Command.make(True, PING), retries).addCallback(pong)

    def _ask(self, address: bytes, command: Command, retries: int) -> Deferred[Response]:
        """Ask one node; what it answers with an error code is a ``RequestRefusedError``."""

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            if isinstance(answer, SpaceswarmError):
                result.errback(answer)
            elif answer.error != OK:
                result.errback(RequestRefusedError(ERROR_NAMES.get(answer.error, f"error {answer.error}")))
            else:
                result.callback(answer)

        try:
            request = self._core.ask(address, command, done, self._runner.now(), retries=retries)
        except SpaceswarmError as problem:
            return fail(problem)
        result: Deferred[Response] = Deferred(lambda _: self._core.forget(request))
        self._runner.arm()
        return result

    # Queries.

    def find_node(self, target: bytes, *, nodes: Sequence[HostPort] = ()) -> Replies[bool]:
        """
        Ask for the nodes near to an id.

        :param target: 32 bytes.
        :param nodes: whom to begin with, such as the ``closest`` of an earlier query; so in all queries.
        :returns: a reply for each node that has answered; the nearest are in ``closest`` at the end.
        """
        return self._start(nodes, self._operations.find_node, _check_id(target))

    def find_peer(self, public_key: bytes, *, nodes: Sequence[HostPort] = ()) -> Replies[Peer]:
        """
        Look for a peer by its public key.

        :returns: what each node knows that it has announced itself to.
        """
        return self._start(nodes, self._operations.find_peer, _check_id(public_key))

    def lookup(self, topic: bytes, *, nodes: Sequence[HostPort] = ()) -> Replies[TopicPeers]:
        """
        Look for the peers under a topic.

        :param topic: 32 bytes.
        :returns: what each node knows that knows any.
        """
        return self._start(nodes, self._operations.lookup, _check_id(topic))

    def announce(
        self,
        topic: bytes,
        key_pair: KeyPair | IKeeper | None = None,
        relays: Sequence[HostPort] = (),
        *,
        bump: int = 0,
        clear: bool = False,
        nodes: Sequence[HostPort] = (),
    ) -> Replies[TopicPeers]:
        """
        Be found under a topic, for some 20 minutes.

        :param topic: 32 bytes; under the hash of the public key it is the key itself that is found, by ``find_peer``.
        :param key_pair: by default the node's own; or whoever keeps it.
        :param relays: nodes that forward handshakes to us; three count.
        :param bump: whole milliseconds since 1970: a sign to others that there is news.
        :param clear: take back what was announced before; without, its relays stay as they were.
        :returns: who is there already; ``finished`` fires when the nearest nodes have confirmed.
        """
        announce, addresses = self._operations.announce, relay_addresses(relays)
        keeper = self._keeper(key_pair)
        replies = self._start(nodes, announce, _check_id(topic), keeper, addresses, bump, clear)
        if clear:
            self._core.unannounce(topic, keeper.public_key)
        return replies

    def lookup_and_unannounce(
        self, topic: bytes, key_pair: KeyPair | IKeeper | None = None, *, nodes: Sequence[HostPort] = ()
    ) -> Replies[TopicPeers]:
        """
        Look for the peers under a topic, and be found there no more.

        :param key_pair: as for :meth:`announce`; whoever keeps it and does not sign ends that with his reason.
        """
        keeper = self._keeper(key_pair)
        replies = self._start(nodes, self._operations.lookup_and_unannounce, _check_id(topic), keeper)
        self._core.unannounce(topic, keeper.public_key)
        return replies

    def _keeper(self, key_pair: KeyPair | IKeeper | None) -> Keeper:
        return self._keepers.keeper(self.key_pair if key_pair is None else key_pair)

    def unannounce(
        self, topic: bytes, key_pair: KeyPair | IKeeper | None = None, *, nodes: Sequence[HostPort] = ()
    ) -> Deferred[None]:
        """:returns: a Deferred that fires when nobody tells of us under the topic any more."""

        async def unannounce() -> None:
            await self.lookup_and_unannounce(topic, key_pair, nodes=nodes).finished()

        return Deferred.fromCoroutine(unannounce())

    def _start(self, nodes: Sequence[HostPort], make: Callable[..., Query], *arguments: Any) -> Replies[Any]:
        beginnings = [address_of(*node) for node in nodes]
        replies: Replies[Any] = Replies()
        query = make(*arguments, replies.found, replies.end)
        replies.attach(query)
        self._core.begin(query, self._runner.now(), beginnings)
        self._runner.arm()
        return replies

    # Values.

    def immutable_put(self, value: bytes, *, nodes: Sequence[HostPort] = ()) -> Deferred[Stored]:
        """
        Store a value under its hash, for some two days.

        :param value: 1 to 1,000 bytes.
        :returns: a Deferred of a :class:`~spaceswarm_proxy.dht.results.Stored`, whose ``target`` is the hash; it fails
            with ``ValueTooLargeError``, ``NetworkUnreachableError`` or ``NotStoredError``.
        """

        async def put() -> Stored:
            replies = self._start(nodes, self._operations.immutable_put, value)
            await replies.finished()
            return Stored(hash32(value), replies.stored, replies.closest)

        return Deferred.fromCoroutine(put())

    def immutable_get(self, target: bytes, *, nodes: Sequence[HostPort] = ()) -> Deferred[Reply[bytes] | None]:
        """
        :param target: the hash of the value, 32 bytes.
        :returns: a Deferred of the first reply with it; of ``None`` when nobody has it.
        """
        return self._get(True, nodes, self._operations.immutable_get, target)

    def mutable_put(
        self, key_pair: KeyPair, value: bytes, seq: int = 0, *, nodes: Sequence[HostPort] = ()
    ) -> Deferred[Stored]:
        """
        Store a value under a key, for some two days, in place of those with lower numbers.

        :param value: 1 to 1,000 bytes.
        :param seq: its number.
        :returns: a Deferred of a :class:`~spaceswarm_proxy.dht.results.Stored`; it fails with ``SequenceTooLowError``
            or ``SequenceReusedError`` when a signed value says so, and else as :meth:`immutable_put` does.
        """

        async def put() -> Stored:
            replies = self._start(nodes, self._operations.mutable_put, key_pair, value, seq)
            try:
                async for reply in replies:
                    _check_sequence(reply.value, value, seq)
            finally:
                replies.cancel()
            return Stored(hash32(key_pair.public_key), replies.stored, replies.closest)

        return Deferred.fromCoroutine(put())

    def mutable_get(
        self, public_key: bytes, seq: int = 0, *, latest: bool = True, nodes: Sequence[HostPort] = ()
    ) -> Deferred[Reply[MutableValue] | None]:
        """
        :param public_key: whose value.
        :param seq: the lowest number that is wanted.
        :param latest: wait for the highest that anybody has; ``False`` takes the first that comes.
        :returns: a Deferred of a reply; of ``None`` when nobody has such a value.
        """
        return self._get(not latest, nodes, self._operations.mutable_get, public_key, seq)

    def _get(
        self, first: bool, nodes: Sequence[HostPort], make: Callable[..., Query], target: bytes, *arguments: Any
    ) -> Deferred[Any]:
        async def get() -> Reply[Any] | None:
            best: Reply[Any] | None = None
            replies = self._start(nodes, make, _check_id(target), *arguments)
            try:
                async for reply in replies:
                    if first:
                        return reply
                    if best is None or reply.value.seq > best.value.seq:
                        best = reply
            finally:
                replies.cancel()
            return best

        return Deferred.fromCoroutine(get())


#: What the core's news are called outside, where the name is another.
_EVENTS: dict[str, tuple[str, ...]] = {
    "nat_changed": ("network_changed",),
    "moved": ("network_changed", "network_update"),
    "wakeup": ("network_update",),
}


def _check_id(value: bytes) -> bytes:
    """:raises ValueError: not 32 bytes."""
    if len(value) != HASH_LENGTH:
        raise ValueError(f"{HASH_LENGTH} bytes are needed, not {len(value)}")
    return bytes(value)


def _check_sequence(there: MutableValue, value: bytes, seq: int) -> None:
    """:raises NotStoredError: what is there, signed by the same key, is newer, or another value of the same number."""
    if there.seq > seq:
        raise SequenceTooLowError(f"there is a value with the number {there.seq}")
    if there.seq == seq and there.value != value:
        raise SequenceReusedError(f"there is another value with the number {seq}")
