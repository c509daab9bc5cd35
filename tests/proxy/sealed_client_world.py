"""A client that keeps its key, the server that a test plays, and the peers behind it."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.keepers import OwnKeptHandshake
from spaceswarm_proxy.proxy.features import ALL
from spaceswarm_proxy.proxy.wire import Event, EventType
from spaceswarm_proxy.secret.session import Session
from tests.proxy.client_world import WINDOW, ClientWorld
from tests.proxy.world import TOPIC

OWN = KeyPair.from_seed(b"o" * 32)
CHALLENGE = b"c" * 32
LABELS = SPACESWARM.stream_labels
#: What our own server says.
SEALED = {
    "features": int(ALL),
    "window": WINDOW,
    "token": CHALLENGE,
    "profile": "spaceswarm",
    "data": "\n".join(LABELS).encode(),
}
SEAL, UNSEAL, SIGN, DROP, ANSWER = EventType.SEAL, EventType.UNSEAL, EventType.SIGN, EventType.DROP, EventType.ANSWER
CONNECT, OPEN = EventType.CONNECT, EventType.ON_STREAM_OPEN


class FarPeer:
    """A peer behind the server: its side of handshakes and of encrypted streams."""

    def __init__(self, seed: bytes = b"p") -> None:
        self.key_pair = KeyPair.from_seed(seed * 32)
        self.peer = Peer.keyed(self.key_pair.public_key)

    def handshake(self, with_key: bytes | None = None) -> OwnKeptHandshake:
        return OwnKeptHandshake(SPACESWARM, self.key_pair, with_key)

    def session(self, keys: SessionKeys, initiator: bool, *labels: str) -> Session:
        return Session(initiator, self.key_pair.public_key, keys, labels or LABELS)


def now(done: Any) -> bytes:
    """What a Deferred has fired with."""
    results: list[Any] = []
    done.addCallbacks(results.append, lambda failure: results.append(failure.value))
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


class SealedClientWorld(ClientWorld):
    """:param options: of :class:`ProxyNetwork`."""

    def __init__(self, ready: dict[str, Any] | None = SEALED, **options: Any) -> None:
        self.questions = 0
        super().__init__(ready, **{"end_to_end": None, "key_pair": OWN, **options})

    def ask(self, kind: int, **fields: Any) -> Event:
        """The server asks.  :returns: the answer."""
        self.questions += 1
        self.server.send(Event(kind, request=self.questions, **fields))
        self.settle()
        answers = [event for event in self.server.events(ANSWER) if event.request == self.questions]
        assert len(answers) == 1, answers
        return answers[0]

    def refused(self, kind: int, **fields: Any) -> str:
        """The same.  :returns: why there is no answer, or nothing."""
        answer = self.ask(kind, **fields)
        assert answer.code, answer
        assert answer.token is None
        return (answer.data or b"").decode().partition(": ")[0]

    def asked_for(self, peer: Peer) -> tuple[list[Any], Any, int]:
        """A connection is asked for.  :returns: where its outcome will be, its factory, and the CONNECT's number."""
        results, peers = self.connect(peer)
        return results, peers, self.server.events(CONNECT)[-1].request or 0

    def shake_hands(self, peer: FarPeer, number: int) -> SessionKeys:
        """A handshake that the client begins.  :returns: the peer's keys."""
        first = self.ask(SEAL, handshake=number, key=peer.key_pair.public_key, data=b"hello")
        handshake = peer.handshake()
        assert now(handshake.read(first.data or b"")) == b"hello"
        second = self.ask(UNSEAL, handshake=number, data=now(handshake.write(b"and hello")))
        assert second.data == b"and hello"
        assert handshake.keys is not None
        assert second.token == handshake.keys.hash
        return handshake.keys

    def visited_by(self, peer: FarPeer, number: int) -> SessionKeys:
        """A handshake that the peer begins.  :returns: its keys."""
        handshake = peer.handshake(OWN.public_key)
        first = self.ask(UNSEAL, handshake=number, data=now(handshake.write(b"knock")))
        assert (first.data, first.key, first.token) == (b"knock", peer.key_pair.public_key, None)
        second = self.ask(SEAL, handshake=number, data=b"who's there?")
        assert now(handshake.read(second.data or b"")) == b"who's there?"
        assert handshake.keys is not None
        assert second.token == handshake.keys.hash
        return handshake.keys

    def open(self, peer: FarPeer, number: int | None, request: int | None = None, stream: int = 0) -> None:
        """The server says so."""
        self.server.send(self.opening(peer, number, request, stream))
        self.settle()

    def opening(self, peer: FarPeer, number: int | None, request: int | None = None, stream: int = 0) -> Event:
        """:returns: an ON_STREAM_OPEN."""
        return Event(OPEN, topic=TOPIC, peer=peer.peer.id, stream=stream, request=request, handshake=number)

    def carry(self, session: Session, stream: int = 0) -> list[bytes]:
        """What the peer sends comes to the client.  :returns: what the client has said so far, to the peer."""
        for data in session.data_to_send():
            self.server.data(stream, data)
        self.settle()
        heard = self.server.received(stream)
        self.server.frames = [each for each in self.server.frames if not isinstance(each, tuple) or each[0] != stream]
        return session.receive(heard)

    def kept(self) -> int:
        """How many handshakes the client keeps."""
        return len(self.network.link.sealed.sealer)

    def resets(self, stream: int = 0) -> list[str | None]:
        """The codes with which the client has reset a stream."""
        errors = self.server.events(EventType.ON_STREAM_ERROR)
        return [event.code for event in errors if (event.stream or 0) == stream]

    def farewell(self) -> list[Any]:
        """Close, and answer the farewell."""
        results = self.outcome(self.network.close())
        self.settle()
        for event in self.server.events(EventType.FAREWELL):
            self.server.reply(event.request or 0)
        self.settle()
        return results
