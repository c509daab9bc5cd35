"""The command line of ``twistd spaceswarm-proxy``: every setting, and every limit, is an option."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import Field
from typing import Any

from twisted.python import usage

from spaceswarm_proxy import __version__
from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.service import listening
from spaceswarm_proxy.service.settings import (
    Settings,
    SettingsError,
    as_toml,
    build,
    from_text,
    kind_of,
    load,
    own_fields,
)

_SETTINGS = own_fields(Settings)
_LIMITS = own_fields(Limits)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _parameters(known: dict[str, Field[Any]]) -> Iterator[list[Any]]:
    """``usage``'s rows for the settings that take one value; the default stays away, to tell whether one was given."""
    for name, each in known.items():
        if kind_of(each) in (int, float, str):
            default = "" if each.default is None else f" [default: {each.default}]"
            yield [_dashed(name), None, None, each.metadata["help"] + default]


def _repeatable(name: str) -> Callable[[Any, str], None]:
    def option(self: Any, text: str) -> None:
        self[name] = (*self.get(name, ()), text)

    option.__doc__ = _SETTINGS[name].metadata["help"]
    return option


def _switch(name: str, value: bool, help: str = "") -> Callable[[Any], None]:
    def option(self: Any) -> None:
        self[name] = value

    option.__doc__ = help or _SETTINGS[name].metadata["help"]
    return option


class Options(usage.Options):
    """
    The command line.

    :ivar settings: what came of it, together with the configuration file; there after ``parseOptions``.
    """

    synopsis = "[options]"
    longdesc = (
        "A proxy server for the Spaceswarm and Hyperswarm peer-to-peer networks.  It is a node of one of them, and"
        " listens for clients on this machine only, with TCP on port 4978 and WebSockets on port 4977, unless told"
        " otherwise."
    )
    optParameters = [
        ["config", None, None, "TOML file with settings; the names are those of the options, limits under [limits]."],
        *_parameters(_SETTINGS),
        *_parameters(_LIMITS),
    ]
    optFlags = [["check-config", None, "Only look whether all settings are right, print them, and exit."]]
    opt_listen = _repeatable("listen")
    opt_bootstrap = _repeatable("bootstrap")
    opt_announce_tcp = _repeatable("announce_tcp")
    opt_announce = _switch("announce", True)
    opt_no_announce = _switch("announce", False, "Announce only for clients that ask for it.")
    opt_ephemeral = _switch("ephemeral", True)
    opt_no_ephemeral = _switch("ephemeral", False, "Answer and store for others as soon as the address is known.")
    opt_end_to_end = _switch("end_to_end", True)
    opt_no_end_to_end = _switch("end_to_end", False, "Have the clients' secret keys, and do all in their names.")
    opt_allow_anyone = _switch("allow_anyone", True)

    settings: Settings

    def __init__(self, reactor: Any = None) -> None:
        super().__init__()
        self._reactor = reactor

    def parseOptions(self, options: list[str] | None = None) -> None:
        """
        See ``usage.Options``.

        :raises usage.UsageError: something is wrong.
        :raises SystemExit: the same, under ``twistd``, which would print its own usage instead of one clear line.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as problem:
            if self.parent is None:
                raise
            raise SystemExit(f"spaceswarm-proxy: {problem}") from None

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"spaceswarm-proxy {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        try:
            self.settings = self._settings()
            self._check_endpoints()
            self._check_twistd_files()
        except SettingsError as problem:
            raise usage.UsageError(str(problem)) from None
        if self["check-config"]:
            print(f"configuration ok\n\n{as_toml(self.settings)}")
            raise SystemExit(0)

    def _settings(self) -> Settings:
        from_file = {} if self["config"] is None else load(self["config"])
        settings = build(from_file, self._given(_SETTINGS), {"limits": self._given(_LIMITS)})
        settings.tokens()
        listening.check_exposure(settings)
        return settings

    def _given(self, known: dict[str, Field[Any]]) -> dict[str, Any]:
        """What the command line sets."""
        values = {}
        for name, each in known.items():
            value = self.get(name, self.get(_dashed(name)))
            if value is not None:
                values[name] = _convert(name, each, value) if isinstance(value, str) else value
        return values

    def _check_endpoints(self) -> None:
        reactor = or_global(self._reactor)
        for text in self.settings.listen:
            listening.endpoint(reactor, text)
        if self.settings.metrics is not None:
            listening.endpoint(reactor, self.settings.metrics, "metrics")

    def _check_twistd_files(self) -> None:
        """twistd would show a traceback for these."""
        for name in ("pidfile", "logfile"):
            path = None if self.parent is None else self.parent.get(name)
            if path and path != "-" and not _writable(os.path.abspath(path)):
                raise SettingsError(f"{name}: {path} can't be written; twistd's --{name} names another")


def _convert(name: str, setting: Field[Any], text: str) -> Any:
    try:
        return from_text(kind_of(setting), text)
    except ValueError as problem:
        raise SettingsError(f"--{_dashed(name)}: {problem}") from None


def _writable(path: str) -> bool:
    return os.access(path if os.path.exists(path) else os.path.dirname(path), os.W_OK) and not os.path.isdir(path)
