"""A query on the bench: a host for it that does nothing by itself, so that a test is the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from spaceswarm_proxy.dht.commands import FIND_NODE
from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.query import Query, QueryReply
from spaceswarm_proxy.dht.requests import OutgoingRequest
from spaceswarm_proxy.errors import RequestTimeoutError, SpaceswarmError

TARGET = bytes(32)
#: Addresses of nodes, nearest to the target first.
NODES = sorted((address_of("10.0.0.1", port) for port in range(1, 301)), key=lambda address: contact_at(address).id)


class Walk:
    """The host of one query, and what it was asked to do."""

    def __init__(self, known: Sequence[bytes] = (), bootstrap: Sequence[bytes] = (), **options: Any) -> None:
        """
        :param known: the routing table.
        :param options: of the query.
        """
        self.now = 10.0
        self.own_id = b"\xee" * 32
        self.known = list(known)
        self.bootstrap = list(bootstrap)
        #: What requests meet with, if they can't be sent.
        self.problem: SpaceswarmError | None = None
        self.others_under_way = 0
        #: Requests under way, in the order in which they were made; and the addresses of all.
        self.open: list[OutgoingRequest] = []
        self.asked: list[bytes] = []
        #: Who was said to be down, and to whom.
        self.hints: list[tuple[bytes, bytes]] = []
        self.unanswered_nodes: list[bytes] = []
        self.silent_networks = 0
        self.ended_queries = 0
        self.replies: list[QueryReply] = []
        #: What the query has ended with.
        self.ends: list[SpaceswarmError | None] = []
        options = {"on_reply": self.replied, "on_end": self.ended, **options}
        self.query = Query(self, TARGET, Command.make(True, FIND_NODE, TARGET), **options)

    def start(self, nodes: Sequence[bytes] = (), only_nodes: bool = False) -> None:
        """Begin."""
        self.query.start(self.now, nodes, only_nodes)

    # What the test does.

    def take(self, address: bytes) -> OutgoingRequest:
        """The oldest request to a node; it is not under way any more."""
        request = next(request for request in self.open if request.to == address)
        self.open.remove(request)
        return request

    def answer(
        self, address: bytes, closer: Iterable[bytes] = (), *, id: bool = True, error: int = 0,
        token: bytes | None = None, value: bytes | None = None,
    ) -> None:  # fmt: skip
        """A node answers, truly."""
        request = self.take(address)
        told_id = contact_at(address).id if id else None
        response = Response(b"tt", address, told_id, token, list(closer), error, value)
        request.owner.answered(request, response, self.now)

    def miss(self, address: bytes) -> None:
        """An attempt has no answer; another one is made."""
        request = next(request for request in self.open if request.to == address)
        request.attempts += 1
        if request.attempts == 2:
            request.owner.slow(request, self.now)

    def fail(self, address: bytes, problem: SpaceswarmError | None = None) -> None:
        """A node does not answer at all, or something else is wrong."""
        request = self.take(address)
        request.owner.failed(request, problem or RequestTimeoutError(), self.now)

    @property
    def waiting(self) -> list[bytes]:
        """Who has not answered yet."""
        return [request.to for request in self.open]

    def replied(self, reply: QueryReply, now: float) -> None:
        self.replies.append(reply)

    def ended(self, problem: SpaceswarmError | None, now: float) -> None:
        self.ends.append(problem)

    # What the query does.

    def nearest(self, target: bytes, count: int) -> list[bytes]:
        return self.known[:count]

    def beginnings(self, now: float) -> Iterable[bytes]:
        return self.bootstrap

    def requests_under_way(self) -> int:
        return len(self.open) + self.others_under_way

    def send(self, request: OutgoingRequest, now: float) -> None:
        if self.problem is not None:
            raise self.problem
        request.attempts = 1
        request.first_sent = now
        self.open.append(request)
        self.asked.append(request.to)

    def forget(self, request: OutgoingRequest) -> None:
        if request in self.open:
            self.open.remove(request)

    def hint_down(self, address: bytes, told_by: bytes, now: float) -> None:
        self.hints.append((address, told_by))

    def unanswered(self, address: bytes, since: float, now: float) -> None:
        self.unanswered_nodes.append(address)

    def nobody_answered(self, now: float) -> None:
        self.silent_networks += 1

    def query_ended(self, query: Query) -> None:
        self.ended_queries += 1
