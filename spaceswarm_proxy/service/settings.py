"""What ``twistd spaceswarm-proxy`` can be told, on its command line or in a file.  Nothing here knows of a reactor."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from spaceswarm_proxy.crypto.profile import PROFILES, SPACESWARM
from spaceswarm_proxy.dht.bootstrap import BootstrapNode
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.ports import DEFAULT_PORT
from spaceswarm_proxy.interfaces import HostPort
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.topics import topic

LOG_LEVELS = ("debug", "info", "warn", "error")
NETWORKS = ("dht", "local")


class SettingsError(ValueError):
    """Something was set to what it can't be.  The message is one line, for people."""


class TCPService(NamedTuple):
    """A TCP service that is announced under a topic of 32 bytes."""

    topic: bytes
    address: HostPort

    @classmethod
    def parse(cls, text: str) -> TCPService:
        """
        Read ``TOPIC=HOST:PORT``.

        :raises ValueError: it is not that.
        """
        name, equals, address = text.rpartition("=")
        if not equals or not name:
            raise ValueError(f"{text!r} is not TOPIC=HOST:PORT")
        return cls(topic(name), HostPort.parse(address))


def setting(default: Any, help: str, kind: type | None = None) -> Any:
    """A field of :class:`Settings`; its type is the default's unless given."""
    return field(default=default, metadata={"help": help, "kind": kind or type(default)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    All that the service can be told.

    :raises SettingsError: some of it can't be.
    """

    listen: tuple[str, ...] = setting(
        ("tcp:4978:interface=127.0.0.1", "ws:4977:interface=127.0.0.1"),
        "Where to listen for clients: tcp:, ws:, unix:, ssl:, mtls: (TLS with client certificates), secret: (encrypted,"
        " clients known by key) or any other Twisted endpoint.  May be repeated.",
    )
    network: str = setting(
        "dht",
        "The network to show to the clients: dht, the real one, by a node of our own; or local, these clients and"
        " nobody else.",
    )
    profile: str = setting(SPACESWARM.name, f"Which real network: {', '.join(PROFILES)}.")
    bootstrap: tuple[str, ...] = setting(
        (),
        "HOST:PORT or IP@NAME:PORT, a node at which ours begins to look for the others.  May be repeated.  By default"
        " the profile's own.",
    )
    host: str = setting("0.0.0.0", "The IPv4 address of this machine that the node uses.")
    port: int | None = setting(
        None,
        f"The UDP port of the node, 0 for any.  By default {DEFAULT_PORT} or one of the next, else any.  Where clients"
        " connect is said by --listen.",
        int,
    )
    state: str | None = setting(
        None, "Directory in which the node keeps who it is, and whom it knows, from one run to the next.", str
    )
    ephemeral: bool | None = setting(
        None,
        "Never answer and store for others.  By default the node does so after 20 minutes, if others can reach it.",
        bool,
    )
    identity_grace: float = setting(
        30.0,
        "Seconds for which a client stays announced in the real network when its link is lost without a farewell: it"
        " may be back soon.",
    )
    end_to_end: bool = setting(
        True,
        "Let clients that can do that keep their secret keys: what they say to their peers passes through here as"
        " cipher text.",
    )
    announce: bool | None = setting(
        None,
        "Announce the topics of clients that cannot say whether to, as JavaScript ones.  The default in the local"
        " network, where nobody could find them else.",
        bool,
    )
    announce_tcp: tuple[str, ...] = setting(
        (),
        "TOPIC=HOST:PORT, a TCP service for clients of this server to find under a topic, which is a text or 64 hex"
        " digits.  May be repeated.",
    )
    token_file: str | None = setting(
        None,
        "File with the tokens of which a client must have one: one in a line; lines that start with # are comments."
        " It is read again on SIGHUP.",
        str,
    )
    allow_anyone: bool = setting(
        False, "Listen beyond this machine although neither tokens nor client certificates are asked for."
    )
    grace: float = setting(30.0, "Seconds that clients are given to end by themselves when the server stops.")
    metrics: str | None = setting(
        None,
        "Where to show counters to Prometheus, over HTTP at /metrics: an endpoint, as tcp:4979:interface=127.0.0.1."
        "  By default nowhere.",
        str,
    )
    log_level: str = setting("info", f"What to log: {', '.join(LOG_LEVELS)}.")
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _check_choice("network", self.network, NETWORKS)
        _check_choice("log_level", self.log_level, LOG_LEVELS)
        if not self.listen:
            raise SettingsError("listen: at least one endpoint is needed")
        for name in ("grace", "identity_grace"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name}: must not be negative, as {getattr(self, name):g} is")
        _check("announce_tcp", self.services)
        self._check_node()

    def _check_node(self) -> None:
        _check_choice("profile", self.profile, tuple(PROFILES))
        _check("bootstrap", lambda: [BootstrapNode.parse(text) for text in self.bootstrap])
        _check("host", lambda: address_of(self.host, 0))
        if self.port is not None and not 0 <= self.port <= 65535:
            raise SettingsError(f"port: must be 0 to 65535, not {self.port}")

    @property
    def announces(self) -> bool:
        """Are the topics announced of clients that can't say?"""
        return self.network == "local" if self.announce is None else self.announce

    @property
    def node_options(self) -> dict[str, Any]:
        """What the settings say of the node, as :class:`~spaceswarm_proxy.peering.node.DHTNode` takes it."""
        return {
            "profile": self.profile,
            "bootstrap": self.bootstrap or None,
            "host": self.host,
            "port": self.port,
            "any_port": self.port is None,
            "state": self.state,
            "ephemeral": self.ephemeral,
        }

    def services(self) -> list[TCPService]:
        """What :attr:`announce_tcp` says."""
        return [TCPService.parse(text) for text in self.announce_tcp]

    def tokens(self) -> tuple[bytes, ...]:
        """
        Read the token file, if there is one.

        :raises SettingsError: it can't be read, or holds none.
        """
        return () if self.token_file is None else read_tokens(self.token_file)


def read_tokens(path: str) -> tuple[bytes, ...]:
    """
    The tokens in a file, one in a line; empty lines and those that start with ``#`` are passed over.

    :raises SettingsError: the file can't be read, or holds none: with no tokens, everybody would be let in.
    """
    lines = (line.strip() for line in _read(path, "token_file").splitlines())
    tokens = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not tokens:
        raise SettingsError(f"token_file: {path} holds no token")
    return tokens


def _read(path: str, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise SettingsError(f"{name}: {path}: {problem.strerror}") from problem


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name}: {value!r} is none of: {', '.join(choices)}")


def _check(name: str, read: Callable[[], object]) -> None:
    try:
        read()
    except ValueError as problem:
        raise SettingsError(f"{name}: {problem}") from problem


# From text and tables to settings.

#: What a value must be, for people.
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list of texts"}


def own_fields(cls: type) -> dict[str, Field[Any]]:
    """The fields of :class:`Settings` (without ``limits``) or :class:`Limits`, by name."""
    return {each.name: each for each in fields(cls) if each.name != "limits"}


def kind_of(setting: Field[Any]) -> type:
    """What its values are: ``int``, ``float``, ``bool``, ``str`` or ``tuple`` (of ``str``)."""
    kind: type = setting.metadata.get("kind") or type(setting.default)
    return kind


def from_text(kind: type, text: str) -> Any:
    """
    A value given as text.

    :raises ValueError: the text is none of that kind.
    """
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"must be {_KINDS[kind]}, not {text!r}") from None
    return _finite(value)


def from_toml(kind: type, value: object) -> Any:
    """
    A value from a TOML file.

    :raises ValueError: it is none of that kind.
    """
    if kind is float and type(value) is int:
        value = float(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = tuple(value)
    if type(value) is not kind:
        raise ValueError(f"must be {_KINDS[kind]}, not {value!r}")
    return _finite(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a number, not {value}")
    return value


def load(path: str) -> dict[str, Any]:
    """
    Read a configuration file.

    :returns: what it sets, by the settings' names; ``limits`` is such a dictionary again.
    :raises SettingsError: it can't be read, or a key or value in it can't be; the message names both.
    """
    try:
        table = tomllib.loads(_read(path, "config").decode())
    except ValueError as problem:
        raise SettingsError(f"config: {path}: {problem}") from problem
    limits = table.pop("limits", {})
    if not isinstance(limits, dict):
        raise SettingsError(f"config: {path}: limits must be a table: [limits]")
    return {
        **_checked(table, own_fields(Settings), f"config: {path}: "),
        "limits": _checked(limits, own_fields(Limits), f"config: {path}: limits."),
    }


def _checked(table: Mapping[str, Any], known: Mapping[str, Field[Any]], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            hint = "; it belongs under [limits]" if name in own_fields(Limits) else ""
            raise SettingsError(f"{where}{key}: there is no such setting{hint}")
        if name in values:
            raise SettingsError(f"{where}{key}: it is set twice")
        try:
            values[name] = from_toml(kind_of(known[name]), value)
        except ValueError as problem:
            raise SettingsError(f"{where}{key}: {problem}") from problem
    return values


def build(*layers: Mapping[str, Any]) -> Settings:
    """
    Put settings together.

    :param layers: dictionaries as :func:`load` gives them; later ones win.
    :raises SettingsError: something can't be.
    """
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for layer in layers:
        values.update(layer)
        limits.update(values.pop("limits", {}))
    for name in ("token_file", "state"):  # they are used again when a daemon has long gone elsewhere
        if values.get(name):
            values[name] = os.path.abspath(values[name])
    try:
        return Settings(**values, limits=Limits(**limits))
    except SettingsError:
        raise
    except ValueError as problem:
        raise SettingsError(str(problem)) from problem


def as_toml(settings: Settings) -> str:
    """The settings as a configuration file that sets every one of them."""
    lines = _toml_lines(settings, own_fields(Settings))
    return "\n".join([*lines, "", "[limits]", *_toml_lines(settings.limits, own_fields(Limits))])


def _toml_lines(values: Settings | Limits, names: Iterable[str]) -> list[str]:
    # JSON's texts, numbers, lists and truth values are TOML's too.
    pairs = ((name, getattr(values, name)) for name in names)
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in pairs if value is not None]
