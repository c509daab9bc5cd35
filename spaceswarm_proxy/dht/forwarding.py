"""
Forwarding between two peers that cannot reach each other yet: handshakes, and the messages of hole punching.

A node that a server has announced itself to passes on what clients have for that server, and what the server answers.
It keeps nothing, sends nothing again, and sees only what is encrypted: the client's transaction id goes all the way
round, and the client repeats the whole of it when something is lost::

    client --FROM_CLIENT--> node --FROM_RELAY--> server --FROM_SERVER--> node --REPLY--> client

What is passed on is a single datagram for each that came, hardly larger: nothing is amplified.

:source: npm ``hyperdht`` 6; spec/connect.md, sections 5 and 6.5.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

from construct import If, Struct, this

from spaceswarm_proxy.codec.compact import ADDRESS, BUFFER, UINT, encode_buffer, encode_uint
from spaceswarm_proxy.dht.commands import PEER_HANDSHAKE
from spaceswarm_proxy.dht.contact import is_shunned
from spaceswarm_proxy.dht.message import Command, Request, encode_request, encode_response
from spaceswarm_proxy.dht.store import Store
from spaceswarm_proxy.dht.table import RoutingTable
from spaceswarm_proxy.dht.values import parse_value

HAS_PEER_ADDRESS = 1
HAS_RELAY_ADDRESS = 2

HANDSHAKE = Struct(
    "flags" / UINT,
    "mode" / UINT,
    "noise" / BUFFER,
    "peer_address" / If(this.flags & HAS_PEER_ADDRESS, ADDRESS),
    "relay_address" / If(this.flags & HAS_RELAY_ADDRESS, ADDRESS),
)

HOLEPUNCH = Struct(
    "flags" / UINT,
    "mode" / UINT,
    "id" / UINT,
    "payload" / BUFFER,
    "peer_address" / If(this.flags & HAS_PEER_ADDRESS, ADDRESS),
)


class Mode(IntEnum):
    """Who has sent this, and so whom it is for."""

    FROM_CLIENT = 0
    FROM_SERVER = 1
    FROM_RELAY = 2
    FROM_SECOND_RELAY = 3
    REPLY = 4


class PeerHandshake(NamedTuple):
    """The value of PEER_HANDSHAKE."""

    #: A :class:`Mode`, or a number that is none.
    mode: int
    noise: bytes
    #: The client's address, on the way to the server; the server's, on the way back.
    peer_address: bytes | None = None
    #: The node in between that the server does not know.
    relay_address: bytes | None = None

    @classmethod
    def parse(cls, data: bytes | None) -> PeerHandshake:
        """:raises MessageError: it is not one."""
        fields = parse_value(HANDSHAKE, data)
        return cls(fields.mode, fields.noise, fields.peer_address, fields.relay_address)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        flags = (HAS_PEER_ADDRESS if self.peer_address else 0) | (HAS_RELAY_ADDRESS if self.relay_address else 0)
        head = encode_uint(flags) + encode_uint(self.mode) + encode_buffer(self.noise)
        return head + (self.peer_address or b"") + (self.relay_address or b"")


class PeerHolepunch(NamedTuple):
    """The value of PEER_HOLEPUNCH."""

    mode: int
    #: Which of the server's handshakes this belongs to.
    id: int
    #: Encrypted.
    payload: bytes
    peer_address: bytes | None = None

    @classmethod
    def parse(cls, data: bytes | None) -> PeerHolepunch:
        """:raises MessageError: it is not one."""
        fields = parse_value(HOLEPUNCH, data)
        return cls(fields.mode, fields.id, fields.payload, fields.peer_address)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        flags = HAS_PEER_ADDRESS if self.peer_address else 0
        head = encode_uint(flags) + encode_uint(self.mode) + encode_uint(self.id) + encode_buffer(self.payload)
        return head + (self.peer_address or b"")


class Node(Protocol):
    """What forwarding needs of its node."""

    table: RoutingTable
    store: Store | None

    def id_for(self, socket: int) -> bytes | None:
        """:returns: our id, if it may be told over this socket."""

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """Send a datagram."""


class Forwarding:
    """Passes on what is for others."""

    def __init__(self, node: Node) -> None:
        #: Datagrams that were passed on: those of handshakes, and those of hole punching.
        self.handshakes = 0
        self.holepunches = 0
        self._node = node

    def handshake(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        """
        A PEER_HANDSHAKE has come.

        :returns: what to send back; empty bytes where it is passed on, ``None`` where it is not.
        :raises MessageError: the value is none.
        """
        value = PeerHandshake.parse(request.value)
        server = self._server(request, now)
        if value.mode == Mode.FROM_CLIENT:
            to = value.relay_address or server
            if to is None:
                return self._nearer(request, source, socket)
            return self._pass_on(request, to, socket, PeerHandshake(Mode.FROM_RELAY, value.noise, source).encode())
        if value.mode == Mode.FROM_RELAY and server is not None:
            passed = PeerHandshake(Mode.FROM_SECOND_RELAY, value.noise, value.peer_address, source)
            return self._pass_on(request, server, socket, passed.encode())
        if value.mode == Mode.FROM_SERVER and value.peer_address is not None:
            reply = PeerHandshake(Mode.REPLY, value.noise, source).encode()
            return self._answer(request, value.peer_address, socket, reply)
        return None

    def holepunch(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        """
        A PEER_HOLEPUNCH has come.

        :returns: empty bytes where it is passed on, ``None`` where it is not.
        :raises MessageError: the value is none.
        """
        value = PeerHolepunch.parse(request.value)
        if value.mode == Mode.FROM_CLIENT:
            to = value.peer_address or self._server(request, now)
            if to is not None:
                passed = PeerHolepunch(Mode.FROM_RELAY, value.id, value.payload, source)
                return self._pass_on(request, to, socket, passed.encode())
        if value.mode == Mode.FROM_SERVER and value.peer_address is not None:
            reply = PeerHolepunch(Mode.REPLY, value.id, value.payload, source).encode()
            return self._answer(request, value.peer_address, socket, reply)
        return None

    def _server(self, request: Request, now: float) -> bytes | None:
        """:returns: where the server is that the request is for, if it has announced itself here."""
        if request.target is None or self._node.store is None:
            return None
        forward = self._node.store.forward(request.target, now)
        return None if forward is None else forward.relay

    def _nearer(self, request: Request, source: bytes, socket: int) -> bytes:
        """Whoever asks may ask those who are nearer to the server."""
        nearest = b"" if request.target is None else self._node.table.encoded_closest(request.target)
        return encode_response(request.tid, source, self._node.id_for(socket), None, nearest, 0, None)

    def _pass_on(self, request: Request, to: bytes, socket: int, value: bytes) -> bytes | None:
        command = Command.make(request.internal, request.command, request.target, value)
        id = self._node.id_for(socket)
        return self._send(request, to, socket, encode_request(command, request.tid, to, id, None))

    def _answer(self, request: Request, to: bytes, socket: int, value: bytes) -> bytes | None:
        id = self._node.id_for(socket)
        return self._send(request, to, socket, encode_response(request.tid, to, id, None, b"", 0, value))

    def _send(self, request: Request, to: bytes, socket: int, data: bytes) -> bytes | None:
        if is_shunned(to):
            return None
        if request.command == PEER_HANDSHAKE:
            self.handshakes += 1
        else:
            self.holepunches += 1
        self._node.transmit(socket, to, data)
        return b""
