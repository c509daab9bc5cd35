"""
The seams of the house: what a network is, what it finds, and who is told.

Everything that can find and reach peers is an :class:`INetwork`.  ``Swarm`` is the policy on top of one,
``ProxyServer`` shows one to whoever is at the other end of a byte stream, and ``ProxyNetwork`` is what they
see there.  An implementation of your own fits in wherever one of ours does; ``tests/network/`` holds the
conformance suite that it must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IProtocolFactory
from zope.interface import Attribute, Interface, implementer

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import Profile

TOPIC_LENGTH = 32
KEY_LENGTH = 32


class HostPort(NamedTuple):
    """An address on the internet: ``host`` a textual IPv4 or IPv6 address or a name, ``port`` 1-65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """
        Read ``HOST:PORT``; an IPv6 address may stand in brackets.

        :raises ValueError: no port, or one out of range.
        """
        host, _, digits = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        number = int(digits) if len(digits) <= 5 and digits.isascii() and digits.isdigit() else 0
        if not host or not 0 < number < 65536:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host, number)


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Somebody who can be reached.

    Two are equal when their ``id`` is: what else is known of a peer may be news about the same one.
    Make one with :meth:`keyed`, :meth:`at` or :meth:`from_id`.
    """

    #: What tells it from all others in its network, printable: its public key in hex, ``host:port``, or, from a
    #: JavaScript proxy server, whatever that gave out.  Compared byte for byte.
    id: bytes
    #: Ed25519, 32 bytes; ``None`` for a peer that has none (a plain TCP service).
    public_key: bytes | None = field(default=None, compare=False)
    #: Where it listens, for a peer that is a TCP service.
    address: HostPort | None = field(default=None, compare=False)
    #: DHT nodes that forward handshakes to it, best first.
    relay_addresses: tuple[HostPort, ...] = field(default=(), compare=False)
    #: The topics under which it was found, each 32 bytes.
    topics: frozenset[bytes] = field(default=frozenset(), compare=False)

    @classmethod
    def keyed(
        cls, public_key: bytes, relay_addresses: tuple[HostPort, ...] = (), topics: frozenset[bytes] = frozenset()
    ) -> Peer:
        """A peer known by its public key (32 bytes)."""
        if len(public_key) != KEY_LENGTH:
            raise ValueError(f"a public key has {KEY_LENGTH} bytes, not {len(public_key)}")
        return cls(public_key.hex().encode(), bytes(public_key), None, relay_addresses, topics)

    @classmethod
    def at(cls, host: str, port: int, topics: frozenset[bytes] = frozenset()) -> Peer:
        """A TCP service at a host and port."""
        address = HostPort(host, port)
        return cls(str(address).encode(), None, address, (), topics)

    @classmethod
    def from_id(cls, id: bytes, topics: frozenset[bytes] = frozenset()) -> Peer:
        """
        The peer that an id speaks of, with as much as the id itself says.

        64 hex digits are a public key, ``host:port`` a TCP service, anything else stays opaque.
        """
        text = id.decode("utf-8", "replace")
        if len(text) == 2 * KEY_LENGTH and all(c in "0123456789abcdef" for c in text):
            return cls(bytes(id), bytes.fromhex(text), None, (), topics)
        try:
            address = HostPort.parse(text)
        except ValueError:
            return cls(bytes(id), None, None, (), topics)
        return cls(bytes(id), None, address, (), topics)

    def __str__(self) -> str:
        text = self.id.decode("utf-8", "replace")
        return text[:8] + "..." if self.public_key else text


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class PeerAddress:
    """What ``transport.getPeer()`` answers on a stream to a peer, and what ``buildProtocol`` is given."""

    peer: Peer
    #: True when this side opened the stream.
    initiator: bool = field(default=True, compare=False)
    #: Does what goes over the stream stay between this process and the peer's, because it is encrypted, or because they
    #: are the same?  (A peer may itself be a client whose proxy server has its keys; that can't be seen from here.)
    end_to_end: bool = field(default=False, compare=False)

    @property
    def public_key(self) -> bytes | None:
        """The peer's public key, 32 bytes, if it has one."""
        return self.peer.public_key

    @property
    def host(self) -> str | None:
        """Where the peer listens, if it is a TCP service; Twisted's HTTP code looks for this name."""
        return self.peer.address.host if self.peer.address else None

    @property
    def port(self) -> int | None:
        """See :attr:`host`."""
        return self.peer.address.port if self.peer.address else None

    def __str__(self) -> str:
        return f"peer {self.peer}"


@dataclass(frozen=True, slots=True)
class SealedAddress(PeerAddress):
    """
    The address of a peer on a stream that is *sealed*: its keys are elsewhere, with an :class:`IKeeper`.

    What is read and written here is cipher text, the encrypted stream of :mod:`spaceswarm_proxy.secret`.
    """

    keys: DistantKeys = field(default=DistantKeys(b"", b"", 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What a network can do at this moment."""

    #: Is it reachable (for a proxy: is the link up and ready)?
    online: bool
    #: Can topics be announced, and so peers find us?
    announces: bool
    #: Can peers open streams to us?
    listens: bool
    #: One line for people: what it is, and what is missing.
    detail: str = ""


class IByteCounts(Interface):
    """
    What the transport of a stream to a peer may offer beside ``ITransport``: how much it has carried.

    The swarm asks it which of two connections with one peer is in use.
    """

    bytes_read = Attribute("Bytes delivered to the protocol so far.")
    bytes_written = Attribute("Bytes accepted from the protocol so far.")


class ISignsOfLife(Interface):
    """
    What the transport of a stream may offer beside ``ITransport``: signs of life that neither end's protocol sees.

    The swarm sends one to a peer of which it must be known whether it is still there, and takes a stream that has
    carried some for one that is in use.
    """

    raw_bytes_read = Attribute("Bytes that have come so far, signs of life and all.")
    raw_bytes_written = Attribute("Bytes that were sent so far, likewise.")

    def send_keep_alive() -> None:
        """Send one now.  A stream whose peer is gone ends the sooner for it."""


class IMessageTransport(Interface):
    """
    What a stream's transport may offer beside the stream: messages that may be lost, or overtaken, on the way.

    A protocol that wants those of the far end is an :class:`IMessageProtocol`; the others never hear of them.
    """

    max_message = Attribute("Bytes of the longest message that can be sent at present; 0 where there are none.")

    def send_message(data: bytes) -> None:
        """
        Send a message, once.

        :raises ValueTooLargeError: it is longer than ``max_message``.
        :raises NotSupportedError: there are no messages here.
        """


class IMessageProtocol(Interface):
    """A protocol that takes the messages of an :class:`IMessageTransport`."""

    def message_received(data: bytes) -> None:
        """A message has come, whole."""


class IRecordTransport(Interface):
    """
    What the transport of a stream may offer beside ``ITransport``: it keeps the boundaries of what is written.

    The far end's protocol is told of them if it is an :class:`IRecordProtocol`.  Unlike an
    :class:`IMessageTransport`'s messages, records come in order, and none is lost.
    """

    max_record = Attribute("Bytes of the longest record; a longer ``write`` becomes several of them.")

    def write_record(data: bytes) -> None:
        """
        Write one record.

        :raises ValueTooLargeError: it is longer than ``max_record``.
        """


class IRecordProtocol(Interface):
    """A protocol whose ``dataReceived`` is to be called once for each record, with that alone; none is empty."""


class IPeerReceiver(Interface):
    """Who is told of the peers that a lookup finds."""

    def peer_found(peer: Peer) -> None:
        """
        A peer (:class:`Peer`) was found under the lookup's topic.  The same one may come again, with news.
        """

    def lookup_updated() -> None:
        """A round of the lookup is complete: whoever could be found at this time has been reported."""


class ILookup(Interface):
    """A search for the peers of one topic that goes on until it is closed."""

    topic = Attribute("32 bytes.")

    def update() -> None:
        """Ask again now.  May be ignored when the last round was a moment ago."""

    def flushed() -> Deferred[None]:
        """
        :returns: a Deferred (one for each caller) that fires with ``None`` when the round now under way is
            complete, and fails with a :class:`~spaceswarm_proxy.errors.SpaceswarmError` when the lookup is refused
            or closed.
        """

    def close() -> Deferred[None]:
        """Stop; the receiver hears no more.  :returns: a Deferred that fires when nothing of it is left."""


class IAnnouncement(Interface):
    """Being found under one topic, until it is closed."""

    topic = Attribute("32 bytes.")

    def update() -> None:
        """Announce again now."""

    def flushed() -> Deferred[None]:
        """
        :returns: a Deferred (one for each caller) that fires with ``None`` when others can find us, and fails with a
            :class:`~spaceswarm_proxy.errors.SpaceswarmError` when it is refused or closed.
        """

    def close() -> Deferred[None]:
        """Be found no more.  :returns: a Deferred that fires when that has been told to the network."""


class IKeeper(Interface):
    """
    Whoever keeps a secret key, out of our reach: :class:`~spaceswarm_proxy.crypto.keeper.Keeper`, with Deferreds.

    All of them can fail with any :class:`~spaceswarm_proxy.errors.SpaceswarmError`: the keeper may be away.
    """

    public_key = Attribute("The key that goes with it, 32 bytes.")

    def handshake(profile: Profile, remote_public_key: bytes | None = None) -> IKeptHandshake:
        """
        Begin a handshake.

        :param profile: the network's :class:`~spaceswarm_proxy.crypto.profile.Profile`.
        :param remote_public_key: who the other side is, 32 bytes, if it is we who speak first.
        """

    def sign(profile: Profile, claim: Claim) -> Deferred[bytes]:
        """
        Sign what a node of the DHT is told.

        :param claim: a :class:`~spaceswarm_proxy.crypto.keeper.Claim`.
        :returns: a Deferred of 64 bytes.
        """

    def prove(challenge: bytes) -> Deferred[bytes]:
        """
        Prove to a proxy server that the keeper has the key.

        :param challenge: of the server, 32 bytes.
        :returns: a Deferred of a signature under :func:`~spaceswarm_proxy.crypto.keeper.proof_signable`, 64 bytes.
        """


class IKeptHandshake(Interface):
    """One handshake of an :class:`IKeeper`: :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`, with Deferreds."""

    remote_public_key = Attribute("Who the other side is, 32 bytes, as soon as it has said so; else ``None``.")
    keys = Attribute(
        "What was agreed on, when both messages were exchanged: ``DistantKeys``, or ``SessionKeys`` from a keeper that"
        " is in this process; else ``None``."
    )

    def write(payload: bytes) -> Deferred[bytes]:
        """:returns: a Deferred of the message that is ours."""

    def read(message: bytes) -> Deferred[bytes]:
        """
        :returns: a Deferred of the payload of the other side's message; it fails with a ``HandshakeError`` if it is
            none, or not for us, and another one may be tried.
        """

    def close() -> None:
        """Nothing comes of it.  Not called where :attr:`keys` are used."""


class ISealedNetwork(Interface):
    """
    What a network may offer beside :class:`INetwork`: to be known by a key that is not in this process.

    Its ``with_identity`` also takes an :class:`IKeeper`.  The streams of such an identity are *sealed*:
    ``buildProtocol`` is given a :class:`SealedAddress`, when there is a way to the peer, whether it was heard or not;
    what the protocol reads and writes is cipher text.
    """

    profile = Attribute("The network's :class:`~spaceswarm_proxy.crypto.profile.Profile`.")
    seals = Attribute("Can it do that at present?")


class INetwork(Interface):
    """Whatever can find and reach peers.  Every method that returns a Deferred returns one that can be cancelled."""

    public_key = Attribute("Who we are in this network: 32 bytes, or ``None`` where peers have no keys (or not yet).")
    events = Attribute(
        "An :class:`~spaceswarm_proxy.events.Events` with ``connected()`` and ``disconnected(error)``: the network"
        " became reachable, or ceased to be."
    )

    def status() -> NetworkStatus:
        """:returns: a :class:`NetworkStatus`."""

    def lookup(topic: bytes, receiver: IPeerReceiver) -> ILookup:
        """
        Look for peers until the result is closed; those already known are reported too, but never before this call
        has returned.

        :param topic: 32 bytes.
        :param receiver: an :class:`IPeerReceiver`.
        :returns: an :class:`ILookup`, at once, whether the network is reachable or not.
        :raises ValueError: the topic is not 32 bytes.
        :raises ClosedError: the network is closed.
        """

    def announce(topic: bytes) -> IAnnouncement:
        """
        Be found under a topic until the result is closed.  Without :meth:`listen`, whoever connects is turned away.

        :param topic: 32 bytes.
        :returns: an :class:`IAnnouncement`, at once; that it can't be done is told by its ``flushed``.
        :raises ValueError: the topic is not 32 bytes.
        :raises ClosedError: the network is closed.
        """

    def connect(peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open one stream to one peer.  Two calls open two.

        :param peer: a :class:`Peer`, from a lookup or made from a public key.
        :param factory: its ``buildProtocol`` is called with a :class:`PeerAddress`, when the stream is open.
        :returns: a Deferred of the protocol, connected.  It fails with a
            :class:`~spaceswarm_proxy.errors.ConnectError`, a ``LimitError``, a ``LinkError``, ``ClosedError``, or with
            what the peer's listener raised (``DuplicateConnectionError``...).  ``buildProtocol`` is called only on
            success.
        """

    def listen(factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Accept the streams that peers open to us.  One listener at a time; the next may begin when it has stopped.

        :param factory: its ``buildProtocol`` is called with a :class:`PeerAddress` for each; ``None`` refuses it,
            and so does raising a ``SpaceswarmError``, which is told to who connects where the network can do that.
        :returns: a Deferred of an ``IListeningPort`` whose ``getHost()`` is our own :class:`PeerAddress`.
            It fails with ``NotSupportedError``, with ``CannotListenError`` when something listens already, or with
            ``ClosedError``.
        """

    def with_identity(key_pair: KeyPair | None) -> INetwork:
        """
        The same network, known by another key: it announces, connects and listens apart from this one.

        :param key_pair: a :class:`~spaceswarm_proxy.crypto.keys.KeyPair`, or ``None`` for a fresh one.
        :returns: an ``INetwork`` of its own, to be closed by the caller; closing this one closes it too.
        :raises NotSupportedError: the network knows no identities.
        """

    def suspend() -> Deferred[None]:
        """Go quiet: keep what was asked for, but send nothing.  :returns: a Deferred."""

    def resume() -> Deferred[None]:
        """Undo :meth:`suspend`.  :returns: a Deferred."""

    def close() -> Deferred[None]:
        """
        Stop everything.  :returns: a Deferred that fires when no timer, socket or lookup is left; a second call
        likewise.
        """


class IPeeringNetwork(INetwork):
    """
    A network whose peers shake hands before a stream opens, and that lets its user have a say in that.

    Blind relays carry streams while no direct way is known.  They are named by their public keys, 32 bytes each; of
    several, one is used.
    """

    randomized = Attribute("Does everybody see us at another port, so that few find a direct way to us?")

    def connect(
        peer: Peer, factory: IProtocolFactory, relay_through: Sequence[bytes] | None = None
    ) -> Deferred[IProtocol]:
        """
        See :meth:`INetwork.connect`.

        :param relay_through: relays for this stream; none if it is empty; ``None`` leaves it to the network.
        """

    def listen(
        factory: IProtocolFactory,
        relay_through: Callable[[], Sequence[bytes]] | None = None,
        firewall: Callable[[PeerAddress], object] | None = None,
    ) -> Deferred[IListeningPort]:
        """
        See :meth:`INetwork.listen`.

        :param relay_through: asked for each stream that is about to be opened to us; ``None`` leaves it to the network.
        :param firewall: asked before a stream is opened to us; true, or a Deferred of it, refuses: then whoever
            connects hears nothing at all.
        """
