"""A node without a network, and what punching needs of it; a test plays everybody else."""

from __future__ import annotations

from spaceswarm_proxy.dht.contact import address_of, contact_at
from spaceswarm_proxy.dht.message import Request, parse_request
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.puncher import PUNCH, Puncher
from spaceswarm_proxy.peering.punching import Punching
from spaceswarm_proxy.peering.schedule import Schedule
from tests.dht.world import Alone

#: Addresses of our own side, and of the other.
OURS = [address_of("1.1.1.1", port) for port in range(1, 10)]
THEIRS = [address_of("2.2.2.2", port) for port in range(1, 10)]


class Bench:
    """A puncher's surroundings; it is its own :class:`~spaceswarm_proxy.peering.punching.Sockets`."""

    def __init__(self, max_sockets: int = 1000) -> None:
        self.alone = Alone()
        self.alone.core.upkeep.next_tick = float("inf")
        self.alone.core.transmit = self.transmit
        self.schedule = Schedule()
        self.punching = Punching(self.alone.core, self, self.schedule)
        #: Sockets that are open.
        self.sockets: list[int] = []
        #: When, from which socket, to whom and with which TTL punch messages were sent.
        self.punches: list[tuple[float, int, bytes, int]] = []
        #: From which socket, to whom, and what else was sent.
        self.requests: list[tuple[int, bytes, bytes]] = []
        self.connected: list[tuple[int, bytes]] = []
        self.aborted = 0
        self._max_sockets = max_sockets
        self._opened = 1

    @property
    def now(self) -> float:
        return self.alone.now

    def open(self) -> int:
        if len(self.sockets) >= self._max_sockets:
            raise OSError("too many open files")
        self._opened += 1
        self.sockets.append(self._opened)
        return self._opened

    def close(self, number: int) -> None:
        self.sockets.remove(number)

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        if data == PUNCH:
            assert socket in self.sockets
            self.punches.append((self.now, socket, address, ttl))
        else:
            self.requests.append((socket, address, data))

    def puncher(self, initiator: bool = True, remote: Firewall = Firewall.UNKNOWN) -> Puncher:
        return Puncher(self.punching, initiator, remote, self._connected, self._aborted, self.now)

    def _connected(self, socket: int, address: bytes, now: float) -> None:
        assert now == self.now
        self.connected.append((socket, address))

    def _aborted(self, now: float) -> None:
        assert now == self.now
        self.aborted += 1

    def know_somebody(self) -> None:
        """There is a node, which never answers, so that sampling takes its time."""
        contact = contact_at(address_of("10.0.0.9", 1000))
        self.alone.core.heard(contact.address, contact.id, self.now)

    def sample(self, puncher: Puncher, ours: Firewall) -> None:
        """Four nodes say what makes its own side this."""
        for number in range(0 if ours == Firewall.UNKNOWN else 4):
            address = OURS[number] if ours == Firewall.RANDOM else OURS[0]
            puncher.sampled(address, address_of("9.9.9.9", 1 + number), self.now)

    def take_requests(self, command: int) -> list[tuple[int, bytes, Request]]:
        """:returns: from which socket, to whom, and what was asked with this command since the last call."""
        requests = [(socket, address, parse_request(data)) for socket, address, data in self.requests]
        self.requests.clear()
        return [each for each in requests if not each[2].internal and each[2].command == command]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (deadline := self.schedule.next_deadline()) is not None and deadline <= end:
            self.alone.run(max(0.0, deadline - self.now))
            self.schedule.advance(self.now)
        self.alone.run(end - self.now)
