"""
Keys that are kept elsewhere, as the cores know them.

An :class:`~spaceswarm_proxy.interfaces.IKeeper` answers with Deferreds, whenever it likes, or never, and may be a
stranger: a proxy's client.  A core is told by calls, each in a turn of its own, in time, and of nothing that would hurt
it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import txaio
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys, Keeper, OwnKeys, Told
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH, KeyPair
from spaceswarm_proxy.crypto.noise import HASH_LENGTH, SessionKeys
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import HandshakeError, SpaceswarmError
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake

log = txaio.make_logger()

#: Seconds that a keeper has for one answer.
ANSWER_TIMEOUT = 10.0
#: Bytes by which the longer one of the two messages, the first, exceeds its payload: two keys and two tags.
OVERHEAD = 96

#: Calls a function with the time, in a turn of its own.
Soon = Callable[[Callable[[float], None]], None]


class Keepers:
    """The keepers of one node, and what they were asked and have not answered yet."""

    def __init__(self, reactor: Any, soon: Soon) -> None:
        """:param soon: the node's."""
        self._reactor = reactor
        self._soon = soon
        self._under_way: set[Deferred[bytes]] = set()

    def __len__(self) -> int:
        """:returns: how many answers are waited for."""
        return len(self._under_way)

    def keeper(self, keys: KeyPair | IKeeper) -> Keeper:
        """:returns: whoever keeps this key, for a core."""
        return OwnKeys(keys) if isinstance(keys, KeyPair) else DistantKeeper(keys, self)

    def ask(self, question: Callable[[], Deferred[bytes]], done: Told) -> Deferred[bytes]:
        """
        Ask a keeper something.

        :param question: asks it.
        :param done: told of the answer, once, in a turn of its own; not after :meth:`forget`.
        :returns: what :meth:`forget` knows it by.
        """
        answer = maybeDeferred(question)
        self._under_way.add(answer)
        answer.addTimeout(ANSWER_TIMEOUT, self._reactor)
        answer.addBoth(self._answered, answer, done)
        return answer

    def _answered(self, result: bytes | Failure, answer: Deferred[bytes], done: Told) -> None:
        if answer in self._under_way:
            self._soon(partial(self._tell, answer, done, _problem(result) if isinstance(result, Failure) else result))

    def _tell(self, answer: Deferred[bytes], done: Told, result: bytes | SpaceswarmError, now: float) -> None:
        if answer in self._under_way:
            self._under_way.discard(answer)
            done(result, now)

    def forget(self, answer: Deferred[bytes]) -> None:
        """It is not waited for any more; harmless if it was told."""
        self._under_way.discard(answer)
        answer.cancel()

    def close(self) -> None:
        """None of them is."""
        for answer in list(self._under_way):
            self.forget(answer)


class DistantKeeper:
    """A :class:`~spaceswarm_proxy.crypto.keeper.Keeper` that is an ``IKeeper``."""

    def __init__(self, keeper: IKeeper, keepers: Keepers) -> None:
        self._keeper = keeper
        self._keepers = keepers

    @property
    def public_key(self) -> bytes:
        """See :class:`~spaceswarm_proxy.crypto.keeper.Keeper`."""
        return bytes(self._keeper.public_key)

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> DistantHandshake:
        """See :class:`~spaceswarm_proxy.crypto.keeper.Keeper`."""
        return DistantHandshake(partial(self._keeper.handshake, profile, remote_public_key), self._keepers)

    def sign(self, profile: Profile, claim: Claim, done: Told, now: float) -> None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.Keeper`."""

        def signed(signature: bytes | SpaceswarmError, now: float) -> None:
            if isinstance(signature, bytes) and len(signature) != SIGNATURE_LENGTH:
                signature = SpaceswarmError("what the keeper has signed is no signature")
            done(signature, now)

        self._keepers.ask(partial(self._keeper.sign, profile, claim), signed)


class DistantHandshake:
    """A :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake` that is an ``IKeptHandshake``."""

    def __init__(self, begin: Callable[[], IKeptHandshake], keepers: Keepers) -> None:
        """:param begin: begins it; called when there is something to be done, as it may fail."""
        self._begin = begin
        self._keepers = keepers
        self._kept: IKeptHandshake | None = None
        self._under_way: set[Deferred[bytes]] = set()

    @property
    def remote_public_key(self) -> bytes | None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`."""
        key = None if self._kept is None else self._kept.remote_public_key
        return None if key is None or len(key) != PUBLIC_KEY_LENGTH else bytes(key)

    @property
    def keys(self) -> SessionKeys | DistantKeys | None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`; those that can't be are none."""
        keys: SessionKeys | DistantKeys | None = None if self._kept is None else self._kept.keys
        if keys is None or len(keys.hash) != HASH_LENGTH or len(keys.remote_public_key) != PUBLIC_KEY_LENGTH:
            return None
        return keys

    def write(self, payload: bytes, done: Told, now: float) -> None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`."""
        self._ask(lambda kept: kept.write(payload), len(payload) + OVERHEAD, done)

    def read(self, message: bytes, done: Told, now: float) -> None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`."""
        self._ask(lambda kept: kept.read(message), len(message), done)

    def _ask(self, call: Callable[[IKeptHandshake], Deferred[bytes]], limit: int, done: Told) -> None:
        """:param limit: bytes that the answer has at most."""

        def question() -> Deferred[bytes]:
            if self._kept is None:
                self._kept = self._begin()
            return call(self._kept)

        def answered(answer: bytes | SpaceswarmError, now: float) -> None:
            self._under_way.discard(asked)
            if isinstance(answer, bytes) and len(answer) > limit:
                answer = HandshakeError("too-long", str(len(answer)))
            done(answer, now)

        asked = self._keepers.ask(question, answered)
        self._under_way.add(asked)

    def close(self) -> None:
        """See :class:`~spaceswarm_proxy.crypto.keeper.KeptHandshake`."""
        under_way, self._under_way = self._under_way, set()
        for asked in under_way:
            self._keepers.forget(asked)
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                kept.close()
            except Exception:
                log.failure("the keeper of a key did not close a handshake")


def _problem(failure: Failure) -> SpaceswarmError:
    """:returns: as what a core is told of it."""
    if isinstance(failure.value, SpaceswarmError):
        return failure.value
    if failure.check(TimeoutError, CancelledError):
        return SpaceswarmError("whoever keeps the key does not answer")
    log.failure("the keeper of a key failed", failure=failure)
    return SpaceswarmError(failure.getErrorMessage())
