"""
UDX by itself: a socket of its own, and streams between two ends that have agreed on their numbers by other means.

Nothing here is encrypted, and nobody proves who they are: connections over the network are in ``peering``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import deferLater

from spaceswarm_proxy.dht.contact import address_of, host_port
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.udp.port import UDPPort
from spaceswarm_proxy.udx.runner import StreamsRunner
from spaceswarm_proxy.udx.stream import Stream
from spaceswarm_proxy.udx.transport import UDXTransport

_NUMBER = 1


class UDXEndpoint:
    """
    A UDP socket with streams.

    Example::

        endpoint = UDXEndpoint(reactor)
        transport = endpoint.connect(1, 2, "192.0.2.7", 4000, protocol)
    """

    def __init__(self, reactor: Any, host: str = "127.0.0.1", port: int = 0) -> None:
        """
        :param host: the IPv4 address to bind to.
        :param port: 0 for any.
        :raises CannotListenError: it is not to be had.
        """
        self._reactor = reactor
        self._port = UDPPort(reactor, _NUMBER, _foreign, reactor.seconds, self._turn_ended)
        self.runner = StreamsRunner(reactor, self._find_port, reactor.seconds)
        self._port.listen(host, port)
        self._port.carry(self.runner.core)
        self.address = HostPort(host, self._port.port)

    def _find_port(self, number: int) -> UDPPort | None:
        return self._port if number == _NUMBER else None

    def _turn_ended(self) -> None:
        self.runner.turn_ended()

    def connect(
        self,
        id: int,
        remote_id: int,
        host: str,
        port: int,
        protocol: IProtocol,
        *,
        first: int = 0,
        remote_first: int = 0,
    ) -> UDXTransport:
        """
        Open our end of a stream; nothing is sent for that.

        :param id: our number of it; packets with it are for us.
        :param remote_id: the remote's.
        :param host: an IPv4 address.
        :param first, remote_first: the numbers of the first packets.
        :returns: the transport that the protocol is connected to.
        """
        stream = self.runner.core.create(id=id, first=first, remote_first=remote_first)
        stream.connect(_NUMBER, remote_id, address_of(host, port), self.runner.now())
        return self._attach(stream, HostPort(host, port), protocol)

    def accept(
        self, id: int, remote_id: int, build: Callable[[], IProtocol], *, first: int = 0, remote_first: int = 0
    ) -> Stream:
        """
        Wait for a stream from whoever sends the first packet of it.

        :param build: makes the protocol that is connected then.
        :param first, remote_first: as for :meth:`connect`.
        """

        def first_packet(socket: int, source: bytes, now: float) -> bool:
            if not stream.connected:
                protocol = build()
                stream.connect(socket, remote_id, source, now)
                self._attach(stream, host_port(source), protocol)
            return False

        stream = self.runner.core.create(first_packet, id=id, first=first, remote_first=remote_first)
        return stream

    def _attach(self, stream: Stream, remote: HostPort, protocol: IProtocol) -> UDXTransport:
        transport = UDXTransport(self.runner, stream, IPv4Address("UDP", *self.address), IPv4Address("UDP", *remote))
        transport.attach(protocol)
        return transport

    def close(self) -> Deferred[None]:
        """
        Destroy all streams.

        :returns: a Deferred that fires when nothing is left: in the next turn of the reactor, in which the protocols of
            streams that were aborted just now are told so.
        """
        self.runner.close()
        self._port.close()
        return deferLater(self._reactor, 0)


def _foreign(data: bytes, source: bytes, number: int, now: float) -> bytes | None:
    """What is no packet of a stream is nobody's."""
    return None
