"""Encrypted connections for the tests: two of ours on a pipe, or one on a carrier that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.interfaces import IMessageProtocol, IRecordProtocol, Peer, PeerAddress
from spaceswarm_proxy.network.pipe import WINDOW, PipeTransport, pipe
from spaceswarm_proxy.secret.connection import SecretConnection, Settings
from spaceswarm_proxy.secret.opening import Opening
from spaceswarm_proxy.secret.session import Session
from tests.crypto.connect_vectors import CLIENT, CLIENT_EPHEMERAL, SERVER, SERVER_EPHEMERAL, VECTORS
from tests.crypto.test_secret_stream import session
from tests.transport_support import HalfCloseableProtocol

LABEL = "hyperswarm/secret-stream"
SETTINGS = Settings((LABEL,))
NEAR = PeerAddress(Peer.at("near.example", 1))
FAR = PeerAddress(Peer.at("far.example", 1), initiator=False)


def known_keys(initiator: bool) -> SessionKeys:
    """What that side of a handshake has agreed on with the other."""
    return session(VECTORS["secretStream"]["hyperswarm"], initiator)


def known(initiator: bool, settings: Settings = SETTINGS, header: bytes | None = None) -> Session:
    """That side of a stream whose keys are known."""
    key_pair = CLIENT if initiator else SERVER
    keys = known_keys(initiator)
    return Session(initiator, key_pair.public_key, keys, settings.labels, settings.max_message, header=header)


def opening(initiator: bool, pattern: str = "XX", **options: Any) -> Opening:
    """That side's handshake, with the ephemeral keys of the vectors."""
    key_pair, ephemeral = (CLIENT, CLIENT_EPHEMERAL) if initiator else (SERVER, SERVER_EPHEMERAL)
    if initiator and pattern == "IK":
        options.setdefault("remote_public_key", SERVER.public_key)
    return Opening(pattern, initiator, key_pair, **{"ephemeral": ephemeral, **options})


def unknown(
    initiator: bool, pattern: str = "XX", settings: Settings = SETTINGS, header: bytes | None = None, **options: Any
) -> Session:
    """That side of a stream whose handshake is to be done."""
    begin = opening(initiator, pattern, **options)
    public_key = (CLIENT if initiator else SERVER).public_key
    return Session(initiator, public_key, begin, settings.labels, settings.max_message, header=header)


@implementer(IRecordProtocol, IMessageProtocol)
class RecordProtocol(HalfCloseableProtocol):
    """Takes records one by one, and messages beside them."""

    def message_received(self, data: bytes) -> None:
        self._called("messageReceived", ("message", data))


class End:
    """One connection: who uses it, and what became of its opening."""

    def __init__(
        self, clock: Clock, session: Session, protocol: Protocol | None, settings: Settings, early: bool = False
    ) -> None:
        self.protocol: Any = protocol
        self.connection = SecretConnection(session, settings, clock, lambda _: self.protocol, early=early)
        #: The protocol, or the failure, when there is news of the opening.
        self.opened: list[Any] = []
        self.connection.opened.addBoth(self.opened.append)

    @property
    def transport(self) -> Any:
        """What the protocol is connected to."""
        return self.connection.secret

    @property
    def problem(self) -> Any:
        """Why it did not open."""
        (failure,) = self.opened
        assert isinstance(failure, Failure), failure
        return failure.value


class Pair:
    """Two connections, each the other's remote."""

    def __init__(
        self,
        near: Protocol | None = None,
        far: Protocol | None = None,
        *,
        make: Callable[..., Session] = unknown,
        settings: Settings = SETTINGS,
        far_settings: Settings | None = None,
        early: bool = False,
        window: int = WINDOW,
        carriers: Callable[[Any], tuple[Any, Any]] | None = None,
        **options: Any,
    ) -> None:
        """
        :param make: makes a side's session: :func:`known` or :func:`unknown`, with the ``options``.
        :param carriers: makes what is between them, by default a pipe with that window.
        """
        self.clock = Clock()
        self.near, self.far = (
            End(self.clock, make(side, settings=of, **options), protocol or HalfCloseableProtocol(), of, early)
            for side, protocol, of in ((True, near, settings), (False, far, far_settings or settings))
        )
        ends: tuple[Any, Any] = carriers(self.clock) if carriers else pipe(self.clock, NEAR, FAR, window=window)
        self.carriers: tuple[Any, Any] = ends
        ends[1].attach(self.far.connection)
        ends[0].attach(self.near.connection)

    def settle(self) -> Pair:
        """Let everything happen that needs no time."""
        for _ in range(60):
            self.clock.advance(0)
        return self

    def wait(self, seconds: float, step: float = 0.25) -> Pair:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.settle()
        return self


@implementer(ITCPTransport)
class Carrier(StringTransport):  # type: ignore[misc]
    """A TCP connection in memory, which also tells how it was ended."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        assert self.producer is None, "with a producer it would not end"
        self.half_closed = True

    def loseConnection(self) -> None:
        assert self.producer is None, "with a producer it would not end"
        super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True


class Alone(End):
    """One connection, with the session of its remote to talk to it."""

    def __init__(
        self,
        session: Session,
        remote: Session,
        protocol: Protocol | None = None,
        settings: Settings = SETTINGS,
        early: bool = False,
    ) -> None:
        self.clock = Clock()
        super().__init__(self.clock, session, protocol or HalfCloseableProtocol(), settings, early)
        self.remote = remote
        self.carrier: Any = Carrier()
        self.connection.makeConnection(self.carrier)
        remote.start()

    def exchange(self) -> list[bytes]:
        """Move bytes both ways until there are none.  :returns: the messages that the remote has got."""
        got, moved = [], True
        while moved:
            sent = b"".join(self.remote.data_to_send())
            if sent:
                self.connection.dataReceived(sent)
            written = self.carrier.value()
            self.carrier.clear()
            got += self.remote.receive(written) if written else []
            moved = bool(sent or written)
        return got


def alone(initiator: bool = False, protocol: Protocol | None = None, **options: Any) -> Alone:
    """One side, open, on a carrier of its own."""
    settings = options.get("settings", SETTINGS)
    end = Alone(known(initiator, settings), known(not initiator), protocol, **options)
    end.exchange()
    return end


class DatagramPipe(PipeTransport):
    """An end of a pipe that has messages beside the stream."""

    __slots__ = ()

    max_message = 1200

    def send_message(self, data: bytes) -> None:
        far: Any = self._far
        self._reactor.callLater(0, lambda: far.protocol and far.protocol.message_received(data))


def datagram_pipe(reactor: Any) -> tuple[Any, Any]:
    """A pipe with messages."""
    ends: tuple[Any, Any] = pipe(reactor, NEAR, FAR)
    for end in ends:
        end.__class__ = DatagramPipe
    return ends
