"""
Keeping a server to be found: three nodes near to its key know the way to it, and are heard from all the time.

An *update* looks for the nodes nearest to the hash of the key and announces the server to the first three, its
*relays*.  Every three seconds they are pinged (:mod:`~spaceswarm_proxy.peering.pulse`), which also keeps the address
translation in between open; when one is missing, when our address has changed, and every five minutes at the latest,
there is another update.

Whoever keeps the key signs what nodes are told.  A node for which it does not, or not in time, is told nothing; the
next update tries again.

:source: npm ``hyperdht`` 6; spec/dht.md, section 16; spec/connect.md, section 6.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.dht.claimant import Claimant
from spaceswarm_proxy.dht.commands import FIND_PEER, OK
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.asking import Asking, Question
from spaceswarm_proxy.peering.noise_payload import RelayPair
from spaceswarm_proxy.peering.pulse import ROUND, Pulses
from spaceswarm_proxy.peering.schedule import Delayed, Schedule
from spaceswarm_proxy.peering.signing import Claim, Known, Signing

#: Nodes that a server announces itself to.
RELAYS = 3
#: Seconds from an update to the next one, while nothing happens.
RENEWAL = 300.0
#: Seconds after an update in which it does not matter that a relay sees us elsewhere: some address translations change
#: all the time.
SETTLED = 30.0
#: Seconds until the next update at most, when none of the nodes has taken the announce; at first it is one round.
MAX_RETRY = 60.0
#: Updates by which relays are known, the current one included: what they pass on may still be under way.
GENERATIONS = 3


class Announcer:
    """The announces of one server."""

    def __init__(self, node: NodeCore, schedule: Schedule, pulses: Pulses, keeper: Keeper) -> None:
        """
        :param pulses: those of all servers of the node.
        :param keeper: keeps the server's key; signs.
        """
        self.target = hash32(keeper.public_key)
        #: The relays, each with our address as it sees it.
        self.relays: tuple[RelayPair, ...] = ()
        #: What clients may be told: our own address, where anybody can reach it, and those of relays; three at most.
        self.relay_addresses: tuple[bytes, ...] = ()
        #: Called when an update has led to other ones, in the middle of the node's turn.
        self.relays_changed: Callable[[], None] = _nothing
        self._node = node
        self._schedule = schedule
        self._pulses = pulses
        self._claimant = Claimant(node.profile, keeper, self.target)
        self._find = Command.make(False, FIND_PEER, self.target)
        self._active = False
        # Called when the first update is over.
        self._updated: Callable[[float], None] | None = None
        # Called when we are taken back from the relays, which is under way while there is anybody.
        self._left: list[Callable[[float], None]] = []
        # Addresses of relays, update by update, the current one first (sets that keep their order); and those that are
        # being told.
        self._generations: list[dict[bytes, None]] = [{} for _ in range(GENERATIONS)]
        self._trying: list[bytes] = []
        self._closest: list[bytes] = []
        self._asking = Asking(node)
        # What is being signed before it is asked.
        self._signing: Signing | None = None
        self._query: Query | None = None
        self._timer: Delayed | None = None
        # When the last update was over.
        self._updated_at = 0.0
        self._retry = ROUND
        self._wanted = False

    def is_relay(self, address: bytes) -> bool:
        """:returns: whether this node is one of the relays, or was until recently."""
        return any(address in generation for generation in self._generations)

    def start(self, updated: Callable[[float], None], now: float) -> None:
        """
        Begin.

        :param updated: called once, when the first update is over.
        """
        self._updated = updated
        self.resume(now)

    def refresh(self) -> None:
        """Something has changed: the next ping is followed by an update."""
        self._wanted = True

    def leave(self, done: Callable[[float], None], now: float) -> None:
        """
        Stop, and be found no more; until :meth:`resume`.

        :param done: called when the relays have been told, or do not answer.
        """
        self._active = False
        self._left.append(done)
        # Announces that are on their way could be overtaken by what takes them back.
        if len(self._left) == 1 and not self._trying:
            self._take_back(now)

    def resume(self, now: float) -> None:
        """Undo :meth:`leave`."""
        if not self._active:
            self._active = True
            if not self._left:
                self._update(now)

    def _halt(self) -> None:
        self._asking.forget()
        if self._signing is not None:
            self._signing.stop()
            self._signing = None
        self._unwatch()
        if self._query is not None:
            self._query.cancel()
            self._query = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_back(self, now: float) -> None:
        self._halt()
        # In the middle of an update there are those of the one before, too.
        self._unannounce({**self._generations[1], **self._generations[0]}, self._gone, now)

    def _gone(self, now: float) -> None:
        self._generations[0] = {}
        self.relays = self.relay_addresses = ()
        left, self._left = self._left, []
        if self._active:
            self._update(now)
        for done in left:
            done(now)

    # An update.

    def _update(self, now: float) -> None:
        self._timer = None
        self._unwatch()
        self._wanted = False
        self._generations = [{}, *self._generations[:-1]]
        query = Query(self._node, self.target, self._find, on_end=self._found)
        self._query = query
        try:
            self._node.begin(query, now, self._closest)
        except SpaceswarmError:
            self._found(None, now)

    def _found(self, problem: SpaceswarmError | None, now: float) -> None:
        query, self._query = self._query, None
        assert query is not None
        self._closest = query.closest_addresses or self._closest
        nearest = [reply for reply in query.closest if reply.response.token is not None][:RELAYS]
        known = [(reply.contact.address, reply.response) for reply in nearest]
        self._sign(self._claimant.announce, known, self._announce, now)

    def _sign(self, claim: Claim, known: Known, done: Callable[[list[Question], float], None], now: float) -> None:
        """
        Have what some nodes are told signed.

        :param known: the nodes, and what they have answered.
        :param done: told what they are asked.
        """

        def signed(questions: list[Question], now: float) -> None:
            self._signing = None
            done(questions, now)

        self._signing = Signing(self._schedule, signed)
        self._signing.begin(known, claim, now)

    def _announce(self, questions: list[Question], now: float) -> None:
        self._trying = [question.address for question in questions]
        self._asking.ask_all(questions, self._announced, now)

    def _announced(self, answers: list[tuple[bytes, Response]], now: float) -> None:
        taken = [RelayPair(address, answer.to) for address, answer in answers if answer.error == OK]
        tried, self._trying = self._trying, []
        if self._left:
            # Those that have not answered may have taken it all the same.
            self._generations[0] = dict.fromkeys(tried)
            self._take_back(now)
            return
        addresses = [pair.relay_address for pair in taken]
        self._generations[0] = dict.fromkeys(addresses)
        self.relays = tuple(taken)
        self._publish(addresses)
        former = [address for address in self._generations[1] if address not in self._generations[0]]
        self._unannounce(former, self._finish, now)

    def _publish(self, addresses: list[bytes]) -> None:
        own, before = self._node.reachable_address, self.relay_addresses
        self.relay_addresses = tuple(([] if own is None else [own]) + addresses)[:RELAYS]
        if set(self.relay_addresses) != set(before):
            self.relays_changed()

    def _finish(self, now: float) -> None:
        self._updated_at = now
        if self.relays:
            self._retry = ROUND
            for pair in self.relays:
                self._pulses.watch(pair.relay_address, self._heard, now)
        else:
            self._timer = self._schedule.call_at(now + self._retry, self._update)
            self._retry = min(2 * self._retry, MAX_RETRY)
        updated, self._updated = self._updated, None
        if updated is not None:
            updated(now)

    def _unannounce(self, addresses: Iterable[bytes], done: Callable[[float], None], now: float) -> None:
        """Take the announce back from some nodes, of which each is asked first whether it has it."""

        def answered(answers: list[tuple[bytes, Response]], now: float) -> None:
            known = [(address, answer) for address, answer in answers if answer.value is not None]
            self._sign(self._claimant.unannounce, known, signed, now)

        def signed(questions: list[Question], now: float) -> None:
            self._asking.ask_all(questions, lambda answers, now: done(now), now)

        self._asking.ask_all((Question(address, self._find) for address in addresses), answered, now)

    # Between updates.

    def _unwatch(self) -> None:
        for pair in self.relays:
            self._pulses.unwatch(pair.relay_address, self._heard)

    def _heard(self, relay: bytes, answer: Response | SpaceswarmError, now: float) -> None:
        """A relay has been pinged."""
        due = self._wanted or now - self._updated_at >= RENEWAL
        if due or not isinstance(answer, Response) or self._has_moved(relay, answer, now):
            self._update(now)

    def _has_moved(self, relay: bytes, answer: Response, now: float) -> bool:
        """Does a relay see us elsewhere than when we announced ourselves, so that it sends everything there?"""
        return now - self._updated_at >= SETTLED and RelayPair(relay, answer.to) not in self.relays


def _nothing() -> None:
    """Nobody wants to know."""
