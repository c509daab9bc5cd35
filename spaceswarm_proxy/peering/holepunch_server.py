"""
The server's side of hole punching: it answers what the client asks for, and punches when the client does.

What a client says is encrypted with the keys of its own handshake, so that nobody else can say it; and it is about that
handshake's puncher only.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5, "Server, on FROM_RELAY".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from typing import NamedTuple, Protocol

from spaceswarm_proxy.dht.forwarding import PeerHolepunch
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.holepunch_payload import MAX_NUMBER, HolepunchPayload, SecurePayload
from spaceswarm_proxy.peering.noise_payload import Firewall, HandshakeCode
from spaceswarm_proxy.peering.puncher import Puncher
from spaceswarm_proxy.peering.punching import Punching, Veto

#: Seconds in which a client must begin to punch.
PATIENCE = 10.0


class Arrival(Protocol):
    """A client's message, and the way that it has come."""

    value: PeerHolepunch
    #: The client, as the node in between sees it.
    peer_address: bytes
    #: That node, and the socket that the message came in on.
    source: bytes
    socket: int

    @property
    def to(self) -> bytes:
        """Our address, as the node in between sees it."""

    def answer(self, payload: bytes, socket: int | None = None) -> None:
        """
        :param payload: encrypted.
        :param socket: where from.
        """


class _Message(NamedTuple):
    """What has arrived, decrypted."""

    arrival: Arrival
    payload: HolepunchPayload
    #: Is the node in between one that we have announced ourselves to, and so can believe?
    trusted: bool
    #: What the client is to send back, if it can be reached where that node says.
    token: bytes


class HolepunchServer:
    """What a server does for one handshake."""

    def __init__(
        self,
        punching: Punching,
        secure: SecurePayload,
        remote_firewall: Firewall,
        is_relay: Callable[[bytes], bool],
        aborted: Callable[[float], None],
        now: float,
        *,
        veto: Veto | None = None,
        relayed: bool = False,
    ) -> None:
        """
        :param remote_firewall: what the client has said in the handshake.
        :param is_relay: is there a node at this address that we have announced ourselves to?
        :param aborted: told once when nothing more is tried, among others when the client has not begun to punch after
            :data:`PATIENCE`; the client was told, if it has asked.
        :param veto: asked before we punch.
        :param relayed: is there a connection through a blind relay, or will there be?  Then it may take longer.
        :raises OSError: there can be no more sockets.
        """
        #: Messages that were answered, and those that were nobody's.
        self.answered = 0
        self.ignored = 0
        self._all = punching
        self._secure = secure
        self._is_relay = is_relay
        self._on_aborted = aborted
        self._veto = veto
        self._relayed = relayed
        self._round = 0
        self._gave_up = False
        self._puncher = Puncher(punching, False, remote_firewall, _not_told, self._aborted, now)
        self._patience = punching.schedule.call_at(now + PATIENCE, self._puncher.abort)

    @property
    def socket(self) -> int:
        """Where to answer the handshake from, so that the client learns this socket's address."""
        return self._puncher.socket

    @property
    def puncher(self) -> Puncher:
        """What does the punching."""
        return self._puncher

    def wait_longer(self) -> None:
        """There is a connection through a relay: the client may take its time."""
        self._patience.cancel()

    def close(self, now: float) -> None:
        """There is a connection, or none is wanted any more: stop, and tell nobody."""
        self._patience.cancel()
        self._puncher.close(now)

    # A message.

    def receive(self, arrival: Arrival, now: float) -> bool:
        """
        A client's message has come; it is answered now, later, or never.

        :returns: whether it is one.
        """
        try:
            payload = self._secure.decrypt(arrival.value.payload)
        except MessageError:
            self.ignored += 1
            return False
        message = _Message(arrival, payload, self._is_relay(arrival.source), self._secure.token(arrival.peer_address))
        if self._gave_up or payload.error != HandshakeCode.NONE:
            self._abort(message, now)
        elif not self._puncher.closed:
            self._learn(message, now)
            self._puncher.analyze(False, partial(self._analysed, message), now)
        return True

    def _learn(self, message: _Message, now: float) -> None:
        arrival, payload = message.arrival, message.payload
        if arrival.socket == self._puncher.socket:
            self._puncher.sampled(arrival.to, arrival.source, now)
        if payload.round >= self._round:
            self._round = min(payload.round, MAX_NUMBER)
            self._puncher.update_remote(payload, arrival.peer_address if _is_echoed(message) else None)

    def _analysed(self, message: _Message, stable: bool, now: float) -> None:
        if stable or self._puncher.remote_punching:
            self._act(message, now)
        else:
            self._puncher.analyze(True, partial(self._reopened, message), now)

    def _reopened(self, message: _Message, stable: bool, now: float) -> None:
        if stable:
            self._act(message, now)
        else:
            self._abort(message, now)

    def _act(self, message: _Message, now: float) -> None:
        puncher = self._puncher
        opened = message.payload.remote_address
        if opened is not None and opened in (puncher.samples.addresses or ()) and puncher.is_consistent:
            # The client has opened its own translation for us: that may be all that it takes.
            puncher.ping(message.arrival.peer_address)
        if puncher.remote_punching and not self._punch(message, now):
            return
        if puncher.firewall != Firewall.UNKNOWN:
            puncher.samples.freeze()
        self._answer(message, HandshakeCode.NONE)

    def _punch(self, message: _Message, now: float) -> bool:
        """:returns: whether we do; where not, the client was told."""
        if self._veto is not None and not self._puncher.approved_by(self._veto):
            self._abort(message, now)
            return False
        self._patience.cancel()
        if not self._puncher.punching and self._puncher.is_random and not self._all.random_punches.allowed(now):
            self._put_off(message, now)
            return False
        if not self._puncher.punch(now):
            self._abort(message, now)
            return False
        return True

    def _put_off(self, message: _Message, now: float) -> None:
        if self._relayed:
            self._answer(message, HandshakeCode.TRY_LATER)
        else:
            self._abort(message, now, HandshakeCode.TRY_LATER)

    # Answers.

    def _answer(self, message: _Message, error: HandshakeCode) -> None:
        puncher = self._puncher
        payload = HolepunchPayload(
            error,
            puncher.firewall,
            self._round,
            puncher.connected,
            puncher.punching,
            puncher.samples.addresses,
            token=message.token if message.trusted else None,
            remote_token=message.payload.token,
        )
        self._send(message, payload, puncher.socket)

    def _abort(self, message: _Message, now: float, error: HandshakeCode = HandshakeCode.ABORTED) -> None:
        """Tell the client that nothing comes of it; the puncher's socket goes, so from another one."""
        self._send(message, HolepunchPayload(error, round=self._round), self._all.node.request_socket)
        self._puncher.abort(now)

    def _send(self, message: _Message, payload: HolepunchPayload, socket: int) -> None:
        self.answered += 1
        message.arrival.answer(self._secure.encrypt(payload), socket)

    def _aborted(self, now: float) -> None:
        self._gave_up = True
        self._patience.cancel()
        self._on_aborted(now)


def _is_echoed(message: _Message) -> bool:
    """Has what we sent to the client's host come back?"""
    remote_token = message.payload.remote_token
    return message.trusted and remote_token is not None and compare_digest(remote_token, message.token)


def _not_told(socket: int, address: bytes, now: float) -> None:
    """A server learns from the stream's first packet that there is a way, and which one."""
