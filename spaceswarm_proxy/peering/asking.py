"""Requests that belong together: they are forgotten together when their owner is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol

from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.requests import RETRIES, OutgoingRequest
from spaceswarm_proxy.errors import SpaceswarmError

#: Told how a request ended: the response or the problem, and the time.
Answered = Callable[[Response | SpaceswarmError, float], None]
#: Told who has answered, and what, and the time.
AllAnswered = Callable[[list[tuple[bytes, Response]], float], None]


class Question(NamedTuple):
    """What a node is asked."""

    address: bytes
    command: Command
    token: bytes | None = None


class Node(Protocol):
    """What asking needs of its node."""

    def ask(
        self,
        address: bytes,
        command: Command,
        done: Answered,
        now: float,
        *,
        token: bytes | None = None,
        retries: int = RETRIES,
        socket: int | None = None,
    ) -> OutgoingRequest:
        """:raises SpaceswarmError: it can't be sent now."""

    def forget(self, request: OutgoingRequest) -> None:
        """It is not waited for any more."""


class Asking:
    """The requests of one owner."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._under_way: set[OutgoingRequest] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def ask(
        self,
        address: bytes,
        command: Command,
        done: Answered,
        now: float,
        *,
        token: bytes | None = None,
        retries: int = RETRIES,
        socket: int | None = None,
    ) -> None:
        """
        Ask one node something.

        :param done: called once, at once if it can't be sent; not after :meth:`forget`.
        :param socket: which to send from; by default the node's choice.
        """

        def ended(answer: Response | SpaceswarmError, now: float) -> None:
            self._under_way.discard(request)
            done(answer, now)

        try:
            request = self._node.ask(address, command, ended, now, token=token, retries=retries, socket=socket)
        except SpaceswarmError as problem:
            done(problem, now)
        else:
            self._under_way.add(request)

    def ask_all(self, questions: Iterable[Question], done: AllAnswered, now: float) -> None:
        """
        Ask several nodes at the same time.

        :param done: called when nobody is missing, with those that have answered, in the order in which they have.
        """
        asked = list(questions)
        answers: list[tuple[bytes, Response]] = []
        missing = len(asked)

        def answered(address: bytes, answer: Response | SpaceswarmError, now: float) -> None:
            nonlocal missing
            missing -= 1
            if isinstance(answer, Response):
                answers.append((address, answer))
            if not missing:
                done(answers, now)

        for address, command, token in asked:
            self.ask(address, command, partial(answered, address), now, token=token)
        if not asked:
            done(answers, now)

    def forget(self) -> None:
        """None of them is waited for any more."""
        for request in self._under_way:
            self._node.forget(request)
        self._under_way.clear()
