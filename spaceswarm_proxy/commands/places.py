"""
What users write where something listens, or is to listen.

``PORT`` and ``HOST:PORT`` are TCP ports, as everywhere; all else is a Twisted endpoint.  What begins with the name of a
kind of endpoint is one: ``tcp:8080`` is no host called ``tcp``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, clientFromString, serverFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.options import within
from spaceswarm_proxy.commands.peer_options import place, service
from spaceswarm_proxy.commands.splice import Dial
from spaceswarm_proxy.errors import to_code
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.network.tcp import TIMEOUT, dial

#: TCP connections that may wait to be accepted.
BACKLOG = 511
#: How Twisted begins to say that a text names no kind of endpoint that there is.
UNKNOWN = "Unknown endpoint type"

Endpoint = TypeVar("Endpoint")


def client_endpoint(reactor: Any, text: str, option: str) -> IStreamClientEndpoint:
    """
    Read a client endpoint.

    :param option: where it was given.
    :raises CommandError: it is none.
    """
    try:
        return clientFromString(reactor, text)
    except Exception as problem:
        raise _no("client endpoint", option, text, problem) from problem


def server_endpoint(reactor: Any, text: str, option: str) -> IStreamServerEndpoint:
    """
    Read ``PORT``, ``HOST:PORT`` or a server endpoint.

    :raises CommandError: it is none of these.
    """
    try:
        found = _tcp_or_endpoint(reactor, text, place, serverFromString)
    except Exception as problem:
        raise _no("port or server endpoint", option, text, problem) from problem
    return tcp_server(reactor, found) if isinstance(found, HostPort) else found


def tcp_server(reactor: Any, where: HostPort) -> IStreamServerEndpoint:
    """:returns: the endpoint of a TCP port of this machine; port 0 is any."""
    kind = TCP6ServerEndpoint if ":" in where.host else TCP4ServerEndpoint
    return kind(reactor, where.port, BACKLOG, where.host)


def service_dial(reactor: Any, text: str, option: str) -> Dial:
    """
    Read ``PORT``, ``HOST:PORT`` or a client endpoint.

    :returns: what connects there.
    :raises CommandError: it is none of these.
    """
    try:
        found = _tcp_or_endpoint(reactor, text, service, clientFromString)
    except Exception as problem:
        raise _no("service or client endpoint", option, text, problem) from problem
    return tcp_dial(reactor, found) if isinstance(found, HostPort) else _endpoint_dial(reactor, text, found)


def tcp_dial(reactor: Any, where: HostPort) -> Dial:
    """:returns: what connects to a TCP service; it fails with a ``CommandError`` that names it."""
    return lambda factory: dial(reactor, where, factory).addErrback(_explain, str(where))


def _endpoint_dial(reactor: Any, text: str, endpoint: IStreamClientEndpoint) -> Dial:
    def connect(factory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = maybeDeferred(endpoint.connect, factory)
        return within(TIMEOUT, connecting, reactor, "no connection").addErrback(_explain, text)

    return connect


def _explain(failure: Failure, where: str) -> Failure:
    code, text = to_code(failure.value)
    return Failure(CommandError(f"{where}: {text.rstrip('.')}", code))


def _no(kind: str, option: str, text: str, problem: Exception) -> CommandError:
    """
    What the user is told of a text that cannot be read.

    A parser, ours or another's, is called with what the text says, and raises what it will: of wrong names and numbers
    TypeErrors, of files what is wrong with these.
    """
    return CommandError(f"{option} {text}: not a {kind}: {str(problem) or type(problem).__name__}")


def _tcp_or_endpoint(
    reactor: Any, text: str, tcp: Callable[[str], HostPort], read: Callable[[Any, str], Endpoint]
) -> HostPort | Endpoint:
    """
    Read either.

    :raises ValueError: it is neither; other exceptions likewise.
    """
    try:
        return read(reactor, text)
    except ValueError as problem:
        if not str(problem).startswith(UNKNOWN):
            raise
    return tcp(text)
