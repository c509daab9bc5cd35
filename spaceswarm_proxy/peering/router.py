"""
Which server of this node a message is for: handshakes, and the messages of hole punching.

Whatever is for no server of ours goes on to ``dht/forwarding.py``, on every socket of the node.  An answer may take its
time: it goes out when it is there, to where the message tells::

    client --FROM_CLIENT--> server --REPLY--> client                                        without a node in between
    node --FROM_RELAY--> server --FROM_SERVER--> node                                       which answers the client
    node --FROM_RELAY--> other node --FROM_SECOND_RELAY--> server --FROM_SERVER--> node     where two know a part each

:source: npm ``hyperdht`` 6; spec/connect.md, sections 5.1 and 6.5.
"""

from __future__ import annotations

from typing import Protocol

from spaceswarm_proxy.dht.commands import PEER_HANDSHAKE, PEER_HOLEPUNCH
from spaceswarm_proxy.dht.contact import is_shunned
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake, PeerHolepunch
from spaceswarm_proxy.dht.message import Command, Request, encode_request, encode_response
from spaceswarm_proxy.dht.responder import ELSEWHERE


class _Arrival:
    """A message for one of our servers, and the way that it has come."""

    __slots__ = ("_node", "request", "socket", "source")

    def __init__(self, node: NodeCore, request: Request, source: bytes, socket: int) -> None:
        self.request = request
        #: Where it came from: six bytes.
        self.source = source
        #: The socket that it came in on.
        self.socket = socket
        self._node = node

    @property
    def to(self) -> bytes:
        """Our address as whoever has sent it sees it."""
        return self.request.to

    def _reply(self, value: bytes, socket: int | None) -> None:
        socket = self.socket if socket is None else socket
        id = self._node.id_for(socket)
        data = encode_response(self.request.tid, self.source, id, None, b"", 0, value)
        self._node.transmit(socket, self.source, data)

    def _relay(self, value: bytes, to: bytes, socket: int | None) -> None:
        socket = self.socket if socket is None else socket
        command = Command.make(False, self.request.command, self.request.target, value)
        data = encode_request(command, self.request.tid, to, self._node.id_for(socket), None)
        self._node.transmit(socket, to, data)


class HandshakeArrival(_Arrival):
    """The first message of a handshake."""

    __slots__ = ("value",)

    def __init__(self, node: NodeCore, request: Request, source: bytes, socket: int, value: PeerHandshake) -> None:
        super().__init__(node, request, source, socket)
        self.value = value

    @property
    def is_direct(self) -> bool:
        """Has the client sent it itself?"""
        return self.value.mode == Mode.FROM_CLIENT

    @property
    def client_address(self) -> bytes:
        """Where the client is; if it has not sent this itself, where the node in between says that it is."""
        if self.is_direct:
            return self.source
        assert self.value.peer_address is not None
        return self.value.peer_address

    def answer(self, noise: bytes, socket: int | None = None) -> None:
        """
        Send the second message back.

        :param socket: where from; by default from where the first one came in.
        """
        if self.is_direct:
            self._reply(PeerHandshake(Mode.REPLY, noise).encode(), socket)
        else:
            value = PeerHandshake(Mode.FROM_SERVER, noise, self.client_address)
            self._relay(value.encode(), self.value.relay_address or self.source, socket)


class HolepunchArrival(_Arrival):
    """A client's message of hole punching."""

    __slots__ = ("peer_address", "value")

    def __init__(self, node: NodeCore, request: Request, source: bytes, socket: int, value: PeerHolepunch) -> None:
        super().__init__(node, request, source, socket)
        assert value.peer_address is not None
        self.value = value
        #: Where the client is, as the node in between sees it.
        self.peer_address = value.peer_address

    def answer(self, payload: bytes, socket: int | None = None) -> None:
        """
        :param payload: encrypted.
        :param socket: where from; by default from where the client's message came in.
        """
        value = PeerHolepunch(Mode.FROM_SERVER, 0, payload, self.peer_address)
        self._relay(value.encode(), self.source, socket)


class Server(Protocol):
    """A server of ours: whoever answers does so by the arrival's ``answer``, now or later, or never."""

    def handshake(self, arrival: HandshakeArrival, now: float) -> bool:
        """:returns: whether it may be answered; where not, it was refused at once."""

    def holepunch(self, arrival: HolepunchArrival, now: float) -> bool:
        """:returns: whether it may be answered."""


class Router:
    """Gives each server what is for it."""

    def __init__(self, node: NodeCore) -> None:
        #: By the hashes of their keys.
        self.servers: dict[bytes, Server] = {}
        self._node = node
        self._forwarding = node.responder.forwarding
        node.responder.others[PEER_HANDSHAKE] = self._handshake
        node.responder.others[PEER_HOLEPUNCH] = self._holepunch

    def _handshake(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        """:raises MessageError: the value is none."""
        server = self._server(request)
        if server is None:
            return self._forwarding.handshake(request, source, socket, now)
        value = _relevant(PeerHandshake.parse(request.value))
        if value is None or not server.handshake(HandshakeArrival(self._node, request, source, socket, value), now):
            return None
        return ELSEWHERE

    def _holepunch(self, request: Request, source: bytes, socket: int, now: float) -> bytes | None:
        """:raises MessageError: the value is none."""
        server = self._server(request)
        value = PeerHolepunch.parse(request.value)
        if server is None or value.mode != Mode.FROM_RELAY:
            return self._forwarding.holepunch(request, source, socket, now)
        if value.peer_address is None or is_shunned(value.peer_address):
            return None
        taken = server.holepunch(HolepunchArrival(self._node, request, source, socket, value), now)
        return ELSEWHERE if taken else None

    def _server(self, request: Request) -> Server | None:
        return None if request.target is None else self.servers.get(request.target)


def _relevant(value: PeerHandshake) -> PeerHandshake | None:
    """:returns: what a server takes of a handshake: nothing, if it could not answer."""
    if value.mode == Mode.FROM_CLIENT:
        return value._replace(peer_address=None, relay_address=None)
    if value.peer_address is None or is_shunned(value.peer_address):
        return None
    if value.mode == Mode.FROM_RELAY:
        return value._replace(relay_address=None)
    if value.mode == Mode.FROM_SECOND_RELAY and value.relay_address is not None and not is_shunned(value.relay_address):
        return value
    return None
