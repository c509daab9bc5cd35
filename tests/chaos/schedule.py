"""What goes wrong, where, when and for how long: drawn from a seed, and nothing but that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from random import Random


class Kind(StrEnum):
    """What can be done to a part of the world."""

    #: A process is killed, and begins anew in the end.
    KILL = "kill"
    #: A process stands still.
    STOP = "stop"
    #: Carriers are cut, and new ones refused.
    CUT = "cut"
    #: Carriers stay, and nothing goes over them.
    STALL = "stall"
    #: Datagrams are lost.
    LOSE = "lose"


#: Parts of the world of one sort, of which a fault may befall any: by the sort's name.
Parts = Mapping[str, Sequence[str]]
#: What may befall which sort.
COMBINATIONS = (
    (Kind.KILL, "proxy"),
    (Kind.KILL, "peers"),
    (Kind.KILL, "clients"),
    (Kind.KILL, "nodes"),
    (Kind.STOP, "proxy"),
    (Kind.STOP, "peers"),
    (Kind.STOP, "clients"),
    (Kind.STOP, "nodes"),
    (Kind.CUT, "links"),
    (Kind.STALL, "links"),
    (Kind.LOSE, "weather"),
)
#: Seconds that a fault lasts at least, and from one episode's end to the next at most.
SHORTEST = 0.5
LONGEST_PAUSE = 1.0
#: How likely it is that two faults come together.
TOGETHER = 0.3


@dataclass(frozen=True)
class Fault:
    """One of them."""

    kind: Kind
    #: The part that it befalls.
    part: str
    #: How long it lasts.
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.part} for {self.seconds:.1f} s"


@dataclass(frozen=True)
class Episode:
    """Faults that begin together; the next follows when everybody has found back."""

    #: Seconds from that moment.
    pause: float
    faults: tuple[Fault, ...]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return max(fault.seconds for fault in self.faults)

    def __str__(self) -> str:
        return " and ".join(map(str, self.faults))


def schedule(seed: int, parts: Parts, longest: float) -> Iterator[Episode]:
    """
    The episodes of a world, without end; the first are the same however many are used.

    Every combination comes once before any comes again.  Two that come together befall parts of different sorts: of
    the nodes, of which each has all that the network knows, there is never more than one away.

    :param longest: seconds that a fault lasts at most.
    """
    random = Random(seed)
    while True:
        yield from _cycle(random, parts, longest)


def _cycle(random: Random, parts: Parts, longest: float) -> Iterator[Episode]:
    """Every combination once."""
    left = random.sample(COMBINATIONS, len(COMBINATIONS))
    while left:
        chosen = [left.pop()]
        others = [each for each in left if each[1] != chosen[0][1]]
        if others and random.random() < TOGETHER:
            chosen.append(random.choice(others))
            left.remove(chosen[1])
        faults = tuple(
            Fault(kind, random.choice(parts[sort]), random.uniform(SHORTEST, longest)) for kind, sort in chosen
        )
        yield Episode(random.uniform(0.0, LONGEST_PAUSE), faults)


def told(seed: int, parts: Parts, longest: float, count: int) -> str:
    """The first episodes, as text: what is needed to do it again."""
    lines = [f"{number}. {episode}" for number, episode in enumerate(islice(schedule(seed, parts, longest), count), 1)]
    return "\n".join([f"seed {seed}", *lines])
