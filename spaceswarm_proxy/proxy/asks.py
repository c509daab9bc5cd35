"""What the server asks a client that keeps its secret key (``docs/protocol.md``, section 9), and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail

from spaceswarm_proxy.errors import ConnectCancelledError, ConnectTimeoutError, LimitError
from spaceswarm_proxy.proxy.wire import Event, told_problem

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server_link import ServerLink

#: Questions to one client that wait for an answer; seconds that each may wait.
MAX_ASKS = 6144
PATIENCE = 10.0


class Asks:
    """The questions on one link."""

    __slots__ = ("_last", "_link", "_waiting")

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        self._last = 0
        # In the order in which they were asked, each with the time at which it has waited for too long.
        self._waiting: dict[int, tuple[Deferred[Event], float]] = {}

    def __len__(self) -> int:
        """How many wait for an answer."""
        return len(self._waiting)

    def ask(self, event: Event) -> Deferred[Event]:
        """
        Ask one.

        :param event: SEAL, UNSEAL or SIGN; its ``request`` is set here.
        :returns: a Deferred of the ANSWER; it fails with what the client said instead, with ``ConnectTimeoutError``,
            ``LimitError`` or the loss of the link.
        """
        if len(self._waiting) >= MAX_ASKS:
            return fail(LimitError("max_asks", MAX_ASKS))
        number = self._last = event.request = self._last % (2**31 - 1) + 1
        answer: Deferred[Event] = Deferred(lambda answer: self._cancelled(number, answer))
        self._waiting[number] = (answer, self._link.clock.seconds() + PATIENCE)
        self._link.send(event)
        return answer

    def _cancelled(self, number: int, answer: Deferred[Event]) -> None:
        self._waiting.pop(number, None)
        answer.errback(ConnectCancelledError())

    def answered(self, event: Event) -> None:
        """An ANSWER has come; one that nobody waits for any more is nothing."""
        answer, _ = self._waiting.pop(event.request or 0, (None, 0.0))
        if answer is None:
            return
        problem = told_problem(event)
        if problem is None:
            answer.callback(event)
        else:
            answer.errback(problem)

    def tick(self, now: float) -> None:
        """Give up those that wait for too long."""
        late = []
        for number, (_, deadline) in self._waiting.items():
            if now < deadline:
                break
            late.append(number)
        for number in late:
            answer, _ = self._waiting.pop(number, (None, 0.0))
            if answer is not None:  # what one was told may have cancelled another
                answer.errback(ConnectTimeoutError(f"the client did not answer in {PATIENCE:g} s"))

    def lost(self, problem: Exception) -> None:
        """The link is gone."""
        waiting, self._waiting = self._waiting, {}
        for answer, _ in waiting.values():
            if not answer.called:
                answer.errback(problem)
