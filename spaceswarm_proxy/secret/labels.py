"""
What a network's encrypted streams may be bound to, where that is not certain.

A client speaks first, and so it has to choose one of several *labels*; a server that calls it otherwise ends the
connection, and may have said what it calls it, or not.  Then all begins anew with that label, or the next one; and what
a server has understood is what later attempts begin with.

:source: spec/connect.md, section 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from spaceswarm_proxy.errors import HandshakeError, StreamResetError

#: The violation of a server that is bound to another label than we have chosen.
_OTHER_LABEL = "other-label"


class Labels:
    """Those of one network, and what is known of them by now."""

    def __init__(self, labels: Sequence[str]) -> None:
        """:param labels: the likeliest first; at least one."""
        self.all = tuple(labels)
        #: Has a server understood the first of them?
        self.are_certain = len(self.all) == 1

    def understood(self, label: str) -> None:
        """A server has understood this one: it is the likeliest from now on."""
        self.are_certain = True
        if label != self.all[0]:
            self.all = (label, *(other for other in self.all if other != label))

    def left(self, tried: Sequence[str], problem: BaseException) -> tuple[str, ...]:
        """
        :param tried: the labels that an attempt had, of which it has chosen the first.
        :param problem: what it came to.
        :returns: those that are worth another attempt.
        """
        if isinstance(problem, HandshakeError) and problem.kind == _OTHER_LABEL:
            return (problem.detail,)
        if isinstance(problem.__cause__, StreamResetError) and not self.are_certain:
            return tuple(tried[1:])
        return ()


def check_label(chosen: str, heard: str | None) -> None:
    """
    The server has been heard: if it has another label than we have chosen, it will not understand us.

    :raises HandshakeError: so it is.
    """
    if heard != chosen:
        raise HandshakeError(_OTHER_LABEL, str(heard))
