"""
As whom the clients of a server are known in its network, and what is done there in their names.

A client that has given its key (*identity*) may come back by another link as the same.  What it has announced, and its
being listened for, outlast its link by the *grace time*: a link that comes and goes makes no difference to others.
If the client is back before its old link was found to be dead, both are the same peer.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, succeed

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import NotSupportedError
from spaceswarm_proxy.interfaces import IAnnouncement, INetwork
from spaceswarm_proxy.proxy.client_keeper import ClientKeeper
from spaceswarm_proxy.proxy.client_port import ClientPort

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server_link import ServerLink

#: A public key, and whether the client keeps the secret one.
Name = tuple[bytes, bool]
#: Seconds that the network has to take note that clients are gone, while they are still there to sign that.
FAREWELL = 3.0
#: Takes a Deferred that nobody waits for.
Settle = Callable[[Deferred[Any]], None]
#: Told of a topic, and of the public key of who is found there no more.
Gone = Callable[[bytes, bytes], None]


class Announced:
    """A topic under which an identity is found: one announcement, however many of its links are in the topic."""

    __slots__ = ("announcement", "topic", "until", "users")

    def __init__(self, topic: bytes, announcement: IAnnouncement) -> None:
        self.topic = topic
        self.announcement = announcement
        #: Links that want it.
        self.users = 0
        #: With none, the time at which it ends.
        self.until: float | None = None


class Identity:
    """One of them, and its links."""

    def __init__(
        self,
        network: INetwork,
        settle: Settle,
        gone: Gone,
        *,
        owned: bool,
        name: Name | None,
        links: list[ServerLink] | None = None,
        keeper: ClientKeeper | None = None,
    ) -> None:
        """
        :param network: as it is known there.
        :param settle: for what nobody waits for.
        :param gone: told when it ends to be announced.
        :param owned: is the network its own, and not that of the server?
        :param name: what a client that comes back has in common with it, if it may.
        :param links: the keeper's, too.
        :param keeper: who has its secret key, where the server does not have it.
        """
        self.network = network
        self.owned = owned
        self.name = name
        #: Those that are there, and those that are lost but still write to peers; the newest last.
        self.links: list[ServerLink] = [] if links is None else links
        self.keeper = keeper
        self.port = ClientPort(self)
        #: Fires when nobody else listens with its key.
        self.alone: Deferred[Any] = succeed(None)
        #: Without links, the time at which it ends.
        self.until: float | None = None
        self._settle = settle
        self._gone = gone
        self._announced: dict[bytes, Announced] = {}

    @property
    def present(self) -> bool:
        """Is the client there?"""
        return any(not link.lost for link in self.links)

    @property
    def is_keeping(self) -> bool:
        """Is anything announced that no link wants?"""
        return any(announced.until is not None for announced in self._announced.values())

    # Streams.

    def takers(self, keys: DistantKeys | None) -> list[ServerLink]:
        """:returns: the links that can take a stream with these keys, the best first."""
        if keys is None or self.keeper is None:
            return self.links[::-1]
        link = self.keeper.link_of(keys)
        return [] if link is None else [link]

    def took(self, keys: DistantKeys | None, has_stream: bool) -> None:
        """A relay has taken the keys, and has got a stream in its link, or not."""
        if keys is None or self.keeper is None:
            return
        if has_stream:
            self.keeper.used(keys)
        else:
            self.keeper.unused(keys)

    # What is announced.

    def announce(self, topic: bytes) -> Announced:
        """A link wants to be found under a topic; see :meth:`withdraw` and :meth:`abandon`."""
        announced = self._announced.get(topic)
        if announced is None:
            announced = self._announced[topic] = Announced(topic, self.network.announce(topic))
        announced.users += 1
        announced.until = None
        return announced

    def withdraw(self, announced: Announced) -> Deferred[None]:
        """A link wants that no more.  :returns: a Deferred that fires when the network knows."""
        announced.users -= 1
        return succeed(None) if announced.users else self._end(announced)

    def abandon(self, announced: Announced, until: float) -> None:
        """A link that wanted it is lost: keep it until then, for another one."""
        announced.users -= 1
        if not announced.users:
            announced.until = until

    def _end(self, announced: Announced) -> Deferred[None]:
        del self._announced[announced.topic]
        if self.network.public_key is not None:
            self._gone(announced.topic, self.network.public_key)
        closed: Deferred[None] = announced.announcement.close()
        return closed

    # Time, and the end.

    def tick(self, now: float) -> None:
        """End what no link has taken up again in time."""
        for announced in tuple(self._announced.values()):
            if announced.until is not None and now >= announced.until:
                self._settle(self._end(announced))

    def leave(self) -> Deferred[Any]:
        """Nothing is done in this name any more.  :returns: a Deferred that fires when the network knows."""
        leaving = [self._end(announced) for announced in tuple(self._announced.values())]
        leaving.append(self.port.close())
        for each in leaving:
            self._settle(each)
        return DeferredList(leaving)

    def close(self) -> None:
        """It is there no more."""
        if self.owned:
            self._settle(self.network.close())


class Identities:
    """Those of a server's clients."""

    def __init__(self, network: INetwork, settle: Settle, gone: Gone, *, grace: float, max_kept: int) -> None:
        """
        :param network: the server's.
        :param settle, gone: as for each of them.
        :param grace: seconds that one outlasts its last link.
        :param max_kept: how many are kept without one; then the oldest ends.
        """
        self.network = network
        self.grace = grace
        self._settle = settle
        self._gone = gone
        self._max_kept = max_kept
        #: Those that may come back.
        self._by_name: dict[Name, Identity] = {}
        # Those with something that ends with time; the oldest first.
        self._kept: dict[Identity, None] = {}

    @property
    def kept(self) -> int:
        """How many have something that outlasts a link."""
        return len(self._kept)

    def enter(self, link: ServerLink, key: KeyPair | bytes | None) -> Identity:
        """
        :param key: a key pair; or the public key of a client that keeps the secret one; or nothing.
        :returns: whom the client is known as.
        :raises SpaceswarmError: the network does not seal any more.
        """
        name = _name(key)
        identity = None if name is None else self._by_name.get(name)
        if identity is None:
            identity = self._make_sealed(key, name) if isinstance(key, bytes) else self._make(key, name)
            if identity.name is not None:
                self._by_name[identity.name] = identity
                identity.alone = self._end_other(identity.name)
        identity.links.append(link)
        identity.until = None
        return identity

    def _make(self, key_pair: KeyPair | None, name: Name | None) -> Identity:
        try:
            network = self.network.with_identity(key_pair)
        except NotSupportedError:
            return Identity(self.network, self._settle, self._gone, owned=False, name=None)
        return Identity(network, self._settle, self._gone, owned=True, name=name)

    def _make_sealed(self, public_key: bytes, name: Name | None) -> Identity:
        links: list[ServerLink] = []
        keeper = ClientKeeper(public_key, links)
        network = self.network.with_identity(keeper)  # type: ignore[arg-type]  # it is an ISealedNetwork
        return Identity(network, self._settle, self._gone, owned=True, name=name, links=links, keeper=keeper)

    def _end_other(self, name: Name) -> Deferred[Any]:
        """
        A client is back, and keeps the key that it has given before, or the other way round: it is not waited for.

        :returns: a Deferred that fires when the other one is gone.
        """
        other = self._by_name.get((name[0], not name[1]))
        return succeed(None) if other is None or other.links else self._end(other)

    def lost(self, identity: Identity, announced: list[Announced], listening: bool, now: float) -> None:
        """
        A link is lost; :meth:`left` follows when it is done with its peers.

        :param announced: the topics that it wanted its identity to be found under.
        :param listening: did it want the streams that peers open?
        """
        grace = 0.0 if identity.name is None else self.grace
        for each in announced:
            identity.abandon(each, now + grace)
        if grace and (announced or listening):
            identity.until = now + grace
            self._keep(identity)
        identity.tick(now)

    def _keep(self, identity: Identity) -> None:
        self._kept.pop(identity, None)
        self._kept[identity] = None
        if len(self._kept) > self._max_kept:
            oldest = next(iter(self._kept))
            oldest.tick(inf)
            self._look(oldest, inf)

    def left(self, identity: Identity, link: ServerLink, now: float) -> None:
        """A link is lost, and nothing goes to a peer over it any more; a second call changes nothing."""
        if link in identity.links:
            identity.links.remove(link)
            self._look(identity, now)

    def tick(self, now: float) -> None:
        """Let go what has not been taken up again in time."""
        for identity in tuple(self._kept):
            identity.tick(now)
            self._look(identity, now)

    def _look(self, identity: Identity, now: float) -> None:
        """See whether its time is up."""
        if identity.until is not None and now < identity.until:
            return
        identity.until = None
        if not identity.links:
            self._end(identity)
        elif not identity.is_keeping:
            self._kept.pop(identity, None)

    def _end(self, identity: Identity) -> Deferred[Any]:
        self._kept.pop(identity, None)
        return identity.leave().addCallback(lambda _: self._gone_for_good(identity))

    def _gone_for_good(self, identity: Identity) -> None:
        """The network knows that it is gone; who was back before that goes on with it, for there can't be two."""
        if identity.links:
            return
        if identity.name is not None:
            self._by_name.pop(identity.name, None)
        identity.close()

    def take_leave(self, clock: Any) -> Deferred[Any]:
        """
        Have taken back what is announced with the signatures of clients that are there still: without them it can't.

        :returns: a Deferred that fires when the network knows, or it takes too long.
        """
        sealed = [each for each in self._by_name.values() if each.keeper is not None and each.present]
        if not sealed:
            return succeed(None)
        left: Deferred[Any] = Deferred()
        limit = clock.callLater(FAREWELL, left.callback, None)

        def all_left(_: object) -> None:
            if limit.active():
                limit.cancel()
                left.callback(None)

        DeferredList([identity.leave() for identity in sealed]).addCallback(all_left)
        return left

    def close(self) -> None:
        """Keep nothing any longer."""
        self.grace = 0.0
        self.tick(inf)


def _name(key: KeyPair | bytes | None) -> Name | None:
    if key is None:
        return None
    return (key, True) if isinstance(key, bytes) else (key.public_key, False)
