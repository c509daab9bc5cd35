"""The one place that names the global reactor."""

from __future__ import annotations

from typing import Any


def or_global(reactor: Any | None) -> Any:
    """
    :param reactor: the caller's own, or ``None``.
    :returns: it, or the process's; that is imported (and so installed) only when it is needed.
    """
    if reactor is not None:
        return reactor
    from twisted.internet import reactor as installed

    return installed
