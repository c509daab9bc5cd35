"""
Keeping the routing table alive: who has not been heard for long is asked, who does not answer goes, and newcomers get
the places of those.

:source: npm ``dht-rpc``; spec/dht.md, sections 10.2 and 10.3.  The reference counts ticks of 5 s; here everything is
    in seconds.
"""

from __future__ import annotations

from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import Contact
from spaceswarm_proxy.dht.health import Health
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.table import NEVER, Entry, K
from spaceswarm_proxy.errors import RequestTimeoutError, SpaceswarmError

if TYPE_CHECKING:
    from spaceswarm_proxy.dht.core import NodeCore

TICK = 5.0
#: Seconds between ticks from which on the machine must have slept.
SLEPT = 15.0
#: Seconds between rounds of liveness checks, and between looks at a table that is small.
CHECKING = 40.0
SMALL_TABLE = 320.0
#: Seconds without any query after which the table is refreshed.
REFRESH = 300.0
#: A node heard within this many seconds is recent.
RECENT = 60.0
#: Checks of one round: usually, while others have something to do, and when the longest unheard was tried recently.
MANY, SOME, FEW = 5, 3, 2
#: Requests under way above which others have something to do.
BUSY = 2
#: Checks at a time because of hints, and replacements at a time.
MAX_CHECKS = 10
MAX_CONTESTS = 3
#: Hints that we send in a tick.
MAX_HINTS = 50

_PING = Command.make(True, PING)


class Upkeep:
    """What a node does by itself, every few seconds."""

    #: Seconds in the table after which a node is old, and its view of our address too.
    OLD = 1800.0
    #: Seconds of silence from everybody after which our own network is in doubt.
    SILENCE = 15.0

    def __init__(self, node: NodeCore, now: float) -> None:
        self.health = Health()
        self.next_tick = now + TICK
        self._node = node
        self._tick_began = now
        # Spread over the nodes of a network, whatever makes them start at the same time.
        self._next_check = now + CHECKING * (1 + node.chance.random())
        self._next_small = now + SMALL_TABLE * (1 + node.chance.random())
        self._next_refresh = now + REFRESH * (1 + node.chance.random()) / 2
        self._checks = 0
        self._contests = 0
        # Until when no newcomer can have a place in a full row, by the row's number.
        self._settled: dict[int, float] = {}
        self._hints = 0
        self._answered = 0
        self._timed_out = 0

    def asked(self, now: float) -> None:
        """A query begins; it refreshes the table as it goes."""
        self._next_refresh = now + REFRESH

    def may_hint(self) -> bool:
        """:returns: whether one more hint may be sent in this tick; then it counts."""
        self._hints += 1
        return self._hints <= MAX_HINTS

    def told_down(self, address: bytes, now: float) -> None:
        """Somebody says that a node is down: look, but not for everybody who says so."""
        entry = self._node.table.entries.get(address)
        if entry is None or self._checks >= MAX_CHECKS:
            return
        if entry.pinged < self._tick_began or entry.hints == 0:
            entry.hints += 1
            self._check(entry, now)

    def contest(self, newcomer: Contact, now: float) -> None:
        """A row is full: the newcomer gets the place of whoever has been tried least recently, if that one is gone."""
        if not self._node.joining.done or self._contests >= MAX_CONTESTS:
            return
        number = self._node.table.row_of(newcomer.id)
        if now < self._settled.get(number, now):
            return
        oldest = min(self._node.table.row(newcomer.id), key=_tried, default=None)
        if oldest is None:
            return
        if oldest.pinged >= self._tick_began:
            self._settled[number] = self.next_tick
            return
        if now - oldest.pinged < RECENT and now - oldest.added > self.OLD:
            self._settled[number] = oldest.pinged + RECENT
            return

        def done(answer: Response | SpaceswarmError, now: float) -> None:
            self._contests -= 1
            if isinstance(answer, Response) and answer.id is not None:
                return
            if isinstance(answer, SpaceswarmError) and not isinstance(answer, RequestTimeoutError):
                return
            self._node.table.remove(oldest.contact.address)
            self._node.table.add(Entry(newcomer, now))

        oldest.pinged = now
        if self._node.ask_if_free(oldest.contact.address, _PING, done, now):
            self._contests += 1

    def rebuilt(self) -> None:
        """The rows of the table are others now."""
        self._settled.clear()

    def _check(self, entry: Entry, now: float) -> None:
        """See whether a node is still there, and the one that it was."""

        def done(answer: Response | SpaceswarmError, later: float) -> None:
            self._checks -= 1
            if isinstance(answer, RequestTimeoutError):
                self._node.unanswered(entry.contact.address, now, later)
            elif isinstance(answer, Response) and answer.id is None:
                self._node.table.remove(entry.contact.address)

        entry.pinged = now
        if self._node.ask_if_free(entry.contact.address, _PING, done, now):
            self._checks += 1

    def refresh(self, now: float) -> None:
        """Look for nodes near to one that we know, or near to ourselves."""
        node = self._node
        entries = node.table.entries
        target = node.chance.choice(list(entries.values())).contact.id if entries else node.own_id
        node.begin(node.find_node(target, background=True), now)

    def wakeup(self, now: float) -> None:
        """The machine has slept: nothing that was known is certain."""
        for entry in self._node.table:
            entry.pinged = entry.added = NEVER
        self._settled.clear()
        self.health.reset()
        self.next_tick = now + TICK
        self._tick_began = now
        self._next_check = now + 2 * TICK
        self._next_refresh = now + TICK
        self._node.joining.wakeup(now)
        self._node.report("wakeup")

    def advance(self, now: float) -> None:
        """Tick, if it is time."""
        if now < self.next_tick:
            return
        slept = now - self._tick_began > SLEPT
        self.next_tick = now + TICK
        self._tick_began = now
        if slept:
            self.wakeup(now)
        if self._node.joining.done:
            self._tick(now)

    def _tick(self, now: float) -> None:
        self._node.joining.tick(now)
        if now >= self._next_check:
            self._next_check = now + CHECKING
            self._check_some(now)
        if now >= self._next_small:
            self._next_small = now + SMALL_TABLE
            if len(self._node.table) < K:
                self._next_refresh = now
        if now >= self._next_refresh:
            self.refresh(now)
        self._hints = 0
        self._update_health()

    def _check_some(self, now: float) -> None:
        """Ask those that have not been heard for longest whether they are still there."""
        if not len(self._node.table):
            self._next_refresh = now
            return
        count = SOME if self._node.requests_under_way() > BUSY else MANY
        oldest = nsmallest(count, self._node.table, key=_heard)
        if now - oldest[0].pinged < RECENT:
            oldest = oldest[:FEW]
        for entry in oldest:
            self._check(entry, now)

    def _update_health(self) -> None:
        answered, timed_out = self._node.answered, self._node.requests.timed_out
        changed = self.health.tick(answered - self._answered, timed_out - self._timed_out)
        self._answered, self._timed_out = answered, timed_out
        if changed:
            self._node.report("network_update")


_tried = attrgetter("pinged", "added")
_heard = attrgetter("heard")
