"""
What a node answers, or that it does not.

Wrong syntax, a wrong signature or a missing field gets no answer at all; an unknown command or a wrong token gets an
error.  Nothing is ever sent that is larger than what the reference would send for the same request.

The three requests that make up nearly all of a network's traffic are answered in :meth:`Responder.answer` from the
bytes as they came; all others are parsed, and the tests hold both ways equal.

:source: npm ``dht-rpc`` 6 and ``hyperdht`` 6; spec/dht.md, sections 6 to 9 and 14.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from spaceswarm_proxy.codec.compact import ADDRESS_LENGTH, encode_buffer
from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.commands import (
    ANNOUNCE,
    DELAYED_PING,
    DOWN_HINT,
    FIND_NODE,
    FIND_PEER,
    IMMUTABLE_GET,
    IMMUTABLE_PUT,
    INVALID_TOKEN,
    LOOKUP,
    MUTABLE_GET,
    MUTABLE_PUT,
    OK,
    PEER_HANDSHAKE,
    PEER_HOLEPUNCH,
    PING,
    PING_NAT,
    PLUGIN,
    SEQ_REUSED,
    SEQ_TOO_LOW,
    UNANNOUNCE,
    UNKNOWN_COMMAND,
)
from spaceswarm_proxy.dht.contact import HOST_LENGTH, ID_LENGTH
from spaceswarm_proxy.dht.forwarding import Forwarding
from spaceswarm_proxy.dht.message import (
    HAS_CLOSER,
    HAS_ID,
    HAS_TARGET,
    HAS_TOKEN,
    HAS_VALUE,
    HEAD_LENGTH,
    INTERNAL,
    RESPONSE_BYTE,
    Request,
    encode_response,
    parse_request,
)
from spaceswarm_proxy.dht.rates import RequestRates
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.dht.store import Store
from spaceswarm_proxy.dht.table import RoutingTable
from spaceswarm_proxy.dht.tokens import Tokens
from spaceswarm_proxy.dht.values import Announce, parse_mutable_put, parse_uint
from spaceswarm_proxy.errors import MessageError

#: Milliseconds that an answer may be asked to be delayed.
MAX_DELAY = 10_000
#: Delayed answers that are owed, to everybody and to one host.
MAX_DELAYED = 1024
MAX_DELAYED_OF_HOST = 32

_WITH_ID = HEAD_LENGTH + ID_LENGTH
#: Where the command of a plain request stands, by its flags: without token and value.
_PLAIN = {
    flags: _WITH_ID if flags & HAS_ID else HEAD_LENGTH
    for flags in (INTERNAL, INTERNAL | HAS_ID, INTERNAL | HAS_TARGET, INTERNAL | HAS_TARGET | HAS_ID)
} | {HAS_TARGET: HEAD_LENGTH, HAS_TARGET | HAS_ID: _WITH_ID}
_HEADS = [bytes((RESPONSE_BYTE, flags)) for flags in range(32)]


#: Instead of an answer: it goes, or went, another way than back at once.
ELSEWHERE = b""


class Answer(Protocol):
    """A way to answer a command."""

    def __call__(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        """
        :param source: six bytes.
        :returns: bytes to send back, :data:`ELSEWHERE`, or ``None`` for silence.
        """


class Surroundings(Protocol):
    """What the responder needs of its node."""

    table: RoutingTable
    tokens: Tokens
    #: ``None`` while the node stores nothing for others.
    store: Store | None

    #: Our id, when it may be told over the server socket.
    told_id: bytes | None

    def id_for(self, socket: int) -> bytes | None:
        """:returns: our id, if it may be told over this socket."""

    def heard(self, source: bytes, id: bytes | None, now: float) -> bool:
        """
        Somebody has sent a request with an id.

        :returns: whether it is the sender's own.
        """

    def told_down(self, address: bytes, now: float) -> None:
        """Somebody says that a node is down."""

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """Send a datagram."""

    def wall_clock(self) -> float:
        """:returns: milliseconds since 1970."""


class Responder:
    """Answers requests."""

    def __init__(self, node: Surroundings, profile: Profile, rates: RequestRates) -> None:
        self.rates = rates
        #: Requests that were answered, that were not, and that came too fast.
        self.answers = 0
        self.silences = 0
        self.refused = 0
        self.forwarding = Forwarding(node)
        #: External commands that are not about what is stored; a room above may serve them in its own way.
        self.others: dict[int, Answer] = {
            PEER_HANDSHAKE: self.forwarding.handshake,
            PEER_HOLEPUNCH: self.forwarding.holepunch,
        }
        self._node = node
        self._profile = profile
        # (when, sequence number, socket, address, datagram)
        self._delayed: list[tuple[float, int, int, bytes, bytes]] = []
        self._delayed_of_host: dict[bytes, int] = {}
        self._sequence = 0
        self._internal: dict[int, Answer] = {
            PING: self._ping,
            PING_NAT: self._ping_nat,
            FIND_NODE: self._find_node,
            DOWN_HINT: self._down_hint,
            DELAYED_PING: self._delayed_ping,
        }
        self._stored: dict[int, Callable[[Request, bytes, int, float, Store], bytes | None]] = {
            FIND_PEER: self._find_peer,
            LOOKUP: self._lookup,
            ANNOUNCE: self._announce,
            UNANNOUNCE: self._unannounce,
            MUTABLE_PUT: self._mutable_put,
            MUTABLE_GET: self._mutable_get,
            IMMUTABLE_PUT: self._immutable_put,
            IMMUTABLE_GET: self._immutable_get,
            PLUGIN: self._plugin,
        }

    def answer(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        """
        :param data: a datagram that begins as a request does.
        :param source: where it came from.
        :returns: what to send back over the same socket; ``None`` for nothing.
        """
        if not self.rates.allows(source, now):
            self.refused += 1
            return None
        reply = self._answer_plain(data, source, socket, now) or self.answer_parsed(data, source, socket, now)
        if reply is None:
            self.silences += 1
            return None
        self.answers += 1
        return reply or None

    def _answer_plain(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        """:returns: the answer to a plain PING, FIND_NODE or LOOKUP; ``None`` where it needs a closer look."""
        flags = data[1]
        offset = _PLAIN.get(flags)
        if offset is None or len(data) <= offset:
            return None
        node = self._node
        command = data[offset]
        target = b""
        if not flags & HAS_TARGET:
            if command != PING:
                return None
        else:
            target = data[offset + 1 : offset + 1 + ID_LENGTH]
            if len(target) < ID_LENGTH or command != (FIND_NODE if flags & INTERNAL else LOOKUP):
                return None
            if node.store is None and not flags & INTERNAL:
                return None
        if flags & HAS_ID:
            node.heard(source, data[HEAD_LENGTH:_WITH_ID], now)
        tail = node.told_id if socket == SERVER_SOCKET else None
        head = HAS_ID
        if tail is None:
            head, tail = 0, b""
        if target:
            more, fields = self._nearest(target, source, now, not flags & INTERNAL)
            head |= more
            tail += fields
        return _HEADS[head] + data[2:4] + source + tail

    def _nearest(self, target: bytes, source: bytes, now: float, records: bool) -> tuple[int, bytes]:
        """:returns: flags and fields: the nodes near to the target, and who is under it if that is wanted too."""
        node = self._node
        closer = node.table.encoded_closest(target)
        flags = HAS_CLOSER if closer else 0
        if not records or node.store is None:
            return flags, closer
        value = node.store.lookup(target, now)
        token = node.tokens.issue(source, now)
        if value is None:
            return flags | HAS_TOKEN, token + closer
        return flags | HAS_TOKEN | HAS_VALUE, token + closer + encode_buffer(value)

    def answer_parsed(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        """
        The same as :meth:`answer`, for every request, and without counting it.

        :returns: :data:`ELSEWHERE` too.
        """
        try:
            request = parse_request(data)
        except MessageError:
            return None
        if request.token is not None and not self._node.tokens.accepts(request.token, source, now):
            return self._error(INVALID_TOKEN, request, source, socket, self._node.tokens.issue(source, now))
        if request.id is not None:
            self._node.heard(source, request.id, now)
        try:
            return self._dispatch(request, source, socket, now)
        except MessageError:
            return None

    def _dispatch(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        if request.internal:
            serve = self._internal.get(request.command)
        else:
            serve = self.others.get(request.command)
        if serve is not None:
            return serve(request, source, socket, now)
        store, stored = self._node.store, self._stored.get(request.command)
        if request.internal or store is None or stored is None:
            return self._error(UNKNOWN_COMMAND, request, source, socket)
        return stored(request, source, socket, now, store)

    # Forms of answers.

    def _reply(
        self,
        request: Request,
        source: bytes,
        socket: int,
        value: bytes | None = None,
        *,
        error: int = OK,
        token: bytes | None = None,
        closer: bool = False,
    ) -> bytes:
        nearest = self._node.table.encoded_closest(request.target) if closer and request.target is not None else b""
        return encode_response(request.tid, source, self._node.id_for(socket), token, nearest, error, value)

    def _error(self, code: int, request: Request, source: bytes, socket: int, token: bytes | None = None) -> bytes:
        return self._reply(request, source, socket, error=code, token=token, closer=True)

    def _full(self, request: Request, source: bytes, socket: int, value: bytes | None, now: float) -> bytes:
        """With a token, so that the asker may write."""
        token = self._node.tokens.issue(source, now)
        return self._reply(request, source, socket, value, token=token, closer=True)

    # Internal commands.

    def _ping(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        return self._reply(request, source, socket)

    def _ping_nat(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        port = (request.value or b"")[:2]
        if len(port) == 2 and port != b"\x00\x00":
            to = source[:HOST_LENGTH] + port
            self._node.transmit(socket, to, self._reply(request, to, socket))
            return ELSEWHERE
        return None

    def _find_node(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        return None if request.target is None else self._reply(request, source, socket, closer=True)

    def _down_hint(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        if request.value is None or len(request.value) < ADDRESS_LENGTH:
            return None
        self._node.told_down(request.value[:ADDRESS_LENGTH], now)
        return self._reply(request, source, socket)

    def _delayed_ping(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        delay = (request.value or b"")[:4]
        milliseconds = int.from_bytes(delay, "little")
        host = source[:HOST_LENGTH]
        owed = self._delayed_of_host.get(host, 0)
        if len(delay) < 4 or milliseconds > MAX_DELAY:
            return None
        if len(self._delayed) < MAX_DELAYED and owed < MAX_DELAYED_OF_HOST:
            self._delayed_of_host[host] = owed + 1
            self._sequence += 1
            reply = self._reply(request, source, socket)
            heappush(self._delayed, (now + milliseconds / 1000, self._sequence, socket, source, reply))
            return ELSEWHERE
        return None

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        return self._delayed[0][0] if self._delayed else None

    def advance(self, now: float) -> None:
        """Send what was to be delayed until now."""
        while self._delayed and self._delayed[0][0] <= now:
            _, _, socket, address, reply = heappop(self._delayed)
            host = address[:HOST_LENGTH]
            self._delayed_of_host[host] -= 1
            if not self._delayed_of_host[host]:
                del self._delayed_of_host[host]
            self._node.transmit(socket, address, reply)

    def forget_delayed(self) -> None:
        """Owe nobody an answer any more."""
        self._delayed.clear()
        self._delayed_of_host.clear()

    # What only nodes with a store serve.

    def _find_peer(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        if request.target is None:
            return None
        forward = store.forward(request.target, now)
        return self._full(request, source, socket, None if forward is None else forward.record.encode(), now)

    def _lookup(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        if request.target is None:
            return None
        return self._full(request, source, socket, store.lookup(request.target, now), now)

    def _announce(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        own_id = self._node.id_for(socket)
        if request.target is None or request.token is None or own_id is None:
            return None
        announce = Announce.parse(request.value)
        if announce.peer is not None:
            if not announce.verified(self._profile, request.target, own_id, request.token):
                return None
            taken = store.announce(request.target, announce, source, now, self._node.wall_clock())
        else:
            taken = announce.refresh is not None and store.refresh(announce.refresh, source, now)
        return self._reply(request, source, socket) if taken else None

    def _unannounce(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        own_id = self._node.id_for(socket)
        if request.target is None or request.token is None or own_id is None:
            return None
        announce = Announce.parse(request.value)
        if not announce.verified(self._profile, request.target, own_id, request.token, withdrawn=True):
            return None
        assert announce.peer is not None
        store.unannounce(request.target, announce.peer.public_key)
        return self._reply(request, source, socket)

    def _mutable_get(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        seq = parse_uint(request.value)
        if request.target is None:
            return None
        record = store.mutables.get(request.target, now)
        value = record.encode() if record is not None and record.seq >= seq else None
        return self._full(request, source, socket, value, now)

    def _mutable_put(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        if request.target is None or request.token is None:
            return None
        public_key, record = parse_mutable_put(request.value)
        if hash32(public_key) != request.target or not record.verified(self._profile.mutable_put, public_key):
            return None
        known = store.mutables.get(request.target, now)
        if known is not None and known.seq == record.seq and known.value != record.value:
            return self._error(SEQ_REUSED, request, source, socket)
        if known is not None and known.seq > record.seq:
            return self._error(SEQ_TOO_LOW, request, source, socket)
        taken = store.put_mutable(request.target, record, source, now)
        return self._full(request, source, socket, None, now) if taken else None

    def _immutable_get(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        if request.target is None:
            return None
        return self._full(request, source, socket, store.immutables.get(request.target, now), now)

    def _immutable_put(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        if request.target is None or request.token is None or request.value is None:
            return None
        if hash32(request.value) != request.target:
            return None
        taken = store.put_immutable(request.target, request.value, source, now)
        return self._full(request, source, socket, None, now) if taken else None

    def _plugin(self, request: Request, source: bytes, socket: int, now: float, store: Store) -> bytes | None:
        """No plugin is registered here."""
        return None
