"""A resolver of names whose answers the test gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer


@implementer(IHostResolution)
class Question:
    """A name that is being resolved."""

    def __init__(self, receiver: IResolutionReceiver, name: str, port: int, types: Sequence[Any] | None) -> None:
        self.name = name
        self.port = port
        self.types = types
        self._receiver = receiver
        receiver.resolutionBegan(self)

    def cancel(self) -> None:
        """Nobody can: the system's resolver goes on."""
        raise NotImplementedError

    def answer(self, *hosts: str) -> None:
        """These are its addresses; without any there are none."""
        for host in hosts:
            self._receiver.addressResolved(IPv4Address("UDP", host, self.port))
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
class Names:
    """Keeps what it is asked, and answers at once where :attr:`known` has it."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self.asked: list[Question] = []

    @property
    def names(self) -> list[str]:
        """The names that were asked for."""
        return [question.name for question in self.asked]

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        question = Question(resolutionReceiver, hostName, portNumber, addressTypes)
        self.asked.append(question)
        if hostName in self.known:
            question.answer(*self.known[hostName])
        return question
