"""This machine's addresses in its networks, as far as the system tells them without asking anybody."""

from __future__ import annotations

import socket
import sys
from struct import pack

from spaceswarm_proxy.dht.ports import local_host

_GET_ADDRESS = 0x8915  # SIOCGIFADDR
_NAME_LENGTH = 16  # IFNAMSIZ
_REQUEST_LENGTH = 40  # struct ifreq
_HOST = slice(20, 24)
_LOOPBACK = 127


def local_hosts(bound_to: str) -> list[bytes]:
    """
    :param bound_to: the IPv4 address that the sockets are bound to.
    :returns: where they can be reached from other machines, four bytes each; nothing for a socket of loopback only.
    """
    if bound_to != "0.0.0.0":
        hosts = [socket.inet_aton(bound_to)]
    else:
        hosts = _interface_hosts() or _default_host()
    return [host for host in hosts if host[0] != _LOOPBACK]


def _default_host() -> list[bytes]:
    host = local_host()
    return [] if host is None else [socket.inet_aton(host)]


def _interface_hosts() -> list[bytes]:
    """The first IPv4 address of each interface, where the system is Linux."""
    if not sys.platform.startswith("linux"):
        return []
    from fcntl import ioctl

    hosts = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = pack(f"{_REQUEST_LENGTH}s", name.encode()[: _NAME_LENGTH - 1])
            try:
                hosts.append(ioctl(probe.fileno(), _GET_ADDRESS, request)[_HOST])
            except OSError:  # It has no IPv4 address.
                continue
    return hosts
