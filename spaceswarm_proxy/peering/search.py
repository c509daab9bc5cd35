"""
Finding a server: which nodes know the way, and which of them brings an answer to our handshake first.

Nodes that may know it are tried one after the other; a moment later the network is asked as well, and every node that
has a record of the server is tried, a few at a time.  The moment spares the network most questions: who connects again
mostly goes the way of the last time.  (The reference does not wait.)

To read an answer may take a while, where the key is kept elsewhere; its node counts as under way until then.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from spaceswarm_proxy.dht.commands import FIND_PEER, PEER_HANDSHAKE
from spaceswarm_proxy.dht.contact import is_shunned
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.query import Query, QueryReply
from spaceswarm_proxy.dht.requests import RETRIES
from spaceswarm_proxy.errors import (
    BadHandshakeReplyError,
    PeerConnectionFailedError,
    PeerNotFoundError,
    RequestTimeoutError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.asking import Asking
from spaceswarm_proxy.peering.client_handshake import Answer, ClientHandshake
from spaceswarm_proxy.peering.room import Room
from spaceswarm_proxy.peering.routes import Route
from spaceswarm_proxy.peering.schedule import Delayed

#: Nodes that are tried at the same time, with and without nodes that were known before.
SLOTS_WITH_KNOWN, SLOTS = 3, 2
#: Seconds that nodes that were known before are given, before others are asked.
HEAD_START = 0.2
#: Nodes that are tried for one connection; three know the way, as a rule.
MAX_TRIED = 20


class Search:
    """The search of one client for one server."""

    def __init__(
        self,
        room: Room,
        handshake: ClientHandshake,
        target: bytes,
        message: bytes,
        found: Callable[[Answer, float], None],
        failed: Callable[[SpaceswarmError, float], None],
    ) -> None:
        """
        :param target: the hash of the server's key.
        :param message: the value of PEER_HANDSHAKE.
        :param found: told of the first answer, once.
        :param failed: told once why there is none.
        """
        #: Nodes that were tried, in their order.
        self.tried: list[bytes] = []
        self._room = room
        self._handshake = handshake
        self._target = target
        self._command = Command.make(False, PEER_HANDSHAKE, target, message)
        self._found = found
        self._failed = failed
        self._asking = Asking(room.node)
        self._query: Query | None = None
        self._head_start: Delayed | None = None
        self._known: list[bytes] = []
        self._waiting: deque[bytes] = deque()
        self._free = SLOTS
        self._slots = SLOTS
        self._queries_left = 1
        self._has_record = False
        self._over = False

    def start(self, route: Route | None, known: Sequence[bytes], now: float) -> None:
        """
        Begin.

        :param route: the way that an earlier connection went: it is tried first.
        :param known: nodes that may know the way, or may have known it.
        """
        self._known = [address for address in dict.fromkeys(known) if not is_shunned(address)][:MAX_TRIED]
        if route is None:
            self._search(now)
        else:
            self._try(route.address, self._search, now, route.socket)

    def stop(self) -> None:
        """Nobody wants to know any more; nobody is told."""
        self._over = True
        self._asking.forget()
        self._waiting.clear()
        if self._head_start is not None:
            self._head_start.cancel()
            self._head_start = None
        if self._query is not None:
            self._query.cancel()
            self._query = None

    # Nodes, one by one.

    def _try(self, address: bytes, then: Callable[[float], None], now: float, socket: int | None = None) -> None:
        """:param then: called if it comes to nothing with this node."""

        def answered(response: Response | SpaceswarmError, now: float) -> None:
            if isinstance(response, Response):
                self._handshake.read(address, response, partial(self._read, then), now, socket)
            elif isinstance(response, RequestTimeoutError):
                then(now)
            else:
                self._end(response, now)

        self._asking.ask(address, self._command, answered, now, socket=socket)

    def _read(self, then: Callable[[float], None], answer: Answer | SpaceswarmError, now: float) -> None:
        """An answer was read, perhaps long after it had come."""
        if self._over:
            return
        if isinstance(answer, Answer):
            self.stop()
            self._found(answer, now)
        elif isinstance(answer, BadHandshakeReplyError):
            then(now)
        else:
            self._end(answer, now)

    def _search(self, now: float) -> None:
        self._slots = self._free = SLOTS_WITH_KNOWN if self._known else SLOTS
        self._queries_left = 2 if self._known else 1
        if self._known:
            self._free -= 1
            self._head_start = self._room.schedule.call_at(now + HEAD_START, self._head_start_over)
            self._try_known(deque(self._known), now)
        else:
            self._ask_network((), now)

    def _head_start_over(self, now: float) -> None:
        if self._head_start is not None:
            self._head_start.cancel()
            self._head_start = None
        self._ask_network(self._known, now)

    def _try_known(self, untried: deque[bytes], now: float) -> None:
        if not untried:
            self._released(now)
            return
        address = untried.popleft()
        self.tried.append(address)
        self._try(address, lambda now: self._try_known(untried, now), now)

    # The network.

    def _ask_network(self, nodes: Sequence[bytes], now: float) -> None:
        self._queries_left -= 1
        find = Command.make(False, FIND_PEER, self._target)
        self._query = Query(
            self._room.node, self._target, find, on_reply=self._replied, on_end=self._ended, retries=RETRIES
        )
        try:
            self._room.node.begin(self._query, now, nodes)
        except SpaceswarmError as problem:
            self._end(problem, now)

    def _replied(self, reply: QueryReply, now: float) -> None:
        if reply.response.value is None:
            return
        self._has_record = True
        address = reply.contact.address
        if address not in self._known and address not in self.tried and len(self.tried) < MAX_TRIED:
            self.tried.append(address)
            self._waiting.append(address)
            self._try_waiting(now)

    def _ended(self, problem: SpaceswarmError | None, now: float) -> None:
        self._query = None
        if problem is not None:
            self._end(problem, now)
        else:
            self._go_on(now)

    def _try_waiting(self, now: float) -> None:
        while self._waiting and self._free and not self._over:
            self._free -= 1
            self._try(self._waiting.popleft(), self._released, now)

    def _released(self, now: float) -> None:
        self._free += 1
        self._try_waiting(now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Once more, or not, if nothing is under way."""
        if self._over or self._query is not None or self._waiting or self._free < self._slots:
            return
        if self._head_start is not None:
            self._head_start_over(now)
        elif self._queries_left:
            self._ask_network((), now)
        else:
            self._end(PeerConnectionFailedError() if self._has_record else PeerNotFoundError(), now)

    def _end(self, problem: SpaceswarmError, now: float) -> None:
        if not self._over:
            self.stop()
            self._failed(problem, now)
