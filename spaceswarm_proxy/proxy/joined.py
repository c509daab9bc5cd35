"""What a client is doing in one topic, whether the link is up or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import txaio
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, NotSupportedError, SpaceswarmError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, IPeerReceiver, Peer
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.wire import EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client import ProxyNetwork
    from spaceswarm_proxy.proxy.client_link import ClientLink

log = txaio.make_logger()


class _Share:
    """One caller's lookup or announcement, and those who wait for it to be flushed."""

    role: Role

    def __init__(self, joined: JoinedTopic) -> None:
        self._joined = joined
        self.topic = joined.topic
        #: The server's answer: a failure, ``True``, or ``None`` for none that holds.
        self.result: Failure | bool | None = None
        self._closed = False
        self._waiting: Waiters[None] = Waiters()
        joined.add(self)

    def settle(self, result: Failure | bool | None) -> None:
        """The server has answered, or (``None``) what it answered no longer holds."""
        self.result = result
        if isinstance(result, Failure):
            self._waiting.fail(result)
        elif result:
            self._waiting.fire(None)

    def update(self) -> None:
        """Ask the server again."""
        if not self._closed:
            self._joined.update(self.role)

    def flushed(self) -> Deferred[None]:
        """See :meth:`spaceswarm_proxy.interfaces.ILookup.flushed`."""
        done = self._waiting.wait()
        self.settle(self.result)
        return done

    def close(self) -> Deferred[None]:
        """See :meth:`spaceswarm_proxy.interfaces.ILookup.close`."""
        if self._closed:
            return succeed(None)
        self._closed = True
        done = self._joined.remove(self)
        self.settle(Failure(ClosedError("it was closed")))
        return done


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
    lookup alone.  For each role, the answer to the last JOIN that was sent for its sake counts.
    """

    def __init__(self, network: ProxyNetwork, topic: bytes, link: ClientLink | None) -> None:
        self.network = network
        self.topic = topic
        self._link = link
        self._problem: Exception | None = None
        self._shares: list[_Share] = []
        self._asked: dict[Role, Deferred[None]] = {}
        #: Peers found in this round of the lookup and the one before, so that a second lookup hears of them too.
        self._fresh: dict[bytes, Peer] = {}
        self._stale: dict[bytes, Peer] = {}
        self._newcomers: list[Lookup] = []
        self._report: IDelayedCall | None = None

    @property
    def roles(self) -> Role:
        """All that is wanted here."""
        roles = Role(0)
        for share in self._shares:
            roles |= share.role
        return roles

    def _sharing(self, role: Role) -> list[_Share]:
        return [share for share in self._shares if share.role is role]

    # The link.

    def online(self, link: ClientLink) -> None:
        """There is a link: join."""
        self._link = link
        roles = self.roles
        for role in (Role.LOOKUP, Role.ANNOUNCE):
            if role in roles:
                self._ask(link, role, roles & (role | Role.LOOKUP))

    def offline(self) -> None:
        """The link is gone: nothing that was answered holds any more."""
        self._link = None
        self._asked.clear()
        self._forget_peers()
        for share in list(self._shares):
            share.settle(None)

    def closed(self, problem: Exception) -> None:
        """There will be no more links."""
        self._link = None
        self._problem = problem
        self._forget_peers()
        shares, self._shares = self._shares, []
        for share in shares:
            share.settle(Failure(problem))

    def _forget_peers(self) -> None:
        self._fresh.clear()
        self._stale.clear()
        self._newcomers.clear()
        if self._report is not None:
            self._report.cancel()
            self._report = None

    # Those who are interested.

    def add(self, share: _Share) -> None:
        """One more who is interested."""
        if self._problem is not None:
            share.settle(Failure(self._problem))
            return
        before = self._sharing(share.role)
        self._shares.append(share)
        if self._link is not None and before:
            self._welcome(share, before[0])
        elif self._link is not None:
            self._ask(self._link, share.role, self.roles)

    def _welcome(self, share: _Share, other: _Share) -> None:
        """Somebody else was here before: what is known is known to this one too."""
        share.settle(other.result)
        if isinstance(share, Lookup) and (self._fresh or self._stale):
            self._newcomers.append(share)
            if self._report is None:
                self._report = self.network.clock.callLater(0, self._report_known)

    def _report_known(self) -> None:
        self._report = None
        newcomers, self._newcomers = self._newcomers, []
        for peer in {**self._stale, **self._fresh}.values():
            for lookup in newcomers:
                self._tell(lookup, lookup.receiver.peer_found, peer)

    def remove(self, share: _Share) -> Deferred[None]:
        """One less; the last of a role ends that role."""
        if share not in self._shares:
            return succeed(None)
        self._shares.remove(share)
        roles = self.roles
        if not roles:
            self._forget_peers()
            self.network.forget(self)
        if self._link is None or share.role in roles or not _able(self._link, share.role):
            return succeed(None)
        self._asked.pop(share.role, None)
        if not roles or not _able(self._link, roles):
            return self._link.request(EventType.LEAVE, self.topic).addErrback(_trap_ours)
        # An answer that is still awaited for both roles would now say that one was closed.
        return self._join(self._link, roles, roles if roles in self._asked else None)

    def update(self, role: Role) -> None:
        """Ask the server to look, or announce, again."""
        if self._link is not None:
            for share in self._sharing(role):
                share.settle(None)
            self._ask(self._link, role, self.roles)

    # What the server is asked, and answers.

    def _ask(self, link: ClientLink, role: Role, roles: Role) -> None:
        if _able(link, role):
            self._join(link, roles, role)
        else:
            self._settle(role, Failure(NotSupportedError("a JavaScript proxy server cannot announce for its clients")))

    def _join(self, link: ClientLink, roles: Role, role: Role | None) -> Deferred[None]:
        """
        Send JOIN.

        :param role: the one for whose sake it is sent.
        :returns: a Deferred that fires, but never fails, when it is answered.
        """
        asked = link.request(EventType.JOIN, self.topic, roles)
        if role is not None:
            self._asked[role] = asked
        return asked.addBoth(self._answered, link, role, asked)

    def _answered(self, result: Failure | None, link: ClientLink, role: Role | None, asked: Deferred[None]) -> None:
        if role is None or self._asked.get(role) is not asked:
            return
        del self._asked[role]
        if not isinstance(result, Failure):
            self._settle(role, True)
        elif not link.lost:  # else the next one is asked again
            self._settle(role, result)

    def _settle(self, role: Role, result: Failure | bool) -> None:
        for share in self._sharing(role):
            share.settle(result)

    def peer_found(self, peer: Peer) -> None:
        """The server's news."""
        if len(self._fresh) < self.network.limits.max_peers or peer.id in self._fresh:
            self._fresh[peer.id] = peer
        for lookup in self._lookups():
            self._tell(lookup, lookup.receiver.peer_found, peer)

    def lookup_updated(self) -> None:
        """The server's news."""
        self._stale, self._fresh = self._fresh, {}
        for lookup in self._lookups():
            self._tell(lookup, lookup.receiver.lookup_updated)

    def _lookups(self) -> list[Lookup]:
        return [share for share in self._shares if isinstance(share, Lookup)]

    def _tell(self, lookup: Lookup, method: Callable[..., None], *args: object) -> None:
        """Call the user's receiver, unless its lookup was closed meanwhile; what it raises harms nobody else."""
        if lookup not in self._shares:
            return
        try:
            method(*args)
        except Exception:
            log.failure("{method} of a lookup's receiver failed", method=method)


def _able(link: ClientLink, role: Role) -> bool:
    """A JavaScript server does no more than look up."""
    return role is Role.LOOKUP or Feature.ROLES in link.features


def _trap_ours(failure: Failure) -> None:
    """To the caller it is closed, whatever the server, or the loss of the link, has to say to that."""
    failure.trap(SpaceswarmError)
