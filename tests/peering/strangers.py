"""A client among nodes that are not ours: each of them answers as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.commands import FIND_PEER, PEER_HANDSHAKE
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.forwarding import Mode, PeerHandshake
from spaceswarm_proxy.dht.message import REQUEST_BYTE, Request, encode_response, parse_request
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.peering.noise_payload import HolepunchInfo, NoisePayload, RelayPair, UDXInfo
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.world import ClientLog, PeeringWorld

TARGET = hash32(SERVER.public_key)
#: The server, as relays see it.
SERVER_ADDRESS = address_of("99.1.2.3", 5000)
#: Three nodes that know the server, and one that does not.
RELAYS = tuple(address_of(f"44.0.0.{number}", 4000 + number) for number in range(3))
IGNORANT = address_of("44.0.0.9", 4009)

#: Takes the first message of a handshake, and gives the value of the answer, or none.
Shake = Callable[[bytes], PeerHandshake | None]


def server_payload(**fields: Any) -> NoisePayload:
    """What a server behind an address translation says."""
    usual = {
        "holepunch": HolepunchInfo(0, (RelayPair(RELAYS[0], SERVER_ADDRESS),)),
        "udx": UDXInfo(4321),
        "secret_stream": 1,
    }
    return NoisePayload(**{**usual, **fields})


def heard_by_server(message: bytes) -> NoisePayload:
    """:returns: what a client says in its first message."""
    noise = Handshake("IK", False, SERVER, prologue=SPACESWARM.peer_handshake)
    return NoisePayload.parse(noise.read(message))


def answering(payload: NoisePayload | bytes, peer_address: bytes | None = SERVER_ADDRESS) -> Shake:
    """:returns: what answers as the server would that says this."""

    def shake(message: bytes) -> PeerHandshake:
        noise = Handshake("IK", False, SERVER, prologue=SPACESWARM.peer_handshake)
        noise.read(message)
        said = payload if isinstance(payload, bytes) else payload.encode()
        return PeerHandshake(Mode.REPLY, noise.write(said), peer_address)

    return shake


class Stranger:
    """A node."""

    def __init__(self, address: bytes, knows: bool, shake: Shake | None = None) -> None:
        """
        :param knows: does it have a record of the server?
        :param shake: answers handshakes; without it, nothing does.
        """
        self.shake = shake
        #: First messages that have come.
        self.messages: list[bytes] = []
        self.searches = 0
        self._id = contact_at(address).id
        self._knows = knows

    def __call__(self, data: bytes, source: bytes) -> Iterable[bytes]:
        if data[0] == REQUEST_BYTE:
            request = parse_request(data)
            silent, value = self._value(request)
            if not silent:
                others = b"" if request.command == PEER_HANDSHAKE else b"\x04" + b"".join((*RELAYS, IGNORANT))
                yield encode_response(request.tid, source, self._id, b"t" * 32, others, 0, value)

    def _value(self, request: Request) -> tuple[bool, bytes | None]:
        """:returns: whether there is no answer, and its value."""
        if request.internal or request.target != TARGET:
            return False, None
        if request.command == FIND_PEER:
            self.searches += 1
            return False, PeerRecord(SERVER.public_key).encode() if self._knows else None
        if request.command != PEER_HANDSHAKE:
            return True, None
        message = PeerHandshake.parse(request.value).noise
        self.messages.append(message)
        answer = None if self.shake is None else self.shake(message)
        return answer is None, None if answer is None else answer.encode()


class Strangers:
    """The world of such a client."""

    def __init__(self, *shakes: Shake | None, known: int = 3, keys: KeyPair | Keeper = CLIENT, **host: Any) -> None:
        """
        :param shakes: how each of the relays answers.
        :param known: how many of them have a record.
        :param keys: the client's.
        """
        self.keys = keys
        self.world = PeeringWorld()
        self.relays = [
            Stranger(address, number < known, shakes[number] if number < len(shakes) else None)
            for number, address in enumerate(RELAYS)
        ]
        self.world.strangers.update(zip(RELAYS, self.relays, strict=True))
        self.world.strangers[IGNORANT] = Stranger(IGNORANT, False)
        self.host = self.world.peer(ephemeral=True, bootstrap=(IGNORANT,), **host)
        self.world.run(10)

    def connect(self, **options: Any) -> ClientLog:
        """Begin to connect."""
        return self.host.connect(SERVER.public_key, self.keys, **options)

    def result(self, **options: Any) -> ClientLog:
        """Connect, to the end."""
        log = self.connect(**options)
        self.world.run_until(lambda: bool(log.results), 60)
        return log

    @property
    def left(self) -> tuple[int, int, int, int]:
        """What is there still: streams, sockets, attempts and what is to be done."""
        peering = self.host.peering
        sockets = len(peering.room.punching)
        return len(self.host.streams.open), sockets, len(peering.connectors), len(peering.room.schedule)
