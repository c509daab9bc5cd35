"""
What a query sends to be stored: to each node what was decided for it, and what becomes of that.

A decision may take its time, when it takes a signature with a key that is kept elsewhere.  It is waited for as an
answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from spaceswarm_proxy.dht.commands import ERROR_NAMES, INVALID_TOKEN, OK, SEQ_REUSED, SEQ_TOO_LOW
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.requests import RETRIES, OutgoingRequest
from spaceswarm_proxy.errors import (
    NotStoredError,
    RequestTimeoutError,
    SequenceReusedError,
    SequenceTooLowError,
    SpaceswarmError,
)

if TYPE_CHECKING:
    from spaceswarm_proxy.dht.query import QueryReply

#: Told of the command that a reply leads to; of ``None``, if of none; of a problem, if there should be one; and the
#: time.
Decided = Callable[[Command | SpaceswarmError | None, float], None]
#: Asked which command a reply leads to; tells it at once or later.
Decide = Callable[["QueryReply", Decided, float], None]


class Sender(Protocol):
    """What writing needs of the node."""

    def send(self, request: OutgoingRequest, now: float) -> None:
        """Send a request, sooner or later."""

    def forget(self, request: OutgoingRequest) -> None:
        """It is not waited for any more."""


class Writes:
    """The writes of one query."""

    def __init__(
        self, sender: Sender, settled: Callable[[float], None], failed: Callable[[SpaceswarmError, float], None]
    ) -> None:
        """
        :param settled: called when none is under way any more.
        :param failed: called when nothing can be sent any more.
        """
        #: Nodes that have taken what they were sent, and how many have refused it, by error code.
        self.stored = 0
        self.refused: dict[int, int] = {}
        # Why something could not be sent, if that is so.
        self._problem: SpaceswarmError | None = None
        self._sender = sender
        self._settled = settled
        #: See above.
        self.failed = failed
        self._under_way: set[_Write] = set()

    def __len__(self) -> int:
        """:returns: how many are under way."""
        return len(self._under_way)

    def __contains__(self, write: _Write) -> bool:
        """:returns: whether it is."""
        return write in self._under_way

    def begin(self, replies: Iterable[QueryReply], decide: Decide, now: float) -> None:
        """Send each of these nodes what is decided to be sent to it."""
        writes = [_Write(self, reply, decide) for reply in replies]
        self._under_way.update(writes)
        for write in writes:
            if write in self._under_way:  # Those before may be the end of all.
                write.ask(now)

    def begin_anew(self) -> None:
        """What was written until now does not count."""
        self.stored, self.refused, self._problem = 0, {}, None

    def forget(self) -> None:
        """None of them is waited for any more, and there will be no others."""
        for write in self._under_way:
            if write.request is not None:
                self._sender.forget(write.request)
        self._under_way.clear()
        # These hold the query, as a rule: it would be left to the garbage collector.
        self._settled, self.failed = _nobody_waits, _nobody_asks

    def why_not_stored(self, count: int) -> SpaceswarmError:
        """:param count: how many nodes were to store it."""
        if SEQ_TOO_LOW in self.refused:
            return SequenceTooLowError()
        if SEQ_REUSED in self.refused:
            return SequenceReusedError()
        if self.refused:
            reasons = ", ".join(ERROR_NAMES.get(code, f"error {code}") for code in self.refused)
            return NotStoredError(f"no node has stored it: {reasons}")
        return self._problem or NotStoredError(f"none of {count} nodes has confirmed it")

    # What a write tells.

    def send(self, request: OutgoingRequest, now: float) -> None:
        """Send it; if nothing can be sent, all is over."""
        try:
            self._sender.send(request, now)
        except SpaceswarmError as problem:
            self.failed(problem, now)

    def ended(self, write: _Write, outcome: Response | SpaceswarmError | None, now: float) -> None:
        """
        One is over.

        :param outcome: what the node has said, or why it was not sent anything; ``None`` if nothing was to be sent.
        """
        self._under_way.discard(write)
        if isinstance(outcome, Response):
            self._count(outcome)
        elif outcome is not None and not isinstance(outcome, RequestTimeoutError):
            self._problem = self._problem or outcome
        if not self._under_way:
            self._settled(now)

    def _count(self, answer: Response) -> None:
        if answer.error == OK:
            self.stored += 1
        else:
            self.refused[answer.error] = self.refused.get(answer.error, 0) + 1


class _Write:
    """
    What is sent to one node: the :class:`~spaceswarm_proxy.dht.requests.Owner` of the request.

    It is sent once more, with the token that comes with the answer, if that is that ours is too old by now.
    """

    __slots__ = ("_decide", "_is_asked", "_refusal", "_reply", "_writes", "request")

    def __init__(self, writes: Writes, reply: QueryReply, decide: Decide) -> None:
        self.request: OutgoingRequest | None = None
        self._writes = writes
        self._reply = reply
        self._decide = decide
        # Is a decision waited for?
        self._is_asked = False
        # What the node has said to the first one.
        self._refusal: Response | None = None

    def ask(self, now: float) -> None:
        """Ask what is to be sent."""
        self._is_asked = True
        self._decide(self._reply, self._decided, now)

    def _decided(self, command: Command | SpaceswarmError | None, now: float) -> None:
        if not self._is_asked or self not in self._writes:
            return
        self._is_asked = False
        if isinstance(command, Command):
            address, token = self._reply.contact.address, self._reply.response.token
            self.request = OutgoingRequest(address, command, self, token=token, retries=RETRIES)
            self._writes.send(self.request, now)
        else:
            self._writes.ended(self, self._refusal or command, now)

    def answered(self, request: OutgoingRequest, response: Response, now: float) -> None:
        """The node has answered."""
        self.request = None
        if self not in self._writes:
            return  # By what else came of the answer.
        if response.error == INVALID_TOKEN and self._refusal is None:
            self._refusal = response
            self._reply = self._reply._replace(response=self._reply.response._replace(token=response.token))
            self.ask(now)
        else:
            self._writes.ended(self, response, now)

    def failed(self, request: OutgoingRequest, problem: SpaceswarmError, now: float) -> None:
        """It has not; or nobody can be asked any more."""
        self.request = None
        if isinstance(problem, RequestTimeoutError):
            self._writes.ended(self, problem, now)
        else:
            self._writes.failed(problem, now)

    def slow(self, request: OutgoingRequest, now: float) -> None:
        """Nobody asks."""


def _nobody_waits(now: float) -> None:
    """All is over."""


def _nobody_asks(problem: SpaceswarmError, now: float) -> None:
    """Likewise."""
