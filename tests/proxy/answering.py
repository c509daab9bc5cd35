"""A client that keeps its key, frame by frame: it answers the server's questions as a test tells it to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spaceswarm_proxy.crypto.keeper import Claim, proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.keepers import OwnKeeper, OwnKeptHandshake
from spaceswarm_proxy.proxy.features import ALL, Role
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.world import RawClient, World

READY, IDENTIFY, ANSWER = EventType.READY, EventType.IDENTIFY, EventType.ANSWER
QUESTIONS = (EventType.SEAL, EventType.UNSEAL, EventType.SIGN)
SEALED = {"features": int(ALL), "window": 100_000}


class Answering:
    """
    A client's link, and its key.

    :param answer: changes the true answer to a question, or says ``None``: there is none.
    """

    def __init__(
        self,
        world: World,
        key_pair: KeyPair | None = None,
        answer: Callable[[Event, Event], Event | None] = lambda question, truth: truth,
        identify: bool = True,
    ) -> None:
        self.world = world
        self.key_pair = key_pair or KeyPair.generate()
        self.keeper = OwnKeeper(self.key_pair)
        self.answer = answer
        self.handshakes: dict[int, OwnKeptHandshake] = {}
        self.answered = 0
        self.client: RawClient = world.client(**SEALED)
        self._looking = False
        self.client.dataReceived = self._received
        if identify:
            self.identify()

    @property
    def public_key(self) -> bytes:
        return self.key_pair.public_key

    @property
    def challenge(self) -> bytes:
        return self.client.events(READY)[0].token or b""

    def proof(self, challenge: bytes | None = None, key_pair: KeyPair | None = None) -> bytes:
        return (key_pair or self.key_pair).sign(proof_signable(challenge or self.challenge))

    def identify(self, **fields: Any) -> None:
        """Say who we are, by default truly."""
        self.send(Event(IDENTIFY, **{"key": self.public_key, "data": self.proof(), **fields}))

    def send(self, *events: Event) -> None:
        if not self.client.lost:
            self.client.send(*events)
        self.world.settle()

    def questions(self, kind: int | None = None) -> list[Event]:
        kinds = QUESTIONS if kind is None else (kind,)
        return [each for each in self.client.frames if isinstance(each, Event) and each.type in kinds]

    def _received(self, data: bytes) -> None:
        self.client.frames += self.client.decoder.feed(data)
        for question in self.questions()[self.answered :]:
            self.answered += 1
            answer = self.answer(question, self.truth(question))
            if answer is not None:
                answer.request = question.request if answer.request is None else answer.request
                self.client.send(answer)

    def truth(self, question: Event) -> Event:
        """The true answer."""
        answer = Event(ANSWER)
        if question.type == EventType.SIGN:
            self._sign(question, answer)
        else:
            self._shake_hands(question, answer)
        return answer

    def _sign(self, question: Event, answer: Event) -> None:
        if question.topic is None:
            answer.data = self.proof(question.token)
            return
        withdrawn = not (question.roles or 0) & Role.ANNOUNCE
        claim = Claim(question.topic, question.key or b"", question.token or b"", question.data or b"", withdrawn)
        answer.data = self.key_pair.sign(claim.signable(SPACESWARM))

    def _shake_hands(self, question: Event, answer: Event) -> None:
        number = question.handshake or 0
        handshake = self.handshakes.get(number)
        if handshake is None:
            handshake = self.handshakes[number] = self.keeper.handshake(SPACESWARM, question.key)
        does = handshake.write if question.type == EventType.SEAL else handshake.read

        def failed(failure: Any) -> None:
            answer.code, answer.data = "handshake-error", b"bad"

        does(question.data or b"").addCallbacks(lambda data: setattr(answer, "data", data), failed)
        answer.key = handshake.remote_public_key
        answer.token = None if handshake.keys is None else handshake.keys.hash
