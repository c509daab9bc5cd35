"""What many connections may hold together."""

from __future__ import annotations


class Budget:
    """Counts bytes that many hold, against one limit; who asks for more when it is used up is to be closed."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        """:param limit: bytes."""
        self.limit = limit
        self.held = 0

    def change(self, growth: int) -> bool:
        """
        Somebody holds more, or less.

        :returns: whether that is within the limit; giving back always is.
        """
        self.held += growth
        return growth <= 0 or self.held <= self.limit
