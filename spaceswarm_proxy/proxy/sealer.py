"""
The client's half of end-to-end mode: does for the server what needs the secret key, and nothing that it should not.

The server may ask for

* the first message of a handshake with a peer to whom a CONNECT is under way;
* the answer to a first message of somebody else's, while streams are taken here;
* a signature that we are found under a topic that we announce, or under our own key, or are no longer;
* the proof that we have the key, for a server that it is itself a client of.

It gets the messages, and of what was agreed on only the hash and the peer's public key.  What it asks for beyond that
is refused, and all that it can make us keep is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import txaio
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import CHALLENGE_LENGTH, Claim
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.errors import EventError, HandshakeError, LimitError, MessageError, SpaceswarmError
from spaceswarm_proxy.interfaces import KEY_LENGTH, IKeeper, IKeptHandshake
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.wire import Event, EventType, tell_problem

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client_link import ClientLink

log = txaio.make_logger()

#: Handshakes under way, or waiting for their stream; seconds that one may take.
MAX_HANDSHAKES = 1024
PATIENCE = 60.0
#: Signatures and messages that are being made, by a keeper that takes its time.
MAX_ASKED = 6144


class Kept(NamedTuple):
    """A handshake that is under way, or waits for its stream."""

    handshake: IKeptHandshake
    #: Is it we who speak first?
    initiator: bool
    #: When it has taken too long.
    deadline: float


class Sealer:
    """Answers the questions of one link's server."""

    def __init__(self, link: ClientLink, keeper: IKeeper, profile: Profile) -> None:
        self.profile = profile
        self._link = link
        self._keeper = keeper
        self._asked = 0
        # By number, the oldest first.
        self._handshakes: dict[int, Kept] = {}

    def __len__(self) -> int:
        """How many handshakes there are."""
        return len(self._handshakes)

    # Questions, and answers.

    def asked(self, event: Event) -> None:
        """SEAL, UNSEAL or SIGN: an ANSWER follows, at once or when the keeper has found it."""
        if self._asked >= MAX_ASKED:
            self._refuse(event.request, LimitError("max_asks", MAX_ASKED))
            return
        self._asked += 1
        question = {EventType.SEAL: self._seal, EventType.UNSEAL: self._unseal}.get(EventType(event.type), self._sign)
        maybeDeferred(question, event).addBoth(self._answered, event.request)

    def _answered(self, result: Event | Failure, request: int | None) -> None:
        self._asked -= 1
        if isinstance(result, Event):
            result.request = request
            self._link.send_if_open(result)
        elif isinstance(result.value, SpaceswarmError):
            log.debug("the server is refused what it asks for: {problem}", problem=result.value)
            self._refuse(request, result.value)
        else:
            log.failure("a keeper failed", failure=result)
            self._refuse(request, SpaceswarmError())

    def _refuse(self, request: int | None, problem: SpaceswarmError) -> None:
        self._link.send_if_open(tell_problem(Event(EventType.ANSWER, request=request), problem))

    # Signatures.

    def _sign(self, event: Event) -> Deferred[Event]:
        signature = self._prove(event) if event.topic is None else self._claim(event.topic, event)
        return signature.addCallback(lambda data: Event(EventType.ANSWER, data=data))

    def _prove(self, event: Event) -> Deferred[bytes]:
        challenge = event.token or b""
        if len(challenge) != CHALLENGE_LENGTH:
            raise EventError("bad-challenge", f"{len(challenge)} bytes")
        return self._keeper.prove(challenge)

    def _claim(self, target: bytes, event: Event) -> Deferred[bytes]:
        withdrawn = not (event.roles or 0) & Role.ANNOUNCE.value
        claim = Claim(target, event.key or b"", event.token or b"", event.data or b"", withdrawn)
        if not self._is_true(claim):
            raise EventError("untrue-claim")
        return self._keeper.sign(self.profile, claim)

    def _is_true(self, claim: Claim) -> bool:
        own = self._keeper.public_key
        if not claim.is_sound or not _is_record_of(own, claim.record):
            return False
        return claim.withdrawn or claim.target == hash32(own) or self._link.network.is_announced(claim.target)

    # Handshakes.

    def _seal(self, event: Event) -> Deferred[Event]:
        """Write our message of a handshake."""
        if event.key is not None:
            if not self._link.is_connecting_to(event.key):
                raise HandshakeError("unwanted", event.key[:KEY_LENGTH].hex())
            self._begin(event.handshake, event.key)
        kept = self._known(event.handshake)
        return kept.handshake.write(event.data or b"").addCallback(_sealed, kept)

    def _unseal(self, event: Event) -> Deferred[Event]:
        """Read the other side's message of a handshake, which may be the first of a new one."""
        if event.handshake not in self._handshakes:
            if self._link.network.listener is None:
                raise HandshakeError("unwanted", "nobody listens")
            self._begin(event.handshake, None)
        kept = self._known(event.handshake)
        return kept.handshake.read(event.data or b"").addCallback(_unsealed, kept)

    def _begin(self, number: int | None, remote_public_key: bytes | None) -> None:
        if number is None:
            raise HandshakeError("no-number")
        if number in self._handshakes:
            raise HandshakeError("number-reused", str(number))
        if len(self._handshakes) >= MAX_HANDSHAKES:
            raise LimitError("max_handshakes", MAX_HANDSHAKES)
        handshake = self._keeper.handshake(self.profile, remote_public_key)
        deadline = self._link.clock.seconds() + PATIENCE
        self._handshakes[number] = Kept(handshake, remote_public_key is not None, deadline)

    def _known(self, number: int | None) -> Kept:
        kept = None if number is None else self._handshakes.get(number)
        if kept is None:
            raise HandshakeError("unknown-handshake", str(number))
        return kept

    def take(self, number: int | None, public_key: bytes | None, initiator: bool) -> IKeptHandshake:
        """
        The handshake of a stream that the server has opened.

        :param public_key: whose stream it says it is.
        :param initiator: did we ask for it?
        :returns: it, with keys; to be closed if these are not used.
        :raises HandshakeError: it is somebody else's, or the handshake is none, or was not finished.
        """
        if number is None:
            raise HandshakeError("not-sealed")
        kept = self._known(number)
        del self._handshakes[number]
        keys = kept.handshake.keys
        if keys is None or keys.remote_public_key != public_key or kept.initiator != initiator:
            kept.handshake.close()
            raise HandshakeError("other-peer")
        return kept.handshake

    def drop(self, number: int | None) -> None:
        """Nothing comes of a handshake."""
        kept = None if number is None else self._handshakes.pop(number, None)
        if kept is not None:
            kept.handshake.close()

    # Time, and the end.

    def tick(self, now: float) -> None:
        """Forget the handshakes that take too long."""
        for number in [number for number, kept in self._handshakes.items() if now >= kept.deadline]:
            self.drop(number)

    def close(self) -> None:
        """The link is gone."""
        for number in tuple(self._handshakes):
            self.drop(number)


def _is_record_of(public_key: bytes, data: bytes) -> bool:
    """
    Is it the record of this peer, and no more?

    What nodes store may be followed by the hash of a secret by which it can be renewed: for ever, without us.
    """
    try:
        record = PeerRecord.parse(data)
    except MessageError:
        return False
    return record.public_key == public_key and record.encode() == data


def _sealed(message: bytes, kept: Kept) -> Event:
    return Event(EventType.ANSWER, data=message, token=_hash(kept))


def _unsealed(payload: bytes, kept: Kept) -> Event:
    key = None if kept.initiator else kept.handshake.remote_public_key
    return Event(EventType.ANSWER, data=payload, key=key, token=_hash(kept))


def _hash(kept: Kept) -> bytes | None:
    """That of the whole handshake, if it is complete."""
    keys = kept.handshake.keys
    return None if keys is None else bytes(keys.hash)
