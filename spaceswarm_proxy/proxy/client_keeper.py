"""The keeper of a secret key that is at a client of the server, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys
from spaceswarm_proxy.crypto.keys import PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH
from spaceswarm_proxy.crypto.noise import HASH_LENGTH, MAX_MESSAGE
from spaceswarm_proxy.crypto.profile import Profile
from spaceswarm_proxy.errors import HandshakeError, PeerUnreachableError
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.wire import Event, EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server_link import ServerLink

#: Handshakes that are under way, or have come to keys that no stream has yet; beyond that the oldest are forgotten.
MAX_HANDSHAKES = 1024


@implementer(IKeeper)
class ClientKeeper:
    """
    Asks the client, by one of its links.

    While it has none, all fails with ``PeerUnreachableError``; a handshake stays with the link on which it began.
    """

    def __init__(self, public_key: bytes, links: Sequence[ServerLink]) -> None:
        """
        :param public_key: the client's, which it has proved to have.
        :param links: those that are there, the newest last; kept by somebody else.
        """
        self.public_key = public_key
        self._links = links
        self._last = 0
        self._handshakes: dict[int, ClientHandshake] = {}

    @property
    def under_way(self) -> int:
        """How many handshakes there are."""
        return len(self._handshakes)

    # IKeeper.

    def handshake(self, profile: Profile, remote_public_key: bytes | None = None) -> ClientHandshake:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`.  The client knows the profile from READY."""
        self._last += 1
        link = self._visited() if remote_public_key is None else self._dialling(remote_public_key)
        handshake = ClientHandshake(self, self._last, link, remote_public_key)
        self._handshakes[handshake.number] = handshake
        if len(self._handshakes) > MAX_HANDSHAKES:
            next(iter(self._handshakes.values())).close()
        return handshake

    def sign(self, profile: Profile, claim: Claim) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`."""
        roles = 0 if claim.withdrawn else int(Role.ANNOUNCE)
        event = Event(EventType.SIGN, topic=claim.target, data=claim.record, roles=roles)
        event.key, event.token = claim.node_id, claim.token
        return self._ask(event).addCallback(_signature)

    def prove(self, challenge: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeeper`."""
        return self._ask(Event(EventType.SIGN, token=challenge)).addCallback(_signature)

    # The newest of its links that will do.

    def _ask(self, event: Event) -> Deferred[Event]:
        link = self._newest(lambda link: True)
        return fail(_away()) if link is None else link.asks.ask(event)

    def _dialling(self, public_key: bytes) -> ServerLink | None:
        return self._newest(lambda link: link.upstreams.is_dialling(public_key))

    def _visited(self) -> ServerLink | None:
        return self._newest(lambda link: link.takes_streams or bool(link.announced()))

    def _newest(self, will_do: Callable[[ServerLink], bool]) -> ServerLink | None:
        return next((link for link in reversed(self._links) if not link.closing and will_do(link)), None)

    # Handshakes.

    def link_of(self, keys: DistantKeys) -> ServerLink | None:
        """:returns: the link whose client has the keys, if it is still there and nothing has come of them yet."""
        handshake = self._handshakes.get(keys.number)
        return None if handshake is None else handshake.link

    def used(self, keys: DistantKeys) -> None:
        """A stream has the keys now."""
        self._handshakes.pop(keys.number, None)

    def unused(self, keys: DistantKeys) -> None:
        """No stream has the keys, and none will."""
        handshake = self._handshakes.get(keys.number)
        if handshake is not None:
            handshake.close()

    def knows(self, handshake: ClientHandshake) -> bool:
        """Is it under way, or waiting for its stream?"""
        return handshake.number in self._handshakes

    def forget(self, handshake: ClientHandshake) -> bool:
        """Nothing comes of it.  :returns: whether that is news."""
        return self._handshakes.pop(handshake.number, None) is not None


@implementer(IKeptHandshake)
class ClientHandshake:
    """A handshake that a client does."""

    def __init__(
        self, keeper: ClientKeeper, number: int, link: ServerLink | None, remote_public_key: bytes | None
    ) -> None:
        """
        :param number: by what the client knows it.
        :param remote_public_key: as for :meth:`ClientKeeper.handshake`.
        """
        self.number = number
        self.link = link
        self.remote_public_key = remote_public_key
        self.keys: DistantKeys | None = None
        self._keeper = keeper
        self._initiator = remote_public_key is not None
        self._begun = False

    def write(self, payload: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        event = Event(EventType.SEAL, data=payload, handshake=self.number)
        if self._initiator:
            event.key = self.remote_public_key
        return self._ask(event).addCallback(self._message)

    def read(self, message: bytes) -> Deferred[bytes]:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        return self._ask(Event(EventType.UNSEAL, data=message, handshake=self.number)).addCallback(self._payload)

    def close(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IKeptHandshake`."""
        if self._keeper.forget(self) and self._begun and self.link is not None and not self.link.closing:
            self.link.send(Event(EventType.DROP, handshake=self.number))

    def _ask(self, event: Event) -> Deferred[Event]:
        if self.link is None or self.link.closing:
            return fail(_away())
        if not self._keeper.knows(self):  # to the client its number would be that of a new one
            return fail(HandshakeError("closed"))
        self._begun = True
        return self.link.asks.ask(event)

    def _message(self, answer: Event) -> bytes:
        if not self._initiator:
            self._agree(answer)
        return _bounded(answer)

    def _payload(self, answer: Event) -> bytes:
        if self._initiator:
            self._agree(answer)
        elif answer.key is None or len(answer.key) != PUBLIC_KEY_LENGTH:
            raise HandshakeError("no-key")
        else:
            self.remote_public_key = answer.key
        return _bounded(answer)

    def _agree(self, answer: Event) -> None:
        if answer.token is None or len(answer.token) != HASH_LENGTH or self.remote_public_key is None:
            raise HandshakeError("no-hash")
        self.keys = DistantKeys(answer.token, self.remote_public_key, self.number)


def _bounded(answer: Event) -> bytes:
    """A message or payload."""
    data = answer.data or b""
    if len(data) > MAX_MESSAGE:
        raise HandshakeError("too-long", str(len(data)))
    return data


def _signature(answer: Event) -> bytes:
    if answer.data is None or len(answer.data) != SIGNATURE_LENGTH:
        raise HandshakeError("no-signature")
    return answer.data


def _away() -> PeerUnreachableError:
    return PeerUnreachableError("the client is away")
