"""
Is the network there?  From how many requests are answered, and how many are not.

:source: npm ``dht-rpc``; spec/dht.md, section 12.4.
"""

from __future__ import annotations

from collections import deque

#: Ticks that are looked at together.
_WINDOW = 4
#: Requests that must have ended in a tick for it to say anything.
_FEWEST = 4
#: Ticks without any answer after which we are offline.
_SILENT = 2


class Health:
    """Whether the node is online, and whether much is lost."""

    def __init__(self) -> None:
        self.online = True
        self.degraded = False
        # Per tick: answers, and requests without one.
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_WINDOW)

    def reset(self) -> None:
        """Forget what was; as after a sleep."""
        self._ticks.clear()
        self.online = True
        self.degraded = False

    def tick(self, answered: int, timed_out: int) -> bool:
        """
        A tick is over.

        :returns: whether :attr:`online` or :attr:`degraded` has changed.
        """
        before = self.online, self.degraded
        if answered:
            self.online = True
        if answered + timed_out >= _FEWEST:
            self._ticks.append((answered, timed_out))
            self._judge()
        return before != (self.online, self.degraded)

    def _judge(self) -> None:
        ticks = list(self._ticks)
        if len(ticks) >= _SILENT and not any(answered for answered, _ in ticks[-_SILENT:]):
            self.online = False
        if len(ticks) == _WINDOW:
            bad = [timed_out > answered for answered, timed_out in ticks]
            if all(bad):
                self.degraded = True
            elif not any(bad):
                self.degraded = False
