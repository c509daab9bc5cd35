"""What the users of a node are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from spaceswarm_proxy.interfaces import HostPort, Peer

Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True, slots=True)
class Reply(Generic[Value]):
    """What one node has answered."""

    #: The node that has answered.
    node: HostPort
    #: Its id, 32 bytes, if it is a persistent node.
    node_id: bytes | None
    #: Our address, as that node sees it.
    to: HostPort
    #: What was asked for.
    value: Value


class TopicPeers(NamedTuple):
    """Who is under a topic, as one node knows it: 20 at most, at random where there are more."""

    peers: tuple[Peer, ...]
    #: Milliseconds since 1970: an announcer's sign that its news is worth a look; 0 if there is none.
    bump: int = 0


class MutableValue(NamedTuple):
    """A value that the owner of its key can replace."""

    public_key: bytes
    #: The higher, the newer.
    seq: int
    value: bytes
    #: The owner's, 64 bytes.
    signature: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """That something is stored."""

    #: What it can be found by, 32 bytes.
    target: bytes
    #: How many nodes have confirmed it.
    copies: int
    #: The nearest nodes, nearest first: what the next query may begin with.
    closest: tuple[HostPort, ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """That a node is there."""

    node: HostPort
    node_id: bytes | None
    #: Our address, as that node sees it.
    to: HostPort
    #: Seconds from the first attempt to the answer.
    seconds: float
