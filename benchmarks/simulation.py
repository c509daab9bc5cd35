"""
A whole network on a virtual clock: do lookups find what was announced, and what does it cost?

    .venv/bin/python benchmarks/simulation.py                                             # 10,000 nodes
    .venv/bin/python benchmarks/simulation.py --nodes 1000 --liars 0.33 --lookups 3000    # a third of them lie

The nodes join in waves.  Then they live for some time: they leave without a word, others come in their place, some of
them announce records and repeat that every ten to twelve minutes, and some look records up.  A lookup is good when it
finds the record, whose announcer was there all the time.  All nodes are real ones (``NodeCore``), without sockets; see
``simulated_network.py`` for what is between them, ``simulated_life.py`` for what they do, ``liars.py`` for the lies.

The same arguments give the same figures but for those of this machine: CPU time and memory.

``tests/benchmarks/test_simulation.py`` plays small ones.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from math import inf
from pathlib import Path

# Run as a program, a file sees only its own directory.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.simulated_life import Life, Outcome, Scenario
from benchmarks.soak import resident_memory

OPTIONS = {
    "nodes": "how many there are, all the time",
    "lookups": "how many, spread over the time",
    "records": "how many are announced at a time",
    "minutes": "how long the network is watched, after all have joined",
    "growth": "what joins in a second, as a share of those who are there",
    "life": "minutes after which half of those who have joined are gone; 0: nobody goes",
    "loss": "share of datagrams that are lost",
    "shortest_ms": "shortest delay of a datagram, in milliseconds",
    "longest_ms": "longest one",
    "nat": "share of nodes behind an address translation",
    "adaptive": "share of the others that find out by themselves that they can be reached",
    "liars": "share of nodes that lie",
    "seed": "of the random numbers",
}


@dataclass
class Cost:
    """What it has taken of this machine."""

    cpu_seconds: float
    #: Bytes in memory in the end, beyond what was there before the first node.
    resident: int
    #: Bytes of the whole process, when they were most.
    peak: int


def measured(scenario: Scenario, narrate: Callable[[str], None]) -> tuple[Outcome, Cost]:
    """Play a scenario, and watch this process meanwhile."""
    # Little becomes garbage of the kind that has to be collected, and there is much to be looked through.
    gc.freeze()
    gc.set_threshold(100_000, 20, 10)
    before = resident_memory()
    begun = time.process_time()
    life = Life(scenario)
    outcome = life.play(narrate)
    spent = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    gc.collect()
    return outcome, Cost(spent, resident_memory() - before, peak)


def table(scenario: Scenario, outcome: Outcome, cost: Cost) -> str:
    """:returns: all figures, in Markdown."""
    missed = ", ".join(map(str, outcome.holders_of_missed[:20])) or "-"
    rows = [
        ("nodes; persistent ones; left and replaced", f"{outcome.nodes:,}; {outcome.persistent:,}; {outcome.left:,}"),
        ("virtual time", f"{outcome.virtual_seconds:,.0f} s"),
        ("nodes in a routing table, mean", f"{outcome.table_size:.0f}"),
        ("datagrams; lost ones", f"{outcome.datagrams:,}; {outcome.lost:,}"),
        ("announces; failed; copies, mean", f"{outcome.announces:,}; {outcome.failed_announces}; {outcome.copies:.1f}"),
        ("lookups; that found the live record", f"{outcome.lookups:,}; {outcome.found:,} ({outcome.success:.3%})"),
        ("holders that there were when a lookup missed", missed),
        ("lookups that do not count; that never ended", f"{outcome.abandoned}; {outcome.stuck}"),
        ("of the 20 nearest nodes, found", f"{outcome.recall:.1%}"),
        ("requests of a lookup, median; p99", "{:.0f}; {:.0f}".format(*outcome.requests)),
        ("datagrams of a lookup, median; p99", "{:.0f}; {:.0f}".format(*outcome.messages)),
        ("until the record is found, median; p99", "{:.2f} s; {:.2f} s".format(*outcome.seconds_until_found)),
        ("until the lookup ends, median; p99", "{:.2f} s; {:.2f} s".format(*outcome.seconds)),
        ("datagrams received a second, median; busiest node", "{:.2f}; {:.2f}".format(*outcome.load)),
        ("busiest node to median", f"{outcome.load[1] / (outcome.load[0] or inf):.1f}"),
        ("memory of a node", f"{cost.resident / outcome.nodes / 1024:.1f} KiB"),
        ("memory of the process, peak", f"{cost.peak / 2**20:,.0f} MiB"),
        ("CPU time", f"{cost.cpu_seconds:.1f} s"),
        ("CPU time of a datagram", f"{cost.cpu_seconds / outcome.datagrams * 1e6:.1f} us"),
    ]
    title = ", ".join(f"{item.name} {getattr(scenario, item.name):g}" for item in fields(scenario))
    return "\n".join([title, "", "| figure | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def parsed(arguments: list[str] | None = None) -> Scenario:
    """:returns: what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, help in OPTIONS.items():
        default = getattr(Scenario, name)
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help=f"{help} (default: {default:g})")
    return Scenario(**vars(parser.parse_args(arguments)))


def main() -> None:
    scenario = parsed()
    outcome, cost = measured(scenario, partial(print, file=sys.stderr, flush=True))
    print(table(scenario, outcome, cost))


if __name__ == "__main__":
    main()
