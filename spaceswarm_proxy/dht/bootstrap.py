"""Where a node begins: addresses as people write them."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import NamedTuple

from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.interfaces import HostPort


class BootstrapNode(NamedTuple):
    """A node to begin with."""

    #: Its IPv4 address, if that is known.
    ip: str | None
    #: A name to be resolved, where there is no address, or where that does not answer.
    name: str | None
    port: int

    @classmethod
    def parse(cls, text: str | int | HostPort) -> BootstrapNode:
        """
        Read ``HOST:PORT``, ``IP@NAME:PORT``, or a bare port of this machine.

        :raises ValueError: none of these, or a name that no resolver takes.
        """
        if isinstance(text, int) or (isinstance(text, str) and text.isdigit()):
            text = f"127.0.0.1:{text}"
        host, port = HostPort.parse(text) if isinstance(text, str) else text
        if not 0 < port < 0x10000:
            raise ValueError(f"{port} is not a port")
        ip, at, name = host.partition("@")
        if at:
            if not _is_ip(ip) or not _is_name(name):
                raise ValueError(f"{host!r} is not IP@NAME")
            return cls(ip, name, port)
        if _is_ip(host):
            return cls(host, None, port)
        if not _is_name(host):
            raise ValueError(f"{host!r} is not the name of a host")
        return cls(None, host, port)

    @property
    def address(self) -> bytes | None:
        """Six bytes, if it is known without asking anybody."""
        return None if self.ip is None else address_of(self.ip, self.port)

    def __str__(self) -> str:
        return f"{'@'.join(part for part in (self.ip, self.name) if part)}:{self.port}"


def _is_ip(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    """Can it be asked for?  The system's resolver raises for some texts, instead of finding nothing."""
    try:
        return text.isprintable() and bool(text.encode("idna"))
    except UnicodeError:
        return False
