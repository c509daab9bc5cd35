"""
Finding the peers of a topic, and being found under it.

However often a topic is joined, there is one :class:`TopicSearch` for it, with one lookup and one announcement of the
network; what the user holds are its sessions, each a :class:`~spaceswarm_proxy.swarm.discovery.Discovery`.  The search
does what any of them asks for.

A refresh brings both up to date with the roles, asks the network again, and waits for the answers.  The next follows
by itself after ten to twelve minutes, or within two minutes when a late timer shows that the machine was asleep.

All this is as in Hyperswarm 4, but for two things: of the limits of several sessions the highest counts, there the
last; and who can be found now looks once more, in case somebody has begun at the same moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any, cast

import txaio
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import NotSupportedError, SpaceswarmError
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, INetwork, IPeerReceiver, Peer
from spaceswarm_proxy.swarm.discovery import Discovery, Roles, TopicStatus
from spaceswarm_proxy.swarm.round import Round

log = txaio.make_logger()

#: Seconds from one refresh to the next, how much longer chance may make it, and how late the timer may be.
REFRESH_INTERVAL = 600.0
REFRESH_SPREAD = 120.0
OVERSLEPT = 30.0


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What a search needs of the swarm that it belongs to."""

    network: INetwork
    reactor: Any
    random: Random
    #: Makes us reachable for peers; fails if that can't be.
    listen: Callable[[], Deferred[None]]
    #: Takes a peer, its topic, and whether that is its first report in the round.
    found: Callable[[Peer, bytes, bool], None]
    #: A round of a topic's lookup is complete.
    updated: Callable[[bytes], None]
    #: Tells of a peer id whether there is a connection.
    is_connected: Callable[[bytes], bool]


@implementer(IPeerReceiver)
class TopicSearch:
    """The one lookup and the one announcement of a topic."""

    def __init__(
        self,
        topic: bytes,
        context: SearchContext,
        leave: Callable[[bytes], Deferred[None]],
        previous: TopicSearch | None,
        suspended: bool,
    ) -> None:
        """
        :param leave: called with the topic when its last session is gone.
        :param previous: the search for the same topic that may be still on its way out; this one waits for it.
        :param suspended: do nothing before :meth:`resume`.
        """
        self.topic = topic
        self.closed = False
        self._context = context
        self._leave = leave
        self._previous = previous
        self._sessions: list[Discovery] = []
        self._roles = Roles(False, False)
        self._round = Round()
        self._refresh: Deferred[bool] | None = None
        self._refreshing = False
        self._waiting: Waiters[bool] = Waiters()
        self._last_result = True
        self._timer: Any = None
        self._suspended = suspended
        self._lookup: ILookup | None = None
        self._announcement: IAnnouncement | None = None
        self._announced = False
        #: What is wrong, by the part of it that is.
        self._problems: dict[str, str] = {}
        #: Lookups and announcements that are being closed, and who waits for that.
        self._closing = 0
        self._quiet: Waiters[None] = Waiters()

    # The sessions.

    def join(self, roles: Roles, limit: float) -> Discovery:
        """One more session; it is looked for at once."""
        session = Discovery(self, roles, limit)
        self._sessions.append(session)
        self.refresh()
        return session

    def remove(self, session: Discovery) -> Deferred[None]:
        """One session less.  :returns: a Deferred that fires when the network knows."""
        if self.closed:
            return self._leave(self.topic)
        self._sessions.remove(session)
        if not self._sessions:
            return self._leave(self.topic)
        if self._wanted_roles() == self._roles:
            return succeed(None)
        return self.refresh().addCallback(lambda _: None)

    def _wanted_roles(self) -> Roles:
        return Roles(
            any(session.roles.server for session in self._sessions),
            any(session.roles.client for session in self._sessions),
        )

    def status(self) -> TopicStatus:
        """:returns: how it stands."""
        problems = "; ".join(f"cannot {part}: {text}" for part, text in self._problems.items())
        return TopicStatus(self.topic, self._roles.client, self._roles.server, self._announced, problems)

    # Refreshing.

    def flushed(self) -> Deferred[bool]:
        """:returns: a Deferred of how the refresh under way ends, or of how the last one did."""
        return self._waiting.wait() if self._refreshing else succeed(self._last_result)

    def refresh(self) -> Deferred[bool]:
        """
        Ask again; a refresh under way is that already, unless the roles have changed.

        :returns: a Deferred that fires with whether that went well.
        """
        roles = self._wanted_roles()
        if self.closed or self._suspended:
            return succeed(False)
        if self._refreshing and roles == self._roles:
            return self._waiting.wait()
        self._stop_refresh()
        self._roles = roles
        waiting = self._waiting.wait()
        self._start_refresh()
        return waiting

    def _start_refresh(self) -> None:
        self._refreshing = True
        limit = max((session.limit for session in self._sessions if session.roles.client), default=inf)
        self._round = self._round.next(limit, self._context.is_connected)
        refresh = self._refresh = Deferred.fromCoroutine(self._run_refresh())
        refresh.addErrback(self._refresh_failed)
        refresh.addCallback(self._refreshed)

    def _stop_refresh(self) -> None:
        refresh, self._refresh = self._refresh, None
        self._cancel_timer()
        if self._refreshing and refresh is not None:
            self._refreshing = False
            refresh.cancel()

    async def _run_refresh(self) -> bool:
        await self.quiet()
        results = await DeferredList(
            [Deferred.fromCoroutine(self._look_up()), Deferred.fromCoroutine(self._be_found())], consumeErrors=True
        )
        for problem in (cast(Failure, result) for well, result in results if not well):
            problem.raiseException()
        return self._roles.client or "announce" not in self._problems

    def _refresh_failed(self, failure: Failure) -> bool | None:
        if failure.check(CancelledError):
            return None
        if failure.check(SpaceswarmError, CannotListenError) is None:
            log.failure("the search of a topic failed", failure=failure)
        else:
            log.info("the search of a topic failed: {reason}", reason=failure.value)
        return False

    def _refreshed(self, result: bool | None) -> None:
        if result is None:
            return
        self._refreshing = False
        self._last_result = result
        self._refresh_in(REFRESH_INTERVAL + self._chance())
        self._waiting.fire(result)

    # The two halves of a refresh.

    async def _look_up(self) -> None:
        if not self._roles.client:
            self._problems.pop("look up", None)
            self._close_lookup()
            await self.quiet()
            return
        if self._lookup is not None and "look up" not in self._problems:
            self._lookup.update()
        else:
            self._close_lookup()
            await self.quiet()
            self._lookup = self._context.network.lookup(self.topic, self)
        await self._note("look up", self._lookup.flushed())

    async def _be_found(self) -> None:
        if not self._roles.server:
            self._problems.pop("announce", None)
            self._problems.pop("listen", None)
            self._close_announcement()
            await self.quiet()
            return
        # Where peers cannot connect to us, the network may still have a use for the announcement: it is
        # asked all the same.
        await self._note("listen", self._context.listen())
        await self._announce()

    async def _announce(self) -> None:
        status = self._context.network.status()
        if status.online and not status.announces:
            self._problems["announce"] = status.detail or NotSupportedError.__doc__ or ""
            self._close_announcement()
            return
        if self._announcement is not None and "announce" not in self._problems:
            self._announcement.update()
        else:
            self._close_announcement()
            await self.quiet()
            self._announcement = self._context.network.announce(self.topic)
        await self._note("announce", self._announcement.flushed())
        first, self._announced = not self._announced, "announce" not in self._problems
        if first and self._announced and self._lookup is not None:
            # Two who begin at the same moment both look before either can be found: the later one looks again.
            self._lookup.update()

    async def _note(self, part: str, flushed: Awaitable[None]) -> None:
        """Wait for a part of the refresh, and remember what is wrong with it.  Not to be able to is no failure."""
        self._problems.pop(part, None)
        try:
            await flushed
        except CancelledError:
            raise
        except NotSupportedError as problem:
            self._problems[part] = str(problem)
        except Exception as problem:
            self._problems[part] = str(problem)
            raise

    # What the network reports.

    def peer_found(self, peer: Peer) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IPeerReceiver`."""
        if self.closed or self._suspended or not self._roles.client:
            return
        report = self._round.report(peer.id, self._context.is_connected(peer.id))
        if report.admitted:
            self._context.found(peer, self.topic, report.first)

    def lookup_updated(self) -> None:
        """See :class:`~spaceswarm_proxy.interfaces.IPeerReceiver`."""
        if not self.closed:
            self._context.updated(self.topic)

    # By itself.

    def _chance(self) -> float:
        return self._context.random.uniform(0.0, REFRESH_SPREAD)

    def _refresh_in(self, delay: float) -> None:
        if not self.closed and not self._suspended:
            expected = self._context.reactor.seconds() + delay
            self._timer = self._context.reactor.callLater(delay, self._on_timer, expected)

    def _on_timer(self, expected: float) -> None:
        self._timer = None
        if self._context.reactor.seconds() > expected + OVERSLEPT:
            # The machine was asleep, as may have been others; not all at once.
            self._refresh_in(self._chance())
        else:
            self.refresh()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # Ending.

    def close(self) -> Deferred[None]:
        """Look no more, and be found no more; whoever waits for a refresh hears that it failed."""
        self.closed = True
        return self._go_quiet()

    def suspend(self) -> Deferred[None]:
        """Do nothing until :meth:`resume`, and be found no more."""
        self._suspended = True
        return self._go_quiet()

    def resume(self) -> None:
        """Undo :meth:`suspend`."""
        self._suspended = False
        self.refresh()

    def _go_quiet(self) -> Deferred[None]:
        self._stop_refresh()
        self._close_lookup()
        self._close_announcement()
        self._waiting.fire(False)
        return self.quiet()

    def quiet(self) -> Deferred[None]:
        """:returns: a Deferred that fires when whatever was closed, here or in the search before this one, is."""
        if self._closing:
            return self._quiet.wait()
        return self._previous.quiet() if self._previous is not None else succeed(None)

    def _close_lookup(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            self._close(lookup)

    def _close_announcement(self) -> None:
        announcement, self._announcement = self._announcement, None
        self._announced = False
        if announcement is not None:
            self._close(announcement)

    def _close(self, part: ILookup | IAnnouncement) -> None:
        self._closing += 1
        maybeDeferred(part.close).addErrback(_note_bad_end).addBoth(self._closed_one)

    def _closed_one(self, _: None) -> None:
        self._closing -= 1
        if not self._closing:
            self._previous = None
            self._quiet.fire(None)


def _note_bad_end(failure: Failure) -> None:
    log.warn("a lookup or an announcement ended badly: {reason}", reason=failure.value)
