"""Several nodes are to be told something that has to be signed, for each of them by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.writes import Decided
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.asking import Question
from spaceswarm_proxy.peering.schedule import Delayed, Schedule

#: Seconds that whoever keeps the key has for all of them.
SIGNING_TIMEOUT = 3.0

#: Nodes, and what each of them has answered.
Known = Sequence[tuple[bytes, Response]]
#: Makes the command for a node from its answer, and tells it, at once or later.
Claim = Callable[[Response, Decided, float], None]


class Signing:
    """The commands for some nodes, as far as they are signed in time."""

    def __init__(self, schedule: Schedule, done: Callable[[list[Question], float], None]) -> None:
        """:param done: told once what can be asked; not after :meth:`stop`."""
        self._schedule = schedule
        self._done: Callable[[list[Question], float], None] | None = done
        self._questions: list[Question] = []
        # Addresses of nodes for which nothing has been signed yet (a set that keeps its order).
        self._missing: dict[bytes, None] = {}
        self._timer: Delayed | None = None

    def begin(self, known: Known, claim: Claim, now: float) -> None:
        """Have a command made for each of the nodes."""
        self._missing = dict.fromkeys(address for address, _ in known)
        for address, answer in known:
            claim(answer, partial(self._signed, address, answer.token), now)
        if not known:
            self._end(now)
        elif self._missing:
            self._timer = self._schedule.call_at(now + SIGNING_TIMEOUT, self._end)

    def stop(self) -> None:
        """Nobody wants to know any more."""
        self._done = None
        self._missing.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _signed(
        self, address: bytes, token: bytes | None, command: Command | SpaceswarmError | None, now: float
    ) -> None:
        if address not in self._missing:
            return
        del self._missing[address]
        if isinstance(command, Command):
            self._questions.append(Question(address, command, token))
        if not self._missing:
            self._end(now)

    def _end(self, now: float) -> None:
        done = self._done
        self.stop()
        if done is not None:
            done(self._questions, now)
