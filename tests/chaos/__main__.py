"""``python -m tests.chaos``: as long, and from as many seeds, as you like."""

from __future__ import annotations

import argparse
import secrets
import sys
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.chaos.checker import NotWholeError
from tests.chaos.run import Chaos
from tests.chaos.world import temporary


def parse() -> argparse.Namespace:
    """:returns: the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="by default at random")
    parser.add_argument("--profile", default="spaceswarm")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds that a fault lasts at most")
    return parser.parse_args()


async def main(reactor: Any) -> None:
    """Run it; the exit status is 1 if somebody did not find back."""
    options = parse()
    say = partial(print, flush=True)
    say(f"seed {options.seed}")
    with TemporaryDirectory() as directory:
        chaos = Chaos(
            reactor,
            temporary(directory),
            seed=options.seed,
            profile=options.profile,
            longest=options.longest,
            say=say,
        )
        try:
            await chaos.run(options.seconds)
        except NotWholeError as problem:
            say(problem)
            sys.exit(1)
    times = sorted(chaos.times)
    say(
        f"{len(times)} episodes; whole again after {times[len(times) // 2]:.1f} s (median), {times[-1]:.1f} s (longest)"
    )


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
