"""Two muxes and what is between them; owners of channels that write down what they are told."""

from __future__ import annotations

from collections import deque
from typing import Any

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.protomux import Channel, Mux, Offer
from spaceswarm_proxy.peering.protomux_wire import CONTROL, ControlType, Message, Open

Told = tuple[Any, ...]


class Owner:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def opened(self, channel: Channel, handshake: bytes, now: float) -> None:
        self.told.append(("opened", handshake))

    def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
        self.told.append((type, body))

    def closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        self.told.append(("closed", problem))


class End:
    """A mux, and the messages of the stream that are under way to the other end."""

    def __init__(self, **limits: int) -> None:
        self.mux = Mux(self._woken, **limits)
        self.sent: deque[bytes] = deque()
        self.offers: list[Offer] = []
        self.wakes = 0

    def _woken(self) -> None:
        self.wakes += 1
        self.sent += self.mux.data_to_send()

    def keep_offers(self, protocol: str) -> None:
        """Decide later about channels of this protocol."""
        self.mux.register(protocol, lambda offer, now: self.offers.append(offer))

    def accept(self, protocol: str, owner: Owner, handshake: bytes = b"") -> None:
        """Accept channels of this protocol at once."""

        def accept(offer: Offer, now: float) -> None:
            offer.accept(owner, now, handshake)

        self.mux.register(protocol, accept)


def deliver(sender: End, receiver: End, now: float = 0.0) -> None:
    """One message of the stream arrives, if there is one and it may."""
    if sender.sent and not receiver.mux.paused:
        receiver.mux.receive(sender.sent.popleft(), now)


def deliver_all(one: End, other: End, now: float = 0.0) -> None:
    """All that may arrive does, and what is said to it."""
    while (one.sent and not other.mux.paused) or (other.sent and not one.mux.paused):
        deliver(one, other, now)
        deliver(other, one, now)


def opening(number: int, protocol: str = "p", id: bytes = b"", handshake: bytes = b"") -> bytes:
    """An OPEN, as it comes."""
    return Message(CONTROL, ControlType.OPEN, Open(number, protocol, id, handshake).encode()).encode()


def closing(number: int) -> bytes:
    """A CLOSE, as it comes."""
    return Message(CONTROL, ControlType.CLOSE, bytes([number])).encode()


def rejecting(number: int) -> bytes:
    """A REJECT, as it comes or goes."""
    return Message(CONTROL, ControlType.REJECT, bytes([number])).encode()
