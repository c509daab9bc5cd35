"""
Every exception that a caller may see, in one tree.

Each class has a ``code``: the stable name by which the error travels over a proxy link (``docs/protocol.md``),
appears in logs and counters, and is matched by programs.  What is raised by a peer's input is a
:class:`ProtocolError`; what ends a connection is also Twisted's ``ConnectionLost`` or ``ConnectError``, so that
Twisted's own code (``ClientService``, endpoints, protocols) treats it as such.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet import error


class SpaceswarmError(Exception):
    """Whatever goes wrong here is one of these."""

    code: ClassVar[str] = "error"
    #: What the JavaScript implementation calls the same, if it has a name for it.
    reference_code: ClassVar[str] = ""

    def __str__(self) -> str:
        return Exception.__str__(self) or (self.__doc__ or self.code).strip().splitlines()[0]


# What a remote sent.


class ProtocolError(SpaceswarmError):
    """The remote broke the protocol; the link it came in on is closed."""

    code = "protocol-error"

    def __init__(self, kind: str, detail: str = "") -> None:
        """
        :param kind: a short, fixed name of the violation; the counter that it is counted under.
        :param detail: the offending value, for the log.
        """
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail
        #: What was understood of the same input before the violation, in order: still to be handled.
        self.decoded: list[Any] = []


class FrameError(ProtocolError):
    """A frame whose length can't be, or is over the limit."""

    code = "frame-error"


class EventError(ProtocolError):
    """A frame's body is not an event, or not one that makes sense here."""

    code = "event-error"


class MessageError(ProtocolError):
    """A datagram, or something in one, is not what its kind prescribes."""

    code = "message-error"


class HandshakeError(ProtocolError):
    """The remote does not prove who it is, or speaks of another connection."""

    code = "handshake-error"


class StreamDamagedError(ProtocolError):
    """What came in an encrypted stream was changed, left out or repeated on the way."""

    code = "stream-damaged"


class ChannelError(ProtocolError):
    """A message about channels that makes no sense here."""

    code = "channel-error"


# What somebody may not have.


class LimitError(SpaceswarmError):
    """A limit was reached."""

    code = "limit"

    def __init__(self, name: str, limit: float | None = None) -> None:
        """
        :param name: the limit's name, as the option is called: ``max_topics``.
        :param limit: its value, where it is known.
        """
        super().__init__(f"the limit {name} is reached" + ("" if limit is None else f" ({limit:.15g})"))
        self.name = name
        self.limit = limit


class ValueTooLargeError(LimitError):
    """A record is larger than nodes can be expected to keep, or a datagram to carry."""

    code = "value-too-large"


class AuthenticationError(SpaceswarmError):
    """The server asks for a token, and this is not one of its."""

    code = "unauthorized"


class NotSupportedError(SpaceswarmError):
    """The network, or the server in front of it, cannot do this."""

    code = "not-supported"


# Connecting.


class ConnectError(SpaceswarmError, error.ConnectError):
    """No connection to the peer came about."""

    code = "connect-failed"

    def __init__(self, text: str = "") -> None:
        error.ConnectError.__init__(self, string=text)
        self.args = (text,) if text else ()


class UnknownPeerError(ConnectError):
    """Nobody has told of this peer."""

    code = "unknown-peer"


class PeerUnreachableError(ConnectError):
    """The peer did not answer, or refused."""

    code = "unreachable"


class ConnectTimeoutError(ConnectError, error.TimeoutError):
    """The connection did not come about in time."""

    code = "connect-timeout"


class FirewallError(ConnectError):
    """The firewall, ours or the peer's, refused the connection."""

    code = "firewalled"


class ConnectCancelledError(ConnectError):
    """The user cancelled the connection attempt."""

    code = "cancelled"


# Connecting over the DHT: what the JavaScript implementation distinguishes.


class PeeringError(ConnectError):
    """No connection over the DHT came about."""

    code = "peering-failed"

    def __str__(self) -> str:
        """:returns: ``CODE: text``, as the JavaScript implementation writes it."""
        text = super().__str__()
        prefix = f"{self.reference_code}: " if self.reference_code else ""
        return text if text.startswith(prefix) else prefix + text


class PeerNotFoundError(PeeringError, UnknownPeerError):
    """No node of the network knows the way to this peer."""

    code = "peer-not-found"
    reference_code = "PEER_NOT_FOUND"


class PeerConnectionFailedError(PeeringError, PeerUnreachableError):
    """Nodes know the way to the peer, and it has not answered through any of them, or refuses us."""

    code = "peer-connection-failed"
    reference_code = "PEER_CONNECTION_FAILED"


class BadHandshakeReplyError(PeeringError):
    """What came back through a node is no answer to a handshake."""

    code = "bad-handshake-reply"
    reference_code = "BAD_HANDSHAKE_REPLY"


class HandshakeInvalidError(PeeringError):
    """The handshake has come to nothing that can be used."""

    code = "handshake-invalid"
    reference_code = "HANDSHAKE_INVALID"


class ServerIncompatibleError(PeeringError):
    """The server speaks another version."""

    code = "server-incompatible"
    reference_code = "SERVER_INCOMPATIBLE"


class ServerFailedError(PeeringError):
    """The server answered with an error."""

    code = "server-error"
    reference_code = "SERVER_ERROR"


class RelayAbortedError(PeeringError):
    """The connection through the relay did not come about."""

    code = "relay-aborted"
    reference_code = "RELAY_ABORTED"


class HolepunchError(PeeringError):
    """There is no way through the address translations between us and the peer."""

    code = "holepunch-failed"


class BadHolepunchReplyError(HolepunchError):
    """What came back through a node is no answer to a message of hole punching."""

    code = "bad-holepunch-reply"
    reference_code = "BAD_HOLEPUNCH_REPLY"


class CannotHolepunchError(HolepunchError):
    """The peer can't be reached directly, and takes no part in hole punching."""

    code = "cannot-holepunch"
    reference_code = "CANNOT_HOLEPUNCH"


class HolepunchAbortedError(HolepunchError):
    """Hole punching was given up."""

    code = "holepunch-aborted"
    reference_code = "HOLEPUNCH_ABORTED"


class HolepunchInvalidError(HolepunchError):
    """The peer's message of hole punching can't be read."""

    code = "holepunch-invalid"
    reference_code = "HOLEPUNCH_INVALID"


class HolepunchProbeTimeoutError(HolepunchError):
    """What kind of address translation is there was not found out in time."""

    code = "holepunch-probe-timeout"
    reference_code = "HOLEPUNCH_PROBE_TIMEOUT"


class DoubleRandomizedError(HolepunchError):
    """Both address translations choose another port for every destination."""

    code = "holepunch-double-randomized"
    reference_code = "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS"


class RemoteAbortedError(HolepunchError):
    """The peer has given hole punching up."""

    code = "remote-aborted"
    reference_code = "REMOTE_ABORTED"


class RemoteNotHolepunchingError(HolepunchError):
    """The peer does not take part in hole punching, though it was asked to."""

    code = "remote-not-holepunching"
    reference_code = "REMOTE_NOT_HOLEPUNCHING"


class RemoteNotHolepunchableError(HolepunchError):
    """The peer gave no address that can be punched to."""

    code = "remote-not-holepunchable"
    reference_code = "REMOTE_NOT_HOLEPUNCHABLE"


# Listening.


class ListenError(SpaceswarmError):
    """Nobody can connect to us that way."""

    code = "listen-failed"


class AlreadyListeningError(ListenError):
    """This server listens already."""

    code = "already-listening"
    reference_code = "ALREADY_LISTENING"


class KeyPairInUseError(ListenError):
    """Another server of this node listens with the same key pair."""

    code = "key-pair-in-use"
    reference_code = "KEYPAIR_ALREADY_USED"


# Connections that end.


class StreamError(SpaceswarmError, error.ConnectionLost):
    """A stream ended, and not because both sides were done."""

    code = "stream-error"

    def __init__(self, text: str = "") -> None:
        error.ConnectionLost.__init__(self, *((text,) if text else ()))


class StreamResetError(StreamError):
    """The remote ended the stream with an error."""

    code = "reset"


class RelayLostError(StreamError):
    """The blind relay that the stream went through is gone."""

    code = "relay-lost"


class StreamAbortedError(StreamError, error.ConnectionAborted):
    """This side ended the stream with ``abortConnection``."""

    code = "aborted"


class DuplicateConnectionError(StreamError):
    """There is another connection with the same peer, and that one stays."""

    code = "duplicate"
    reference_code = "DUPLICATE_CONNECTION"


class ChannelRefusedError(StreamError):
    """The remote does not want to speak that protocol."""

    code = "channel-refused"


class StreamTimeoutError(StreamError):
    """The far end of the stream has been silent for too long."""

    code = "stream-timeout"


class StreamStalledError(StreamError):
    """The stream's reader stood still for too long, and held up the others."""

    code = "stalled"


class WindowError(StreamError):
    """The remote sent more than the stream's window allowed."""

    code = "window-exceeded"


# The link between proxy client and proxy server.


class LinkError(SpaceswarmError, error.ConnectionLost):
    """Something is wrong with the link to the proxy server."""

    code = "link-error"

    def __init__(self, text: str = "") -> None:
        error.ConnectionLost.__init__(self, *((text,) if text else ()))


class LinkLostError(LinkError):
    """The link to the proxy server was lost, and all streams in it."""

    code = "link-lost"


class LinkTimeoutError(LinkError):
    """The other end of the link has been silent for too long."""

    code = "link-timeout"


class DrainingError(LinkError):
    """The server is about to stop and takes nothing new."""

    code = "draining"


# The DHT.


class DHTError(SpaceswarmError):
    """Something in the distributed hash table did not work."""

    code = "dht-error"


class RequestTimeoutError(DHTError):
    """The node did not answer."""

    code = "request-timeout"


class RequestRefusedError(DHTError):
    """The node answered with an error."""

    code = "request-refused"


class NetworkUnreachableError(DHTError):
    """No node of the network answers, not even those to begin with."""

    code = "network-unreachable"


class NotStoredError(DHTError):
    """No node has taken the record."""

    code = "not-stored"


class SequenceReusedError(NotStoredError):
    """Another value was stored under this sequence number before."""

    code = "sequence-reused"


class SequenceTooLowError(NotStoredError):
    """A value with a higher sequence number is stored."""

    code = "sequence-too-low"


class SuspendedError(DHTError):
    """The node is suspended."""

    code = "suspended"
    reference_code = "SUSPENDED"


# Files.


class FileMismatchError(SpaceswarmError):
    """The file that has come is not the one that was offered."""

    code = "file-mismatch"


# The end.


class ClosedError(SpaceswarmError):
    """The network, node or swarm was closed by its owner."""

    code = "closed"
    reference_code = "NODE_DESTROYED"


def _tree(cls: type[SpaceswarmError]) -> dict[str, type[SpaceswarmError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        found.update(_tree(sub))
    return found


BY_CODE: dict[str, type[SpaceswarmError]] = _tree(SpaceswarmError)


def from_code(code: str, text: str) -> SpaceswarmError:
    """
    The error that travelled over a link as a code and a text.

    :param code: a ``code`` of this module; one that is not known here gives a plain :class:`SpaceswarmError`.
    :param text: for people; for ``limit`` it is ``name`` or ``name=value``.
    """
    cls = BY_CODE.get(code, SpaceswarmError)
    if issubclass(cls, LimitError):
        name, _, value = text.partition("=")
        try:
            return cls(name, float(value) if value else None)
        except ValueError:
            return cls(name)
    if issubclass(cls, ProtocolError):
        kind, _, detail = text.partition(": ")
        return cls(kind, detail)
    if cls is SpaceswarmError and code != SpaceswarmError.code:
        return SpaceswarmError(f"{code}: {text}")
    return cls(text) if text else cls()


def to_code(problem: BaseException) -> tuple[str, str]:
    """The code and text under which an exception travels, as UTF-8 knows it: the other half of :func:`from_code`."""
    code, text = _described(problem)
    return code, text.encode("utf-8", "replace").decode()


def _described(problem: BaseException) -> tuple[str, str]:
    if isinstance(problem, LimitError):
        return problem.code, problem.name if problem.limit is None else f"{problem.name}={problem.limit:.17g}"
    if isinstance(problem, SpaceswarmError):
        return problem.code, str(problem)
    if isinstance(problem, error.ConnectError):
        return PeerUnreachableError.code, str(problem)
    return SpaceswarmError.code, str(problem) or type(problem).__name__
