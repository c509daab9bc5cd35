"""
What the text of an endpoint says about who can reach it.

Whoever reaches the server may use its network, so a text that opens it to others than this machine's users must come
with a way to tell clients from strangers: tokens, client certificates, known keys, or the operator's word that there
are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from spaceswarm_proxy.service.settings import Settings, SettingsError

#: The arguments of the endpoints that we know, in the order in which they may stand without their names.
_ARGUMENTS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface"),
    "mtls": ("port", "privateKey", "certKey", "clientCA", "interface"),
    "secret": ("endpoint", "key", "clients"),
    "ws": ("port", "interface", "endpoint"),
    "systemd": ("domain",),
    "unix": (),
    "stdio": (),
}
#: The interface that is listened on when none is named; elsewhere it is all of them.
_DEFAULT_INTERFACE = {"ws": "127.0.0.1"}
#: What passes the network as it is.
_PLAIN = ("tcp", "tcp6", "ws")

_SEGMENT = re.compile(r"(?:\\.|[^:])*", re.DOTALL)
_SECRET_KEY = re.compile(r"(?:key=)?[0-9A-Fa-f]{64}")
_KEYWORD = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Listening:
    """An endpoint, as far as its text tells."""

    text: str
    #: Can only this machine's users reach it?
    local: bool
    #: Do bytes pass as they are?
    plain: bool = False
    #: Are clients asked for certificates, or known by their keys?
    certified: bool = False


def listening(text: str, setting: str = "listen") -> Listening:
    """
    Look into the text of a server endpoint.  Of kinds that we don't know, it is supposed that anybody can reach them.

    :param setting: where it comes from.
    :raises SettingsError: its port can't be one.
    """
    kind, *segments = _split(text)
    kind = kind.lower()
    if kind == "haproxy":
        return replace(listening(":".join(segments), setting), text=text)
    arguments = _arguments(_ARGUMENTS.get(kind, ()), segments)
    if kind == "ws" and arguments.get("endpoint"):
        return replace(listening(arguments["endpoint"], setting), text=text)
    if kind == "secret":
        inner = listening(arguments.get("endpoint", ""), setting)
        return replace(inner, text=text, plain=False, certified=inner.certified or "clients" in arguments)
    _check_port(setting, text, arguments.get("port", ""))
    return Listening(text, _is_local(kind, arguments), kind in _PLAIN, kind == "mtls")


def _split(text: str) -> list[str]:
    """Twisted's syntax: values at colons, some with a name and an equals sign; a backslash takes away their meaning."""
    found: list[str] = []
    start = 0
    while start <= len(text):
        segment = _SEGMENT.match(text, start)
        assert segment is not None  # it matches nothing, too
        found.append(segment[0])
        start = segment.end() + 1
    return found


def _arguments(names: tuple[str, ...], segments: list[str]) -> dict[str, str]:
    positions = iter(names)
    found = {}
    for segment in segments:
        keyword = _KEYWORD.fullmatch(segment)
        name = _unquote(keyword[1]) if keyword else next(positions, "")
        found[name] = _unquote(keyword[2] if keyword else segment)
    return found


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _is_local(kind: str, arguments: dict[str, str]) -> bool:
    if kind in ("unix", "stdio"):
        return True
    if kind == "systemd":
        return arguments.get("domain") == "UNIX"
    if kind not in _ARGUMENTS:
        return False
    return is_loopback(arguments.get("interface", _DEFAULT_INTERFACE.get(kind, "")))


def is_loopback(interface: str) -> bool:
    """Is it an address of the loopback, or its name?  Other names are not looked up: they may mean anything later."""
    if interface.lower() == "localhost":
        return True
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return False


def _check_port(setting: str, text: str, port: str) -> None:
    if port.isascii() and port.isdigit() and int(port) > 65535:
        raise SettingsError(f"{setting}: {text}: a port is at most 65535")


def with_port(text: str, port: int) -> str:
    """
    The text of an endpoint with the port that it has got, where it asked for any.

    :param text: a text as ``tcp:0:interface=127.0.0.1``.
    """
    kind, *segments = _split(text)
    if kind.lower() == "haproxy":
        return f"{kind}:{with_port(':'.join(segments), port)}"
    if segments[:1] == ["0"]:
        segments[0] = str(port)
    if kind.lower() == "secret" and segments and not _KEYWORD.fullmatch(segments[0]):
        segments[0] = f"endpoint={segments[0]}"
    return ":".join([kind, *(_name_port(segment, port) for segment in segments)])


def without_secrets(text: str) -> str:
    """:returns: the text of an endpoint as logs may have it: a secret key that stands in it itself is left out."""
    kind, *segments = _split(text)
    return ":".join([kind, *("key=..." if _SECRET_KEY.fullmatch(segment) else segment for segment in segments)])


def _name_port(segment: str, port: int) -> str:
    name, equals, value = segment.partition("=")
    if (name, value) == ("port", "0"):
        return f"port={port}"
    if name == "endpoint" and equals:
        return "endpoint=" + quoteStringArgument(with_port(_unquote(value), port))
    return segment


def check_exposure(settings: Settings) -> None:
    """
    See to it that strangers are kept out, or are meant to come in.

    :raises SettingsError: neither; the message says what can be done.
    """
    for each in map(listening, settings.listen):
        if not (each.local or each.certified or settings.token_file or settings.allow_anyone):
            raise SettingsError(
                f"listen: {each.text} can be reached from other machines, and anyone would be let in: ask for tokens"
                " (--token-file FILE), client certificates (mtls:...) or known keys (secret:...:clients=...), or say"
                " --allow-anyone; or stay on this machine (interface=127.0.0.1)"
            )
    if settings.metrics is not None:
        _check_metrics(listening(settings.metrics, "metrics"), settings.allow_anyone)


def _check_metrics(shown: Listening, allow_anyone: bool) -> None:
    """HTTP asks for no tokens."""
    if not (shown.local or shown.certified or allow_anyone):
        raise SettingsError(
            f"metrics: {shown.text} can be reached from other machines, and anyone could read them: ask for client"
            " certificates (mtls:...), or say --allow-anyone; or stay on this machine (interface=127.0.0.1)"
        )


def tokens_in_clear(settings: Settings) -> list[str]:
    """The endpoints over which tokens come from other machines for everyone on the way to read."""
    if settings.token_file is None:
        return []
    return [each.text for each in map(listening, settings.listen) if each.plain and not each.local]


def endpoint(reactor: Any, text: str, setting: str = "listen") -> IStreamServerEndpoint:
    """
    The endpoint that a text means.

    :param setting: where it comes from.
    :raises SettingsError: none.
    """
    try:
        return serverFromString(reactor, text)
    except Exception as problem:  # what the parsers raise is their own affair
        reason = (
            re.sub(r"^[\w.]+\(\) ", "", str(problem)) or type(problem).__name__
        )  # not which function of ours it was
        raise SettingsError(f"{setting}: {text}: {reason}") from problem
