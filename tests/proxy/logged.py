"""What was logged as a failure, for tests that are not trial's."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogPublisher


class Logged:
    """Keeps the failures that are logged until it is closed."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        globalLogPublisher.addObserver(self)

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("log_failure") is not None or event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            self.problems.append(f"{formatEvent(event)}\n{failure.getTraceback() if failure else ''}")

    def close(self) -> list[str]:
        """:returns: the failures."""
        globalLogPublisher.removeObserver(self)
        return self.problems
