"""Many ends of both kinds, in few processes, and who of them has met whom: for the tests with crowds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import permutations
from typing import Any

from twisted.internet.defer import Deferred

from tests.interop.node import EventProcess, node_command
from tests.interop.peer_process import ROOT

#: Two ends, in order: the first has met the second, or has sent it something.
Pair = tuple[str, str]


def topic(number: int) -> bytes:
    """The topic of that number."""
    return sha256(f"topic {number}".encode()).digest()


@dataclass(frozen=True)
class Member:
    """One end of a crowd."""

    name: str
    #: ``peer``: a node of the network; ``tcp``, ``ws``: a client of a proxy, and its carrier.
    kind: str
    #: Of ours, and not a JavaScript one?
    ours: bool
    #: The numbers of its topics.
    topics: frozenset[int]
    #: Can it be found?  All can find.
    announced: bool = True

    def meets(self, other: Member) -> bool:
        """Are the two to meet?"""
        return bool(self.topics & other.topics) and (self.announced or other.announced)

    @property
    def seed(self) -> bytes:
        """Of its key, where it has one of its own: the same whenever it begins."""
        return sha256(f"key of {self.name}".encode()).digest()


def pairs(members: Iterable[Member]) -> set[Pair]:
    """Those who are to meet, each pair in both orders."""
    return {(one.name, other.name) for one, other in permutations(members, 2) if one.meets(other)}


class Crowd:
    """A process with ends of one kind, as a test sees it."""

    def __init__(self, process: EventProcess) -> None:
        self.process = process
        #: Connections so far, and those that are open.
        self.met: Counter[Pair] = Counter()
        self.open: Counter[Pair] = Counter()
        #: Whose bytes of which round have arrived as they were.
        self.exchanged: dict[int, set[Pair]] = {}
        #: What must not be.
        self.problems: list[dict[str, Any]] = []
        self._read = 0

    def tell(self, command: str, **fields: Any) -> None:
        """Give it a command."""
        self.process.write(json.dumps({"cmd": command, **fields}))

    def begin(self, member: Member, seed: bool = False) -> Crowd:
        """Let an end begin; with a key that is always the same, or with another each time.  :returns: this crowd."""
        topics = [topic(number).hex() for number in sorted(member.topics)]
        key = {"seed": member.seed.hex()} if seed else {}
        self.tell("begin", name=member.name, kind=member.kind, topics=topics, **key)
        return self

    def round(self, number: int, length: int) -> None:
        """Let everybody send so many random bytes to everybody."""
        self.tell("round", round=number, bytes=length)

    def leave(self) -> Deferred[Any]:
        """:returns: a Deferred that fires when everybody has gone."""
        self.tell("leave")
        return self.process.event("left")

    def look(self) -> None:
        """Take note of what has happened since the last look."""
        events, self._read = self.process.events[self._read :], len(self.process.events)
        for event in events:
            self._note(event)

    def _note(self, event: dict[str, Any]) -> None:
        kind, pair = event["event"], (event.get("name", ""), event.get("peer", ""))
        if kind == "met":
            self.met[pair] += 1
            self.open[pair] += 1
        elif kind == "parted":
            self.open[pair] -= 1
        elif kind == "exchanged":
            self.exchanged.setdefault(event["round"], set()).add(pair)
        elif kind in ("damaged", "failed"):
            self.problems.append(event)


def our_crowd_command(options: dict[str, Any]) -> list[str]:
    """The words that run a crowd of ours, from ``ROOT``."""
    return [sys.executable, "-m", "tests.interop.our_crowd", json.dumps(options)]


def crowd_process(ours: bool, name: str, options: dict[str, Any]) -> Crowd:
    """Start a crowd of either kind."""
    command = our_crowd_command(options) if ours else node_command("crowd.js", json.dumps(options))
    return Crowd(EventProcess(name, command, ROOT))


class Crowds:
    """Several of them, as one."""

    def __init__(self, crowds: Iterable[Crowd]) -> None:
        #: May be changed at any time.
        self.crowds = list(crowds)

    def _look(self) -> list[Crowd]:
        for crowd in self.crowds:
            crowd.look()
        return self.crowds

    def round(self, number: int, length: int) -> None:
        """Let everybody send so many random bytes to everybody."""
        for crowd in self.crowds:
            crowd.round(number, length)

    def exchanged(self, number: int) -> set[Pair]:
        """Whose bytes of a round have arrived at whom."""
        return {pair for crowd in self._look() for pair in crowd.exchanged.get(number, ())}

    def met(self, expected: Iterable[Pair]) -> dict[Pair, int]:
        """How often who has been connected with whom."""
        crowds = self._look()
        return {pair: sum(crowd.met[pair] for crowd in crowds) for pair in expected}

    def open(self, expected: Iterable[Pair]) -> dict[Pair, int]:
        """How many connections there are between those."""
        crowds = self._look()
        return {pair: sum(crowd.open[pair] for crowd in crowds) for pair in expected}

    def problems(self) -> list[dict[str, Any]]:
        """What must not be."""
        return [problem for crowd in self._look() for problem in crowd.problems]
