"""
Connections of one node, without its sockets: servers that listen, and attempts to connect.

::

    Router       which server a message is for                   router.py
    Listener     a server                                        listener.py, server_handshake.py, announcer.py
    Pulses       nodes that servers hear from all the time       pulse.py
    Connector    an attempt to connect to one                    connector.py, search.py
    Passage      a stream, while a way for it is looked for      passage.py
    Punching     holes in address translations                   punching.py, puncher.py
    Room         what all of these share                         room.py

Whoever runs one also runs its :class:`~spaceswarm_proxy.dht.core.NodeCore`, which hands it what is for it; calls
:meth:`PeeringCore.advance` when :meth:`PeeringCore.next_deadline` has come; and tells of networks that change and
sockets that close.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.errors import ClosedError, KeyPairInUseError, SpaceswarmError, SuspendedError
from spaceswarm_proxy.peering.connector import ConnectOptions, Connector, Done
from spaceswarm_proxy.peering.listener import Accept, Listener, ListenOptions
from spaceswarm_proxy.peering.punching import Sockets
from spaceswarm_proxy.peering.raw import RawStreams
from spaceswarm_proxy.peering.relaying import Relaying
from spaceswarm_proxy.peering.room import Room
from spaceswarm_proxy.peering.router import Router

#: Called with the time when something is done.
Told = Callable[[float], None]


class PeeringCore:
    """The servers of a node, and its attempts to connect."""

    def __init__(
        self,
        node: NodeCore,
        streams: RawStreams,
        sockets: Sockets,
        local_hosts: Callable[[], list[bytes]],
        relaying: Relaying | None = None,
    ) -> None:
        """
        :param streams: makes the streams that connections are.
        :param sockets: makes sockets besides the node's two.
        :param local_hosts: gives our hosts in local networks, four bytes each; it must not take long.
        :param relaying: how peers are met at blind relays; without it, they are not.
        """
        self.node = node
        self.room = Room(node, streams, sockets, local_hosts, relaying)
        self.router = Router(node)
        self.listeners: dict[bytes, Listener] = {}
        self.connectors: set[Connector] = set()
        self.suspended = False
        self.closed = False
        node.foreign = self._foreign

    # Both sides.

    def listen(
        self,
        keeper: Keeper,
        accept: Accept,
        listening: Told,
        now: float,
        options: ListenOptions | None = None,
    ) -> Listener:
        """
        Begin to listen.

        :param keeper: keeps the key that the server is known by.
        :param accept: told of every connection that comes about.
        :param listening: told once when the server can be found.
        :returns: the server; to be closed with :meth:`close_listener`.
        :raises KeyPairInUseError: another server of this node has the same key.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        self._check_open()
        listener = Listener(self.room, keeper, accept, options or ListenOptions(), now)
        if listener.target in self.listeners:
            raise KeyPairInUseError()
        self.listeners[listener.target] = listener
        self.router.servers[listener.target] = listener
        self.node.serve(listener.target, PeerRecord(keeper.public_key))
        listener.start(listening, now)
        return listener

    def close_listener(self, listener: Listener, done: Told, now: float) -> None:
        """
        Listen no more; connections that were accepted stay.

        :param done: told once when the server can't be found any more.
        """
        if self.listeners.get(listener.target) is listener:
            del self.listeners[listener.target], self.router.servers[listener.target]
            self.node.unserve(listener.target)
        listener.close(done, now)

    def connect(
        self,
        public_key: bytes,
        keeper: Keeper,
        done: Done,
        now: float,
        options: ConnectOptions | None = None,
    ) -> Connector:
        """
        Begin to connect to a server.

        :param public_key: the server's, 32 bytes.
        :param keeper: keeps the key that we are known by.
        :param done: told once of the connection, or why there is none; perhaps at once.
        :returns: the attempt, which can be cancelled.
        :raises ValueError: the key has another length.
        :raises SpaceswarmError: the node is closed or suspended.
        """
        if len(public_key) != PUBLIC_KEY_LENGTH:
            raise ValueError(f"a public key has {PUBLIC_KEY_LENGTH} bytes, not {len(public_key)}")
        self._check_open()
        connector = Connector(self.room, public_key, keeper, done, options or ConnectOptions(), self.connectors.discard)
        self.connectors.add(connector)
        connector.start(now)
        return connector

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the node is closed")
        if self.suspended:
            raise SuspendedError()
        self.node.check_open()

    # What comes from outside.

    def _foreign(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        """A datagram that is none of the DHT's."""
        if len(data) > 1 or not self.room.punching.received(source, socket, now):
            self.node.ignored += 1

    def network_changed(self, now: float) -> None:
        """The machine may be somewhere else: servers announce themselves again."""
        for listener in self.listeners.values():
            listener.announcer.refresh()

    def socket_closed(self, socket: int) -> None:
        """A socket is gone: no way goes over it any more."""
        self.room.routes.socket_closed(socket)

    def forget_route(self, public_key: bytes) -> None:
        """A stream to this peer has failed: the way that it went may be none any more."""
        self.room.routes.pop(public_key)

    # Time.

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        return self.room.schedule.next_deadline()

    def advance(self, now: float) -> None:
        """Do what is due."""
        self.room.schedule.advance(now)

    # Life.

    def suspend(self, done: Told, now: float) -> None:
        """
        Go quiet: attempts fail, handshakes under way come to nothing, and servers are taken back from the network.

        :param done: told once when the node itself may be suspended.
        """
        self.suspended = True
        self._give_up(SuspendedError(), now)
        _for_all([listener.suspend for listener in self.listeners.values()], done, now)

    def resume(self, now: float) -> None:
        """Undo :meth:`suspend`; the node was resumed before."""
        if self.suspended and not self.closed:
            self.suspended = False
            for listener in self.listeners.values():
                listener.resume(now)

    def close(self, done: Told, now: float) -> None:
        """
        Stop for ever; connections stay.

        :param done: told once when the node itself may be closed.
        """
        self.closed = True
        self._give_up(ClosedError("the node is closed"), now)
        _for_all([partial(self.close_listener, listener) for listener in self.listeners.values()], done, now)

    def _give_up(self, problem: SpaceswarmError, now: float) -> None:
        for connector in list(self.connectors):
            connector.give_up(problem, now)


def _for_all(actions: list[Callable[[Told, float], None]], done: Told, now: float) -> None:
    """
    Begin several things.

    :param done: told when all of them are done.
    """
    missing = len(actions)

    def one_less(now: float) -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            done(now)

    for action in actions:
        action(one_less, now)
    if not actions:
        done(now)
