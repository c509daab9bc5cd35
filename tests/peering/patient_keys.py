"""Whoever keeps a key, as a test plays him: each question waits until the test has it answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys, OwnHandshake, Told
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import SpaceswarmError


class Question:
    """Something that is wanted of the key."""

    def __init__(self, name: str, work: Callable[[Told, float], None], done: Told) -> None:
        """
        :param name: ``read``, ``write`` or ``sign``.
        :param work: does it, and tells what comes of it.
        :param done: told by whoever answers.
        """
        self.name = name
        self.done = done
        self._work = work
        self._answer: bytes | SpaceswarmError | None = None

    def answer(self, now: float, problem: SpaceswarmError | None = None) -> None:
        """Answer it, truly unless there is a problem; the same again, if it was answered before."""
        if self._answer is None and problem is None:
            self._work(self._remember, now)
        self._answer = problem or self._answer
        assert self._answer is not None
        self.done(self._answer, now)

    def _remember(self, answer: bytes | SpaceswarmError, now: float) -> None:
        self._answer = answer


class PatientKeys:
    """The :class:`~spaceswarm_proxy.crypto.keeper.Keeper` of a key pair."""

    def __init__(self, key_pair: KeyPair) -> None:
        self.key_pair = key_pair
        self.public_key = key_pair.public_key
        #: What was not answered yet, and how many questions there have been.
        self.questions: list[Question] = []
        self.asked = 0
        self.handshakes: list[PatientHandshake] = []
        #: Questions of these names are answered at once; with a problem, where there is one.
        self.at_once: dict[str, SpaceswarmError | None] = {}

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> PatientHandshake:
        handshake = PatientHandshake(self, OwnHandshake(profile, self.key_pair, remote_public_key))
        self.handshakes.append(handshake)
        return handshake

    def sign(self, profile: Profile, claim: Claim, done: Told, now: float) -> None:
        def work(told: Told, now: float) -> None:
            told(self.key_pair.sign(claim.signable(profile)), now)

        self.ask(Question("sign", work, done), now)

    def ask(self, question: Question, now: float) -> None:
        self.asked += 1
        if question.name in self.at_once:
            question.answer(now, self.at_once[question.name])
        else:
            self.questions.append(question)

    def answer(self, now: float, problem: SpaceswarmError | None = None, which: int = 0) -> Question:
        """Answer the oldest question, or another one.  :returns: it."""
        question = self.questions.pop(which)
        question.answer(now, problem)
        return question

    @property
    def waiting(self) -> list[str]:
        """The names of the questions."""
        return [question.name for question in self.questions]

    @property
    def closed(self) -> list[int]:
        """How often each handshake was closed: once if nothing came of it, else never."""
        return [handshake.closed for handshake in self.handshakes]


class PatientHandshake:
    """One handshake."""

    def __init__(self, keeper: PatientKeys, own: OwnHandshake) -> None:
        self.closed = 0
        #: Who the keeper says that the other side is, and to what it has come, if that is not so.
        self.remote_public_key_told: bytes | None = None
        self.keys_told: DistantKeys | None = None
        self.says_nothing = False
        self._keeper = keeper
        self._own = own

    @property
    def remote_public_key(self) -> bytes | None:
        return None if self.says_nothing else self.remote_public_key_told or self._own.remote_public_key

    @property
    def keys(self) -> DistantKeys | None:
        keys = None if self.says_nothing else self._own.keys
        if self.keys_told is not None or keys is None:
            return self.keys_told
        return DistantKeys(keys.hash, keys.remote_public_key, 77)

    def write(self, payload: bytes, done: Told, now: float) -> None:
        self._keeper.ask(Question("write", partial(self._own.write, payload), done), now)

    def read(self, message: bytes, done: Told, now: float) -> None:
        self._keeper.ask(Question("read", partial(self._own.read, message), done), now)

    def close(self) -> None:
        self.closed += 1
