"""
The client's side of hole punching: it asks the server, through the nodes that both know, and decides what is done.

::

    probe     what are you behind, and where?  (once or twice)
              the server often sends to us at once, and that was all
    punch     send to me now, I send to you

Every message goes to a node that the server has announced itself to, from the puncher's socket, so that the answer
tells what that node sees of us.  In the first round it is a node of the server's choice, which the server believes when
it vouches for our address; the token that comes with the answer is sent back through the node of *our* choice.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5, "Client rounds".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spaceswarm_proxy.dht.commands import PEER_HOLEPUNCH
from spaceswarm_proxy.dht.forwarding import Mode, PeerHolepunch
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.errors import (
    BadHolepunchReplyError,
    DoubleRandomizedError,
    HolepunchAbortedError,
    HolepunchInvalidError,
    HolepunchProbeTimeoutError,
    MessageError,
    RemoteAbortedError,
    RemoteNotHolepunchableError,
    RemoteNotHolepunchingError,
    RequestTimeoutError,
    SpaceswarmError,
)
from spaceswarm_proxy.peering.asking import Asking
from spaceswarm_proxy.peering.holepunch_payload import HolepunchPayload, SecurePayload
from spaceswarm_proxy.peering.noise_payload import Firewall, HandshakeCode, HolepunchInfo, RelayPair
from spaceswarm_proxy.peering.puncher import Puncher
from spaceswarm_proxy.peering.punching import Punching, Veto
from spaceswarm_proxy.peering.schedule import Delayed

#: Attempts at a message after the first one.  It goes a long way, and whatever is lost on it costs an attempt.
RETRIES = 5
#: Seconds that a server is given which does not know yet what it is behind.
UNKNOWN_PAUSE = 1.0
#: Seconds until punching at random is tried again: at least, and how many more at most.
LATER, LATER_SPREAD = 10.0, 10.0


class PunchTarget(NamedTuple):
    """The server, as far as the handshake has told of it."""

    #: The hash of its public key, 32 bytes: what the nodes in between know it by.
    key_hash: bytes
    #: The node that the handshake went through.
    relay_address: bytes
    #: The server, as that node sees it.
    server_address: bytes
    #: What the server has said of itself: its firewall, and the nodes that know it, of which there is one.
    firewall: Firewall
    holepunch: HolepunchInfo

    @property
    def server_relay(self) -> RelayPair:
        """The node that the server vouches for: the same one, if it is one of those."""
        relays = self.holepunch.relays
        return next((pair for pair in relays if pair.relay_address == self.relay_address), relays[0])


class _Answer(NamedTuple):
    """What the server says to a message."""

    payload: HolepunchPayload
    #: The server, as the node in between sees it.
    peer_address: bytes


#: What follows when a message was answered.
_Then = Callable[[_Answer, float], None]


class HolepunchClient:
    """One attempt of a client."""

    def __init__(
        self,
        punching: Punching,
        target: PunchTarget,
        secure: SecurePayload,
        connected: Callable[[int, bytes, float], None],
        failed: Callable[[SpaceswarmError, float], None],
        *,
        fast_open: bool = True,
        veto: Veto | None = None,
        relayed: bool = False,
    ) -> None:
        """
        :param connected: told once when a way is open: the socket, the server's address, and the time.  The socket
            stays ours until :meth:`close`; by then a stream should use it.
        :param failed: told once why there is none.
        :param fast_open: may the server send to us before both know what they are behind?
        :param veto: asked before we punch.
        :param relayed: is there a connection through a blind relay, or will there be?  Then it may take longer.
        """
        self._all = punching
        self._target = target
        self._secure = secure
        self._on_connected = connected
        self._on_failed = failed
        self._veto = veto
        self._relayed = relayed
        self._opened = target.server_address if fast_open else None
        self._server_address = target.server_address
        self._server_relay = target.server_relay
        self._asking = Asking(punching.node)
        self._puncher: Puncher | None = None
        self._pause: Delayed | None = None
        self._round = 0
        self._probes_left = 2
        self._remote_token: bytes | None = None
        #: Had the server to be told that it takes longer?  Then all goes through its relay.
        self._delayed = False
        self._has_turn = False
        self._over = False

    def start(self, now: float) -> None:
        """Begin."""
        try:
            self._puncher = Puncher(self._all, True, self._target.firewall, self._through, self._gave_up, now)
        except OSError as problem:
            self._fail(HolepunchAbortedError(f"no socket: {problem}"), now)
        else:
            self._probe(now)

    @property
    def puncher(self) -> Puncher:
        """What does the punching; there when it was started."""
        assert self._puncher is not None
        return self._puncher

    # The first round: what both are behind.

    def _probe(self, now: float) -> None:
        self._probes_left -= 1
        if self._opened is not None:
            self.puncher.open_session(self._opened)
        payload = self._payload(remote_address=self._opened)
        self._send(self._server_relay, payload, self._probed, now)

    def _probed(self, answer: _Answer, now: float) -> None:
        if self.puncher.remote_firewall == Firewall.UNKNOWN:
            # It may wait for what it has sent to us itself.
            self._after(UNKNOWN_PAUSE, lambda now: self._analyze(answer, now), now)
        else:
            self._analyze(answer, now)

    def _analyze(self, answer: _Answer, now: float) -> None:
        def first(stable: bool, now: float) -> None:
            if stable:
                self._judge(answer, now)
            else:
                self.puncher.analyze(True, reopened, now)

        def reopened(stable: bool, now: float) -> None:
            if stable and self._probes_left:
                self._probe(now)
            else:
                self._judge(answer, now)

        self.puncher.analyze(False, first, now)

    def _judge(self, answer: _Answer, now: float) -> None:
        ours, theirs = self.puncher.firewall, self.puncher.remote_firewall
        if self._probes_left and (theirs == Firewall.UNKNOWN or answer.payload.token is None):
            self._probe(now)
        elif Firewall.UNKNOWN in (ours, theirs):
            self._abort(HolepunchProbeTimeoutError(), now)
        elif ours == theirs == Firewall.RANDOM:
            self._abort(DoubleRandomizedError(), now)
        else:
            self._decide(answer, now)

    def _decide(self, answer: _Answer, now: float) -> None:
        self._remote_token = answer.payload.token
        same_relay = self._server_relay.relay_address == self._target.relay_address
        if same_relay and answer.peer_address != self._server_address:
            # The server has taken another socket meanwhile.
            self._server_address = answer.peer_address
            self.puncher.open_session(self._server_address)
        if self._veto is not None and not self.puncher.approved_by(self._veto):
            self._abort(HolepunchAbortedError("refused by the client"), now)
        else:
            # The server counts on what it is told from here on.
            self.puncher.samples.freeze()
            self._punch(now)

    def _abort(self, problem: SpaceswarmError, now: float) -> None:
        """Tell the server first, whatever it says to that."""
        payload = HolepunchPayload(error=HandshakeCode.ABORTED, round=self._next_round())
        command = self._command(self._server_relay, payload)
        told = self._failing(problem)
        self._asking.ask(self._server_relay.relay_address, command, told, now, socket=self.puncher.socket)

    def _failing(self, problem: SpaceswarmError) -> Callable[[object, float], None]:
        return lambda _, now: self._fail(problem, now)

    # The second round: punching.

    def _punch(self, now: float) -> None:
        if self.puncher.is_random:
            if not self._all.random_punches.allowed(now):
                self._wait_for_turn(now)
                return
            self._has_turn = True
            self._all.random_punches.begin()
        payload = self._payload(punching=True, token=self._token(), remote_token=self._remote_token)
        self._send(self._way(), payload, self._agreed, now)

    def _way(self) -> RelayPair:
        if self._delayed:
            return self._server_relay
        return RelayPair(self._target.relay_address, self._server_address)

    def _token(self) -> bytes | None:
        return None if self._delayed else self._secure.token(self._server_address)

    def _wait_for_turn(self, now: float) -> None:
        """Another attempt at random ports is under way, or was a moment ago."""
        if not self._relayed:
            self._fail(HolepunchAbortedError("another attempt at random ports is under way"), now)
        elif self._delayed:
            self._punch_later(now)
        else:
            payload = self._payload(token=self._token(), remote_token=self._remote_token)
            way = self._way()
            self._delayed = True
            self._send(way, payload, lambda _, now: self._punch_later(now), now)

    def _punch_later(self, now: float) -> None:
        self._after(LATER + LATER_SPREAD * self._all.node.chance.random(), self._punch, now)

    def _agreed(self, answer: _Answer, now: float) -> None:
        self._give_turn_back()
        if answer.payload.error == HandshakeCode.TRY_LATER:
            self._delayed = True
            self._punch_later(now)
        elif not self.puncher.remote_punching:
            self._fail(RemoteNotHolepunchingError(), now)
        elif not self.puncher.punch(now):
            self._fail(RemoteNotHolepunchableError(), now)

    def _give_turn_back(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._all.random_punches.withdraw()

    # Messages.

    def _next_round(self) -> int:
        self._round += 1
        return self._round - 1

    def _payload(
        self,
        punching: bool = False,
        remote_address: bytes | None = None,
        token: bytes | None = None,
        remote_token: bytes | None = None,
    ) -> HolepunchPayload:
        return HolepunchPayload(
            firewall=self.puncher.firewall,
            round=self._next_round(),
            punching=punching,
            addresses=self.puncher.samples.addresses,
            remote_address=remote_address,
            token=token,
            remote_token=remote_token,
        )

    def _command(self, way: RelayPair, payload: HolepunchPayload) -> Command:
        sealed = self._secure.encrypt(payload)
        value = PeerHolepunch(Mode.FROM_CLIENT, self._target.holepunch.id, sealed, way.peer_address)
        return Command.make(False, PEER_HOLEPUNCH, self._target.key_hash, value.encode())

    def _send(self, way: RelayPair, payload: HolepunchPayload, then: _Then, now: float) -> None:
        def answered(response: Response | SpaceswarmError, now: float) -> None:
            if isinstance(response, RequestTimeoutError):
                self._fail(HolepunchAbortedError("the server does not answer"), now)
            elif isinstance(response, SpaceswarmError):
                self._fail(response, now)
            else:
                self.puncher.sampled(response.to, way.relay_address, now)
                self._take(way, payload, response, then, now)

        command = self._command(way, payload)
        self._asking.ask(way.relay_address, command, answered, now, retries=RETRIES, socket=self.puncher.socket)

    def _take(self, way: RelayPair, sent: HolepunchPayload, response: Response, then: _Then, now: float) -> None:
        try:
            answer = self._read(way, response)
        except SpaceswarmError as problem:
            self._fail(problem, now)
            return
        payload = answer.payload
        put_off = payload.error == HandshakeCode.TRY_LATER and self._relayed and sent.punching
        if payload.error != HandshakeCode.NONE and not put_off:
            self._fail(RemoteAbortedError(f"the server gave up with error {payload.error}"), now)
            return
        # The reference does not look at the token of a server that puts it off, and then can't punch later.
        echoed = sent.token is not None and payload.remote_token == sent.token
        self.puncher.update_remote(payload, way.peer_address if echoed else None)
        then(answer, now)

    def _read(self, way: RelayPair, response: Response) -> _Answer:
        """:raises HolepunchError: it is no answer of the server's."""
        try:
            value = PeerHolepunch.parse(response.value)
        except MessageError as problem:
            raise BadHolepunchReplyError(str(problem)) from problem
        if value.mode != Mode.REPLY:
            raise BadHolepunchReplyError(f"mode {value.mode}")
        try:
            payload = self._secure.decrypt(value.payload)
        except MessageError as problem:
            raise HolepunchInvalidError(str(problem)) from problem
        return _Answer(payload, value.peer_address or way.relay_address)

    # The end.

    def _after(self, seconds: float, function: Callable[[float], None], now: float) -> None:
        self._pause = self._all.schedule.call_at(now + seconds, function)

    def _through(self, socket: int, address: bytes, now: float) -> None:
        self._stop()
        self._on_connected(socket, address, now)

    def _gave_up(self, now: float) -> None:
        self._fail(HolepunchAbortedError("nothing has come through"), now)

    def _fail(self, problem: SpaceswarmError, now: float) -> None:
        if not self._over:
            self.close(now)
            self._on_failed(problem, now)

    def close(self, now: float) -> None:
        """Stop all that is under way, and tell nobody; a socket that a stream uses stays open for it."""
        self._stop()
        if self._puncher is not None:
            self._puncher.close(now)

    def _stop(self) -> None:
        self._over = True
        self._asking.forget()
        self._give_turn_back()
        if self._pause is not None:
            self._pause.cancel()
