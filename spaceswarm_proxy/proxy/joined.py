"""What a client is doing in one topic, whether the link is up or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, LinkError, NotSupportedError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, IPeerReceiver, Peer
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.wire import EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client import ProxyNetwork
    from spaceswarm_proxy.proxy.client_link import ClientLink


class _Share:
    """One caller's lookup or announcement, and those who wait for it to be flushed."""

    role: Role

    def __init__(self, joined: JoinedTopic) -> None:
        self._joined = joined
        self.topic = joined.topic
        self._result: Failure | bool | None = None
        self._waiting: Waiters[None] = Waiters()
        joined.add(self)

    def settle(self, result: Failure | bool | None) -> None:
        """
        The server has answered (True, or its failure), or what it answered no longer holds (``None``).
        """
        self._result = result
        if isinstance(result, Failure):
            self._waiting.fail(result)
        elif result:
            self._waiting.fire(None)

    def update(self) -> None:
        """Ask the server again."""
        self._joined.update(self.role)

    def flushed(self) -> Deferred[None]:
        """See :meth:`spaceswarm_proxy.interfaces.ILookup.flushed`."""
        done = self._waiting.wait()
        self.settle(self._result)
        return done

    def close(self) -> Deferred[None]:
        """See :meth:`spaceswarm_proxy.interfaces.ILookup.close`."""
        if isinstance(self._result, Failure) and self._result.check(ClosedError):
            return succeed(None)
        self.settle(Failure(ClosedError("it was closed")))
        return self._joined.remove(self)


@implementer(ILookup)
class Lookup(_Share):
    """A lookup through a proxy."""

    role = Role.LOOKUP

    def __init__(self, joined: JoinedTopic, receiver: IPeerReceiver) -> None:
        self.receiver = receiver
        super().__init__(joined)


@implementer(IAnnouncement)
class Announcement(_Share):
    """An announcement through a proxy."""

    role = Role.ANNOUNCE


class JoinedTopic:
    """
    A topic that somebody here looks up or announces.

    JOIN says all the roles wanted, so each change is one JOIN, and the last share that goes is one LEAVE.  A
    server's failure to announce must not look like one to look up; so the first JOIN of a new link asks for the
    lookup alone.
    """

    def __init__(self, network: ProxyNetwork, topic: bytes, link: ClientLink | None) -> None:
        self.network = network
        self.topic = topic
        self._link = link
        self._shares: list[_Share] = []
        #: Peers known, so that a second lookup of the topic hears of them too.
        self._known: dict[bytes, Peer] = {}

    @property
    def roles(self) -> Role:
        """All that is wanted here."""
        roles = Role(0)
        for share in self._shares:
            roles |= share.role
        return roles

    def online(self, link: ClientLink) -> None:
        """There is a link: join."""
        self._link = link
        roles = self.roles
        for role in (Role.LOOKUP, Role.ANNOUNCE):
            if role in roles:
                self._join(role, roles & (role | Role.LOOKUP))

    def offline(self) -> None:
        """The link is gone: nothing that was answered holds any more."""
        self._link = None
        self._known.clear()
        for share in self._shares:
            share.settle(None)

    def closed(self, problem: Exception) -> None:
        """The network is closed."""
        self._link = None
        for share in self._shares:
            share.settle(Failure(problem))
        self._shares.clear()

    def add(self, share: _Share) -> None:
        """One more who is interested."""
        before = self.roles
        self._shares.append(share)
        if self._link is None:
            return
        if share.role not in before:
            self._join(share.role, self.roles)
            return
        like = next(each for each in self._shares if each.role is share.role)
        share.settle(like._result)
        if isinstance(share, Lookup) and self._known:
            self.network.clock.callLater(0, self._report_known, share)

    def _report_known(self, lookup: Lookup) -> None:
        for peer in list(self._known.values()):
            if lookup in self._shares:
                lookup.receiver.peer_found(peer)

    def remove(self, share: _Share) -> Deferred[None]:
        """One less; the last of a role ends that role."""
        if share not in self._shares:
            return succeed(None)
        self._shares.remove(share)
        roles = self.roles
        if not self._shares:
            self.network.forget(self)
        if self._link is None or share.role in roles:
            return succeed(None)
        if roles:
            done = self._link.request(EventType.JOIN, self.topic, roles)
        else:
            done = self._link.request(EventType.LEAVE, self.topic)
        # a link that is lost meanwhile has left for us
        return done.addErrback(lambda failure: failure.trap(LinkError) and None)

    def update(self, role: Role) -> None:
        """Ask the server to look, or announce, again."""
        if self._link is not None:
            self._join(role, self.roles)

    def _join(self, role: Role, roles: Role) -> None:
        link = self._link
        assert link is not None  # only called with one
        if role is Role.ANNOUNCE and Feature.ROLES not in link.features:
            self._settle(role, Failure(NotSupportedError("a JavaScript proxy server cannot announce for its clients")))
            return
        done = link.request(EventType.JOIN, self.topic, roles)
        done.addCallbacks(lambda _: self._settle(role, True), lambda failure: self._refused(role, failure, link))

    def _refused(self, role: Role, failure: Failure, link: ClientLink) -> None:
        if self._link is link:
            self._settle(role, failure)

    def _settle(self, role: Role, result: Failure | bool) -> None:
        for share in list(self._shares):
            if share.role is role:
                share.settle(result)

    def peer_found(self, peer: Peer) -> None:
        """The server's news."""
        if len(self._known) < self.network.limits.max_peers or peer.id in self._known:
            self._known[peer.id] = peer
        for share in list(self._shares):
            if isinstance(share, Lookup):
                share.receiver.peer_found(peer)

    def lookup_updated(self) -> None:
        """The server's news."""
        for share in list(self._shares):
            if isinstance(share, Lookup):
                share.receiver.lookup_updated()
