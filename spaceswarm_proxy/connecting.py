"""
Connecting to an IP address without Twisted's connectors.

``reactor.connectTCP`` resolves names, keeps a connector and its state, and takes a third of the time that a proxied
connection costs in all.  A relay to a TCP service whose IP address is known needs a socket, and to be told when it is
connected.  Any reactor with ``IReactorFDSet`` will do.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted.internet import address, error
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.tcp import Accelerated


def is_possible(reactor: Any, host: str) -> bool:
    """Can it be done here: is the host an IP address, and the reactor one of file descriptors?"""
    return _is_address(host) and IReactorFDSet.providedBy(reactor)


@lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    return isIPAddress(host) or (isIPv6Address(host) and "%" not in host)


#: The protocol of a transport that nobody wanted.
_NOBODY = Protocol()


class Outgoing(Accelerated):
    """The transport of a connection that we made: a peer's, whose every message stands alone."""

    every_write_alone = True

    def __init__(self, skt: socket.socket, reactor: Any, lost: Callable[[], None]) -> None:
        """:param lost: called when the protocol has been told that the connection is lost."""
        super().__init__(skt, _NOBODY, reactor)
        self.connected = 1
        self.logstr = "Outgoing"
        self._lost = lost
        self._paused = False

    def start(self) -> None:
        """The protocol is connected: read, unless it has ended the connection or does not want to."""
        if self.connected and not (self.disconnecting or self._aborting or self._paused):
            self.startReading()

    def pauseProducing(self) -> None:
        self._paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        super().resumeProducing()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._lost()

    def getHost(self) -> address.IPv4Address | address.IPv6Address:
        """Our end."""
        return self._address(self.socket.getsockname())

    def getPeer(self) -> address.IPv4Address | address.IPv6Address:
        """The peer's."""
        return self._address(self.socket.getpeername())

    def _address(self, name: tuple[Any, ...]) -> address.IPv4Address | address.IPv6Address:
        kind = address.IPv6Address if self.socket.family == socket.AF_INET6 else address.IPv4Address
        return kind("TCP", *name[:2])


def start(host: str, port: int) -> tuple[socket.socket, int]:
    """
    Begin to connect.

    :param host: an IP address.
    :returns: the socket, which does not block, and an error number: 0 when it is connected already, as it is on the
        loopback, ``EINPROGRESS`` when that is to be waited for.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    skt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = skt.connect_ex((host, port))
    if code == errno.EINPROGRESS:
        try:
            skt.getpeername()
            code = 0
        except OSError:  # not connected yet
            return skt, code
    return skt, code


@implementer(IWriteDescriptor)
class Connecting:
    """A socket that is being connected: calls ``connected``, ``failed`` or, cancelled, neither."""

    def __init__(
        self,
        reactor: Any,
        skt: socket.socket,
        timeout: float | None,
        connected: Callable[[socket.socket], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """
        :param skt: from :func:`start`.
        :param timeout: seconds, or ``None`` where somebody else looks at the clock.
        :param connected: gets the socket, and has to close it.
        :param failed: gets a ``ConnectError`` of Twisted's.
        """
        self._reactor = reactor
        self._socket = skt
        self._connected = connected
        self._failed = failed
        self._timer = None if timeout is None else reactor.callLater(timeout, self._give_up, error.TimeoutError())
        reactor.addWriter(self)

    def cancel(self) -> None:
        """Give up, and tell nobody."""
        self._stop()
        self._socket.close()

    def _stop(self) -> None:
        self._reactor.removeWriter(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _give_up(self, problem: Exception) -> None:
        self.cancel()
        self._failed(Failure(problem))

    # The reactor's side.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "Connecting"

    def doWrite(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._give_up(problem(code))
        else:
            self._stop()
            self._connected(self._socket)

    def connectionLost(self, reason: Failure) -> None:
        """The kernel says that it failed."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._give_up(problem(code or errno.ECONNABORTED))


def problem(code: int) -> error.ConnectError:
    """Twisted's exception for an error number of the kernel's."""
    found: error.ConnectError = error.getConnectError((code, os.strerror(code)))
    return found
