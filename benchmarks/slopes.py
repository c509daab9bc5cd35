"""Is a figure flat over time?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import linear_regression


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """
    How fast a figure grows, by least squares.

    :param times: seconds, at least two different ones.
    :returns: the change of the values in a minute.
    """
    return 60.0 * linear_regression(times, values).slope
