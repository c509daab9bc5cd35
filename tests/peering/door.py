"""A server alone with its node: a test knocks as it likes, and everything that the node sends is written down."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.commands import PEER_HANDSHAKE, PEER_HOLEPUNCH
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake, PeerHolepunch
from spaceswarm_proxy.dht.message import REQUEST_BYTE, Command, encode_request, parse_request, parse_response
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.peering.noise_payload import Firewall, NoisePayload, RelayPair, UDXInfo
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.world import PeeringWorld

TARGET = hash32(SERVER.public_key)
RELAY, OTHER_RELAY = address_of("10.9.0.1", 901), address_of("10.9.0.2", 902)
CLIENT_ADDRESS = address_of("88.1.2.3", 4000)
#: Of all messages that come.
TID = b"\x01\x02"
#: The server, as its relays see it.
SERVER_ADDRESS = address_of("99.1.2.3", 5000)


class Knock:
    """A client's first message."""

    def __init__(self, key_pair: KeyPair = CLIENT, **payload: Any) -> None:
        """:param payload: what it says, where that is not the usual."""
        fields = {"udx": UDXInfo(0x1234), "secret_stream": 1, **payload}
        self._noise = _noise(key_pair)
        self.message = self._noise.write(NoisePayload(**fields).encode())

    @staticmethod
    def carrying(payload: bytes) -> bytes:
        """:returns: a message that carries this, whatever it is."""
        return _noise(CLIENT).write(payload)

    @property
    def keys(self) -> SessionKeys:
        """What was agreed on."""
        assert self._noise.keys is not None
        return self._noise.keys

    def read(self, answer: bytes) -> NoisePayload:
        """:returns: what the server says."""
        return NoisePayload.parse(self._noise.read(answer))


class Door:
    """A node with one server, behind a firewall, whose relays are given."""

    def __init__(
        self,
        public: bool = False,
        host: dict[str, Any] | None = None,
        keys: KeyPair | Keeper = SERVER,
        **options: Any,
    ) -> None:
        """:param options: of the server."""
        self.world = PeeringWorld()
        self.host = self.world.peer(public=public, **(host or {}))
        self.core = self.host.core
        #: Socket, address, datagram.
        self.sent: list[tuple[int, bytes, bytes]] = []
        self.core.transmit = self._transmit
        self.log = self.host.listen(keys, **options)
        self.listener = self.log.listener
        self.announcer = self.listener.announcer
        self.announcer._generations[0] = {RELAY: None}
        self.announcer.relays = (RelayPair(RELAY, SERVER_ADDRESS),)

    def _transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        self.sent.append((socket, address, data))

    def take_sent(self) -> list[tuple[int, bytes, bytes]]:
        """What was sent since the last call in answer to those who came, not for the node's own purposes."""
        sent, self.sent = self.sent, []
        return [datagram for datagram in sent if datagram[2][2:4] == TID]

    def direct(self, message: bytes, source: bytes = CLIENT_ADDRESS, socket: int = CLIENT_SOCKET) -> None:
        """A client's own message."""
        self.handshake(PeerHandshake(Mode.FROM_CLIENT, message), source, socket)

    def relayed(
        self, message: bytes, client: bytes = CLIENT_ADDRESS, relay: bytes = RELAY, to: bytes = SERVER_ADDRESS
    ) -> None:
        """The same through a relay."""
        self.handshake(PeerHandshake(Mode.FROM_RELAY, message, client), relay, to=to)

    def handshake(
        self, value: PeerHandshake, source: bytes, socket: int = CLIENT_SOCKET, to: bytes = SERVER_ADDRESS
    ) -> None:
        """A message comes."""
        self._come(PEER_HANDSHAKE, value.encode(), source, socket, to)

    def holepunch(self, value: PeerHolepunch, source: bytes = RELAY, socket: int = CLIENT_SOCKET) -> None:
        """A message of hole punching comes."""
        self._come(PEER_HOLEPUNCH, value.encode(), source, socket, SERVER_ADDRESS)

    def _come(self, number: int, value: bytes, source: bytes, socket: int, to: bytes) -> None:
        data = encode_request(Command.make(False, number, TARGET, value), TID, to, None, None)
        if self.core.receive(data, source, socket, self.world.now) is not None:
            raise AssertionError("the router sends its answers itself")
        self.host.plan()

    def answers(self) -> list[tuple[int, bytes, bytes]]:
        """The answers to handshakes that were sent: socket, address, and the second message."""
        return [(socket, to, PeerHandshake.parse(_value(data)).noise) for socket, to, data in self.take_sent()]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    def packet(self, stream: int, source: bytes, socket: int) -> bool:
        """
        A packet of a stream comes.

        :returns: whether it is refused.
        """
        raw = self.host.streams.by_id[stream]
        return raw._firewall(socket, source, self.world.now)

    @property
    def left(self) -> tuple[int, int, int]:
        """What is there still: handshakes that have come to nothing yet, sockets, and streams."""
        return self.listener.admission.pending, len(self.host.sockets.opened), len(self.host.streams.open)


OPEN = Firewall.OPEN


def _noise(key_pair: KeyPair) -> Handshake:
    prologue = SPACESWARM.peer_handshake
    return Handshake("IK", True, key_pair, remote_public_key=SERVER.public_key, prologue=prologue)


def _value(data: bytes) -> bytes | None:
    return parse_request(data).value if data[0] == REQUEST_BYTE else parse_response(data).value
