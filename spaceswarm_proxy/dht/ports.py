"""
The sockets of a node: where it can be reached, where it asks from while nobody can reach it, and those that rooms above
need besides.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import CannotListenError

from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.udp.batch import Receive
from spaceswarm_proxy.udp.port import UDPPort

#: Where a node listens unless told otherwise, and how many ports from there on it tries before it takes any.
DEFAULT_PORT = 49737
_TRIED = 5


class NodePorts:
    """Binds them, finds them by number, and closes them; they may be bound again afterwards."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        receive: Receive,
        clock: Callable[[], float],
        turn_ended: Callable[[], None],
    ) -> None:
        """
        :param host: the IPv4 address to bind to; ``0.0.0.0`` for all of this machine's.
        :param receive, clock, turn_ended: for the sockets.
        """
        self.host = host
        self._reactor = reactor
        self._receive = receive
        self._clock = clock
        self._turn_ended = turn_ended
        self._ports: dict[int, UDPPort] = {}
        self._next_number = SERVER_SOCKET + 1
        self._unsent = 0

    @property
    def unsent(self) -> int:
        """Datagrams that the system did not take."""
        return self._unsent + sum(port.unsent for port in self._ports.values())

    @property
    def server_port(self) -> int:
        """The port that the server socket is bound to; 0 while it is not."""
        port = self._ports.get(SERVER_SOCKET)
        return 0 if port is None else port.port

    def bind(self, server_ports: Iterable[int], client_port: int = 0) -> None:
        """
        Bind both.

        :param server_ports: the first one that is free is taken.
        :raises CannotListenError: none of them is.
        :raises OSError: there can be no socket at all.
        """
        self._ports[SERVER_SOCKET] = self._listen(SERVER_SOCKET, server_ports)
        try:
            self._ports[CLIENT_SOCKET] = self._listen(CLIENT_SOCKET, (client_port, 0) if client_port else (0,))
        except Exception:
            self.close()
            raise

    def _listen(self, number: int, ports: Iterable[int]) -> UDPPort:
        problem: CannotListenError | None = None
        for port in ports:
            bound = UDPPort(self._reactor, number, self._receive, self._clock, self._turn_ended)
            try:
                bound.listen(self.host, port)
                return bound
            except CannotListenError as error:
                problem = error
        assert problem is not None
        raise problem

    def find(self, number: int) -> UDPPort | None:
        """:returns: one of them; ``None`` where it is closed by now."""
        return self._ports.get(number)

    def open_another(self) -> int:
        """
        Bind one more, to any port.

        :returns: its number.
        :raises OSError: there can be no more; ``CannotListenError`` is one.
        """
        number = self._next_number
        self._next_number += 1
        self._ports[number] = self._listen(number, (0,))
        return number

    def close_another(self, number: int) -> None:
        """Close one of those."""
        port = self._ports.pop(number, None)
        if port is not None:
            self._unsent += port.unsent
            port.close()

    def transmit(self, number: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """Send a datagram from one of them; from one that is closed by now it is lost."""
        port = self._ports.get(number)
        if port is not None:
            port.send(data, address, ttl)

    def close(self) -> tuple[int, int]:
        """:returns: the ports of server and client socket, to be bound again perhaps; 0 for what was not bound."""
        self._unsent = self.unsent
        ports, self._ports = self._ports, {}
        were = {number: port.port for number, port in ports.items()}
        for port in ports.values():
            port.close()
        return were.get(SERVER_SOCKET, 0), were.get(CLIENT_SOCKET, 0)


def candidates(port: int | None, any_port: bool) -> tuple[int, ...]:
    """
    Which ports the server socket may have, best first.

    :param port: the wish: ``None`` for the usual one, 0 for any.
    :param any_port: may it be another one if that is taken?
    :raises ValueError: the wish is no port.
    """
    if port == 0:
        return (0,)
    first = DEFAULT_PORT if port is None else port
    if not 0 < first < 0x10000:
        raise ValueError(f"{port} is not a port")
    if not any_port:
        return (first,)
    return (*range(first, min(first + _TRIED, 0x10000)), 0)


def local_host() -> str | None:
    """
    :returns: our address on the way to the internet, as the system's routes say; ``None`` without such a way.  Nothing
        is sent.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # For documentation (RFC 5737): it belongs to nobody.
            return str(probe.getsockname()[0])
    except OSError:  # No route; or no socket is to be had at all.
        return None
