"""What two kinds of program cost on identical work, and the ratio of it, as the tables of these benchmarks have it."""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from benchmarks.proxy import machine

#: Every figure of every run, by name and kind.
Figures = dict[tuple[str, str], list[float]]


@dataclass(frozen=True)
class Row:
    """A line of the table: a figure of theirs, one of ours, and the bounds of the ratio, if it is to have any."""

    title: str
    theirs: tuple[str, str]
    ours: tuple[str, str]
    must: float | None = None
    aim: float | None = None
    more_is_better: bool = False
    #: Is it our figure itself that is bounded, whatever theirs is?
    absolute: bool = False


def line(row: Row, figures: Figures) -> str:
    """:returns: a line of the table."""
    theirs, ours = statistics.median(figures[row.theirs]), statistics.median(figures[row.ours])
    ratio = ours / theirs if theirs else inf
    bounds = "| |" if row.must is None else f"{row.must:g} | {row.aim:g} |"
    meant = verdict(row, ours if row.absolute else ratio)
    return f"| {row.title} | {theirs:.3g} | {ours:.3g} | {ratio:.2f} | {bounds} {meant} |"


def verdict(row: Row, ratio: float) -> str:
    """:returns: what the ratio means, or the figure that is bounded itself."""
    if row.must is None or row.aim is None:
        return ""
    sign = -1 if row.more_is_better else 1
    if sign * ratio <= sign * row.aim:
        return "aim reached"
    return "ok" if sign * ratio <= sign * row.must else "missed"


def options(about: str | None) -> argparse.Namespace:
    """:returns: what the command line asks for: ``runs``, ``scale`` and ``node``."""
    return options_parser(about).parse_args()


def options_parser(about: str | None) -> argparse.ArgumentParser:
    """:returns: a parser of these, for more to be added."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="the median of so many (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of the work (default: 1)")
    parser.add_argument("--node", default=shutil.which("node") or "node", help="the Node.js program")
    return parser


def print_table(theirs: str, rows: Sequence[Row], figures: Figures, runs: int, scale: float) -> None:
    """:param theirs: what the other kind is called."""
    print(f"{machine()}; median of {runs}, scale {scale:g}\n")
    print(f"| work | {theirs} | ours | ratio | must | aim | |\n" + "| --- " * 7 + "|")
    for row in rows:
        print(line(row, figures))
