"""What listens under a public key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Self

import txaio
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.dht.contact import host_port
from spaceswarm_proxy.errors import ConnectCancelledError, SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.listener import Decide, Listener, ListenOptions
from spaceswarm_proxy.peering.noise_payload import NoisePayload
from spaceswarm_proxy.peering.runner import PeeringRunner

log = txaio.make_logger()

#: Makes a client's stream of what a handshake has come to; told whom to tell whether the client was heard.
Serve = Callable[[Connection, Callable[[bool], None]], None]

#: Decides who may connect: told the client's :class:`~spaceswarm_proxy.interfaces.PeerAddress`; a true result, or a
#: Deferred of one, refuses it.
Firewall = Callable[[PeerAddress], Any]


@implementer(IListeningPort)
class PeerPort:
    """Accepts streams under one key, until it is stopped."""

    def __init__(
        self,
        peering: PeeringRunner,
        keeper: Keeper,
        factory: IProtocolFactory,
        serve: Serve,
        firewall: Firewall | None,
        options: ListenOptions,
    ) -> None:
        """
        :param keeper: keeps the key that the server is known by.
        :param factory: told that we begin and end.
        :param serve: connects a protocol of it to a client.
        :param firewall: by default, nobody is refused.
        """
        self.factory = factory
        #: Called without arguments when :attr:`relay_addresses` are others.
        self.relays_changed: Callable[[], None] = _nothing
        self._peering = peering
        self._keeper = keeper
        self._serve = serve
        self._firewall = firewall
        self._options = options if firewall is None else replace(options, firewall=self._ask_firewall)
        self._listener: Listener | None = None
        self._stopping = 0
        self._closed: Waiters[None] = Waiters()

    def open(self) -> Deferred[Self]:
        """:returns: a Deferred that fires with this when clients can find us; cancelling it ends that."""
        opened: Deferred[Self] = Deferred(self._cancelled)

        def listening(now: float) -> None:
            if not opened.called:
                opened.callback(self)

        try:
            self._begin(listening)
        except SpaceswarmError as problem:
            return fail(problem)
        return opened

    def _cancelled(self, opened: Deferred[Self]) -> None:
        self.stopListening()
        opened.errback(ConnectCancelledError("listening was cancelled"))

    def _begin(self, listening: Callable[[float], None]) -> None:
        peering = self._peering
        self._listener = peering.core.listen(self._keeper, self._accept, listening, peering.now(), self._options)
        self._listener.announcer.relays_changed = self._relays_changed
        self.factory.doStart()
        peering.arm()

    def _relays_changed(self) -> None:
        self.relays_changed()

    # IListeningPort.

    def startListening(self) -> None:
        """
        Begin again, after :meth:`stopListening`.

        :raises SpaceswarmError: the key is in use, or the node is closed or suspended.
        """
        if self._listener is None:
            self._begin(_nobody_waits)

    def stopListening(self) -> Deferred[None]:
        """Accept no more; streams that are open stay.  :returns: a Deferred that fires when nobody finds us."""
        listener, self._listener = self._listener, None
        stopped = self._closed.wait()
        if listener is not None:
            self._stopping += 1
            self._peering.core.close_listener(listener, self._stopped, self._peering.now())
            self._peering.arm()
        elif not self._stopping:
            self._closed.fire(None)
        return stopped

    def _stopped(self, now: float) -> None:
        self._stopping -= 1
        self.factory.doStop()
        if not self._stopping:
            self._closed.fire(None)

    def getHost(self) -> PeerAddress:
        """Our own address."""
        return PeerAddress(Peer.keyed(self._keeper.public_key), initiator=False)

    @property
    def relay_addresses(self) -> list[HostPort]:
        """Nodes through which clients find us."""
        if self._listener is None:
            return []
        return [host_port(address) for address in self._listener.announcer.relay_addresses]

    # Clients.

    def _ask_firewall(
        self, remote_public_key: bytes, payload: NoisePayload, address: bytes, decide: Decide, now: float
    ) -> None:
        """Ask the user, when the turn is over in which this came up: he may do anything with the node."""
        peer = PeerAddress(Peer.keyed(remote_public_key), initiator=False)
        self._peering.streams.call_soon(partial(self._ask_user, peer, decide))

    def _ask_user(self, peer: PeerAddress, decide: Decide) -> None:
        assert self._firewall is not None

        def answered(answer: Any) -> None:
            if isinstance(answer, Failure):
                log.error("the firewall failed, {peer} is refused: {problem}", peer=peer, problem=answer.getTraceback())
            decide(isinstance(answer, Failure) or bool(answer), self._peering.now())
            self._peering.arm()

        maybeDeferred(self._firewall, peer).addBoth(answered)

    def _accept(self, connection: Connection, now: float) -> None:
        self._serve(connection, partial(self._heard, connection))

    def _heard(self, connection: Connection, is_heard: bool) -> None:
        if not is_heard:
            # A client that was never there: its own business.
            self._peering.core.forget_route(connection.remote_public_key)
        elif self._listener is not None:
            # It counts as a stranger no more.
            self._listener.heard(connection)


def _nobody_waits(now: float) -> None:
    """The server can be found."""


def _nothing() -> None:
    """Nobody wants to know."""
