"""How far files have come, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.task import LoopingCall

from spaceswarm_proxy.commands.output import Output

#: Seconds between two events, and two states of the line on a terminal.
INTERVAL = 1.0
#: Intervals between two lines where each stays.
EACH_LINE = 10
#: Characters of a bar.
BAR = 20
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


class Transfer:
    """One file on its way, to or from one peer."""

    def __init__(self, remote_key: str, size: int, offset: int) -> None:
        """
        :param remote_key: the peer's public key, in hex.
        :param size: of the file, in bytes.
        :param offset: how much was there before.
        """
        self.remote_key = remote_key
        self.size = size
        self.done = offset
        self._told = offset

    def more(self, count: int) -> None:
        """So many bytes have come or gone."""
        self.done += count

    @property
    def _part(self) -> float:
        return self.done / self.size if self.size else 1.0

    def text(self) -> str:
        """:returns: where it is, how fast since the last call, and how long it takes at that pace."""
        done, self._told, before = self.done, self.done, self._told
        pace = (done - before) / INTERVAL
        left = f", {duration((self.size - done) / pace)} left" if pace else ""
        return f"{int(100 * self._part)} % of {amount(self.size)}, {amount(pace)}/s{left}"

    def bar(self) -> str:
        """:returns: the same as a picture."""
        return f"[{'=' * int(BAR * self._part):{BAR}}]"


class Meter:
    """Tells of all transfers that are under way, every :data:`INTERVAL`."""

    def __init__(self, reactor: Any, output: Output) -> None:
        self._output = output
        self._transfers: list[Transfer] = []
        self._intervals = 0
        self._ticking = LoopingCall(self._tell)
        self._ticking.clock = reactor

    @contextmanager
    def watching(self, transfer: Transfer) -> Iterator[Transfer]:
        """While the body runs, it is told how far this one is."""
        self._transfers.append(transfer)
        if not self._ticking.running:
            self._ticking.start(INTERVAL, now=False)
        try:
            yield transfer
        finally:
            self._transfers.remove(transfer)
            if not self._transfers:
                self._ticking.stop()
                self._output.narrator.clear()

    def _tell(self) -> None:
        # That nobody reads it is for the result to find out.
        with suppress(OSError):
            for each in self._transfers:
                self._output.event("progress", remote_public_key=each.remote_key, done=each.done, size=each.size)
        text, bar = self._line()
        self._intervals += 1
        self._output.narrator.rewrite(bar + text, otherwise=None if self._intervals % EACH_LINE else text)

    def _line(self) -> tuple[str, str]:
        """:returns: where all are, and a picture of it if there is one alone."""
        if len(self._transfers) == 1:
            return self._transfers[0].text(), f"{self._transfers[0].bar()} "
        return "; ".join(f"{each.remote_key[:8]}: {each.text()}" for each in self._transfers), ""


def duration(seconds: float) -> str:
    """:returns: so many seconds, for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def amount(count: float) -> str:
    """:returns: so many bytes, for people: three digits or so."""
    power = 0
    while count >= 1000 and power < len(UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.3g} {UNITS[power]}" if power and count < 100 else f"{count:.0f} {UNITS[power]}"
