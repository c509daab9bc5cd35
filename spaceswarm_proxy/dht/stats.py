"""What a node counts."""

from __future__ import annotations

from dataclasses import dataclass

from spaceswarm_proxy.dht.core import NodeCore


@dataclass(frozen=True, slots=True)
class NodeStats:
    """What a node has done so far; all are counts."""

    #: Nodes in the routing table.
    nodes: int
    #: Queries: under way, and all.
    queries: int
    queries_begun: int
    #: Our requests: datagrams sent; requests answered, given up, and under way.
    requests_sent: int
    requests_answered: int
    requests_timed_out: int
    requests_under_way: int
    #: Requests of others: answered, left without an answer, and refused as their host made too many.
    answers: int
    silences: int
    refused: int
    #: Datagrams that were damaged or nobody's, and those that the system did not take from us.
    ignored: int
    unsent: int
    #: Datagrams of others that were passed on: of handshakes, and of hole punching.
    handshakes_forwarded: int
    holepunches_forwarded: int
    #: What is kept for others.
    topic_records: int
    forwards: int
    mutable_values: int
    immutable_values: int

    @classmethod
    def of(cls, core: NodeCore, unsent: int) -> NodeStats:
        """
        :param unsent: datagrams that the system did not take.
        :returns: what a core has done so far.
        """
        store = core.store
        return cls(
            nodes=len(core.table),
            queries=len(core.queries),
            queries_begun=core.queries_begun,
            requests_sent=core.requests.sent,
            requests_answered=core.answered,
            requests_timed_out=core.requests.timed_out,
            requests_under_way=core.requests.under_way,
            answers=core.responder.answers,
            silences=core.responder.silences,
            refused=core.responder.refused,
            ignored=core.ignored,
            unsent=unsent,
            handshakes_forwarded=core.responder.forwarding.handshakes,
            holepunches_forwarded=core.responder.forwarding.holepunches,
            topic_records=0 if store is None else len(store.topics),
            forwards=0 if store is None else len(store.forwards),
            mutable_values=0 if store is None else len(store.mutables),
            immutable_values=0 if store is None else len(store.immutables),
        )
