"""Keepers of keys, as a proxy server has them instead of its clients' keys, and what its clients do with streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import SessionKeys
from spaceswarm_proxy.crypto.profile import SPACESWARM, Profile
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake, INetwork, Peer, SealedAddress
from spaceswarm_proxy.keepers import OwnKeeper, OwnKeptHandshake
from spaceswarm_proxy.secret.connection import SecretConnection, Settings
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.secret.transport import SecretTransport


@implementer(IKeeper)
class FakeKeeper:
    """
    Keeps a key pair, and says no more of it than a client far away does.

    It answers at once and truly, but for what is said here by the name of what is asked: ``write``, ``read``, ``sign``,
    ``prove``.
    """

    def __init__(self, key_pair: KeyPair | None = None, clock: Any = None) -> None:
        """:param clock: an ``IReactorTime``, for answers that take their time."""
        self.key_pair = key_pair or KeyPair.generate()
        self.public_key = self.key_pair.public_key
        #: Seconds until an answer comes; ``None`` is from inside the call.
        self.delay: float | None = None
        #: What is never answered.
        self.silent: set[str] = set()
        #: What fails, and with what.
        self.failing: dict[str, Exception] = {}
        #: What is not answered truly: what is said instead of the answer.
        self.lies: dict[str, Callable[[bytes], bytes]] = {}
        #: Called with what is asked, before it is answered.
        self.when_asked: Callable[[str], object] = lambda what: None
        #: Everything that was asked.
        self.asked: list[str] = []
        #: The handshakes, by their number from 1.
        self.handshakes: dict[int, FakeKeptHandshake] = {}
        self._own = OwnKeeper(self.key_pair)
        self._clock = clock

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> FakeKeptHandshake:
        number = len(self.handshakes) + 1
        self.handshakes[number] = FakeKeptHandshake(self, number, self._own.handshake(profile, remote_public_key))
        return self.handshakes[number]

    def sign(self, profile: Profile, claim: Claim) -> Deferred[bytes]:
        return self.answer("sign", lambda: self._own.sign(profile, claim))

    def prove(self, challenge: bytes) -> Deferred[bytes]:
        return self.answer("prove", lambda: self._own.prove(challenge))

    def session_keys(self, keys: DistantKeys) -> SessionKeys:
        """What a client does when its stream opens.  :returns: all of a handshake's keys."""
        handshake = self.handshakes[keys.number]
        handshake.used = True
        assert handshake.own.keys is not None
        return handshake.own.keys

    @property
    def left_over(self) -> list[int]:
        """Numbers of the handshakes of which nobody has said what becomes of them."""
        return [number for number, each in self.handshakes.items() if not (each.used or each.closed)]

    def answer(self, what: str, truly: Callable[[], Deferred[bytes]]) -> Deferred[bytes]:
        self.asked.append(what)
        self.when_asked(what)
        if what in self.silent:
            return Deferred()
        if what in self.failing:
            return self._later(fail(self.failing[what]))
        return self._later(truly().addCallback(self.lies.get(what, lambda answer: answer)))

    def _later(self, answer: Deferred[bytes]) -> Deferred[bytes]:
        if self.delay is None:
            return answer
        later: Deferred[bytes] = Deferred()
        # Who has cancelled hears nothing more.
        self._clock.callLater(self.delay, answer.addBoth, later.callback)
        return later


@implementer(IKeptHandshake)
class FakeKeptHandshake:
    """A handshake of a :class:`FakeKeeper`; its attributes may be lies, too."""

    def __init__(self, keeper: FakeKeeper, number: int, own: OwnKeptHandshake) -> None:
        self.own = own
        #: Was it closed?  Has the client taken its keys?
        self.closed = False
        self.used = False
        #: What its attributes say instead of the truth.
        self.lies: dict[str, Callable[[Any], Any]] = {}
        self._keeper = keeper
        self._number = number

    @property
    def remote_public_key(self) -> bytes | None:
        return self._said("remote_public_key", self.own.remote_public_key)

    @property
    def keys(self) -> DistantKeys | None:
        keys = self.own.keys
        truth = None if keys is None else DistantKeys(keys.hash, keys.remote_public_key, self._number)
        return self._said("keys", truth)

    def write(self, payload: bytes) -> Deferred[bytes]:
        return self._keeper.answer("write", lambda: self.own.write(payload))

    def read(self, message: bytes) -> Deferred[bytes]:
        return self._keeper.answer("read", lambda: self.own.read(message))

    def close(self) -> None:
        self.closed = True

    def _said(self, what: str, truth: Any) -> Any:
        return self.lies.get(what, lambda truth: truth)(truth)


@implementer(INetwork)
class Unsealed:
    """
    A sealed network as the client sees it to whom it belongs: its streams are decrypted, all else goes through.

    With this, a sealed network must keep the promises of any other.
    """

    def __init__(self, network: Any, keeper: FakeKeeper, clock: Any, profile: Profile = SPACESWARM) -> None:
        """
        :param network: known by the keeper.
        :param clock: an ``IReactorTime``.
        """
        self.network = network
        self.keeper = keeper
        self.clock = clock
        self.labels = profile.stream_labels

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = self.network.connect(peer, Unsealing(self, factory))
        return connecting.addCallback(lambda secret: secret.opened)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        listening: Deferred[IListeningPort] = self.network.listen(Unsealing(self, factory))
        return listening


@implementer(IProtocolFactory)
class Unsealing:
    """Puts what decrypts between a sealed network's stream and a factory's protocol."""

    def __init__(self, owner: Unsealed, wrapped: IProtocolFactory) -> None:
        self.owner = owner
        self.wrapped = wrapped
        #: Of the streams, as the network has told them.
        self.addresses: list[SealedAddress] = []

    def doStart(self) -> None:
        self.wrapped.doStart()

    def doStop(self) -> None:
        self.wrapped.doStop()

    def buildProtocol(self, address: Any) -> Any:
        assert isinstance(address, SealedAddress)
        self.addresses.append(address)
        owner, keys = self.owner, self.owner.keeper.session_keys(address.keys)
        session = Session(address.initiator, owner.keeper.public_key, keys, owner.labels)
        secret = SecretConnection(session, Settings(owner.labels), owner.clock, self._build)
        if not address.initiator:
            secret.opened.addErrback(_not_opened)
        return secret

    def _build(self, transport: SecretTransport) -> IProtocol | None:
        protocol: IProtocol | None = self.wrapped.buildProtocol(transport.getPeer())
        return protocol


def _not_opened(failure: Failure) -> None:
    """Nobody waits for a stream that somebody else opens."""
