"""Runs the core of a node in a reactor: its sockets, its one timer, the clock, and what is remembered on disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from heapq import nlargest
from math import inf
from random import SystemRandom
from typing import Any, Protocol

import txaio

from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.ports import NodePorts, candidates, local_host
from spaceswarm_proxy.dht.resolver import BootstrapResolver
from spaceswarm_proxy.dht.state import MAX_NODES, StateDirectory
from spaceswarm_proxy.dht.table import Entry

log = txaio.make_logger()

#: Seconds between two times that the state is saved, and between looks at the machine's own address.
SAVING = 300.0
LOOKING = 5.0

#: Told of what happens, by name.
Tell = Callable[[str], None]


class RoomAbove(Protocol):
    """What stands on a core, and shares its turns and its timer."""

    def turn_ended(self) -> None:
        """A turn is over."""

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""

    def advance(self, now: float) -> None:
        """Do what is due."""


class CoreRunner:
    """A core at work, from its construction on until it is closed."""

    def __init__(
        self,
        reactor: Any,
        options: NodeOptions,
        bootstrap: Sequence[BootstrapNode],
        host: str,
        server_ports: Sequence[int],
        state: StateDirectory | None,
        seed: bytes,
        tell: Tell,
    ) -> None:
        """
        :param host: the IPv4 address to bind to.
        :param server_ports: what the server socket may be bound to, best first.
        :param seed: to be remembered.
        :param tell: told of events: those of the core, and ``moved`` when the machine is in another network.
        :raises CannotListenError: none of the ports is to be had.
        """
        #: What stands on the core.
        self.above: RoomAbove | None = None
        self._reactor = reactor
        self._state = state
        self._seed = seed
        self._tell = tell
        self._latest_time = 0.0
        self._set_back = 0.0
        self._timer: Any = None
        self._timer_due = 0.0
        self._news: deque[str] = deque()
        # Whom to begin with, until we have begun.
        self._known: Sequence[bytes] | None = None
        now = self.now()
        self._save_at = now + SAVING
        self._look_at = now + LOOKING
        self._local_host = local_host()
        self._were_bound = (0, 0)
        self.core = NodeCore(options, SystemRandom(), self._transmit, self._report, _wall_clock, now)
        self.ports = NodePorts(reactor, host, self.core.receive, self.now, self.arm)
        self._resolver = BootstrapResolver(reactor, bootstrap, self._beginnings_found)
        self.ports.bind(server_ports)
        self.core.server_port = self.ports.server_port

    def start(self, known: Sequence[bytes]) -> None:
        """
        Look for the network, as soon as there is anybody to begin with.

        :param known: addresses from before, most recently heard first.
        """
        resolving = self._resolver.start()
        self._known = known
        if known:
            self._begin(None)
        else:
            resolving.addCallback(self._begin)

    def _begin(self, _: None) -> None:
        self.core.bootstrap = self._resolver.addresses
        # Whoever was suspended meanwhile begins when it is resumed.
        if self._known is not None and not self.core.suspended:
            known, self._known = self._known, None
            self.core.start(self.now(), known)
            self.arm()

    def now(self) -> float:
        """:returns: seconds; when the machine's clock is set back, this goes on from where it was."""
        now: float = self._reactor.seconds() + self._set_back
        if now < self._latest_time:
            self._set_back += self._latest_time - now
            now = self._latest_time
            # The reactor's timer waits until the clock is where it was; the next arm() sets another.
            self._timer_due = inf
        self._latest_time = now
        return now

    def soon(self, function: Callable[[float], None]) -> None:
        """Call a function with the time, in a turn of its own: then it may do anything with the node."""

        def turn() -> None:
            try:
                function(self.now())
            finally:
                self.arm()

        self._reactor.callLater(0, turn)

    def latest(self, count: int) -> list[bytes]:
        """:returns: the addresses of the nodes that were heard most recently."""
        return [entry.contact.address for entry in nlargest(count, self.core.table, key=_heard)]

    # Life.

    def suspend(self) -> None:
        """Go quiet, and close the sockets."""
        if not self.core.suspended:
            self._save()
            self.core.suspend(self.now())
            self._stop()

    def resume(self) -> None:
        """
        Undo :meth:`suspend`, on the same ports if they are free.

        :raises CannotListenError: there is no port to be had.
        """
        if self.core.suspended and not self.core.closed:
            server, client = self._were_bound
            self.ports.bind((server, *candidates(server, True)), client)
            self.core.server_port = self.ports.server_port
            self.core.resume(self.now())
            if not self._resolver.busy:
                self._begin(None)
            self.arm()

    def close(self) -> None:
        """Stop for ever."""
        if not self.core.closed:
            if not self.core.suspended:
                self._save()
            self.core.close(self.now())
            self._resolver.close()
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._were_bound = self.ports.close()

    # Datagrams and time.

    def _transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        self.ports.transmit(socket, address, data, ttl)

    def arm(self) -> None:
        """A turn is over: tell of it, and see that the timer goes off when the core has something to do."""
        if self.above is not None:
            self.above.turn_ended()
        if self._news:
            self._tell_news()
        if self.core.suspended:
            return
        deadline = self._next_deadline()
        if self._timer is not None:
            if deadline >= self._timer_due:
                return
            self._timer.cancel()
        self._timer_due = deadline
        self._timer = self._reactor.callLater(max(deadline - self.now(), 0), self._advance)

    def _next_deadline(self) -> float:
        above = None if self.above is None else self.above.next_deadline()
        return self.core.next_deadline() if above is None else min(above, self.core.next_deadline())

    def _advance(self) -> None:
        self._timer = None
        now = self.now()
        try:
            self.core.advance(now)
            if self.above is not None:
                self.above.advance(now)
            if now >= self._look_at and not self.core.suspended:
                self._look_at = now + LOOKING
                self._look_around(now)
        finally:
            self.arm()

    def _look_around(self, now: float) -> None:
        """Is the machine in another network?  Is it time to save?"""
        host = local_host()
        if host != self._local_host:
            self._local_host = host
            self.core.moved(now)
            self._report("moved")
        if now >= self._save_at:
            self._save()

    def _save(self) -> None:
        self._save_at = self.now() + SAVING
        # Whom we knew is worth more than that we know nobody now.
        if self._state is not None and (len(self.core.table) or not self._state.exists):
            self._state.save(self._seed, self.latest(MAX_NODES))

    # What the core tells.

    def _report(self, name: str) -> None:
        if name == "beginnings_wanted":
            self._resolver.again()
        else:
            self._news.append(name)

    def _tell_news(self) -> None:
        """Only now, as those who are told may do anything with the node: the core has to be done with its turn."""
        while self._news and not self.core.closed:
            name = self._news.popleft()
            if name == "ready":
                self._save()
            self._tell(name)

    def _beginnings_found(self, addresses: tuple[bytes, ...]) -> None:
        self.core.bootstrap = addresses


def _wall_clock() -> float:
    return time.time() * 1000


def _heard(entry: Entry) -> float:
    return entry.heard
