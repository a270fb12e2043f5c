"""Kill the processes that bring telemetry into the archive, then the service itself.

So many kills of each; see :mod:`soak.ingest` and :mod:`soak.kills`, which are
`./dev soak ingest` and `./dev soak kills.service` by themselves.
"""

import time
from collections.abc import Callable

from soak import ingest, kills

COUNT = kills.COUNT
"""Kills of either by default."""

A_DAY = 24.0
"""Longest simulated day of the service. [h]"""

type Say = Callable[[str], None]


def run(
    count: int, *, seed: int, hours: float | None, broker: str | None, say: Say
) -> dict[str, object]:
    """Kill so often, and return the figures of both.

    Parameters
    ----------
    count
        Kills of each stage.
    seed
        Of all that is drawn.
    hours
        Length of a simulated day of the service; a quarter-hour for each kill if None. [h]
    broker
        URL of the broker of the service, else one of our own.
    say
        Called with lines of progress.
    """
    begun = time.monotonic()
    say(f"{count} kills of ingesters, archiver, brokers and source")
    first = ingest.run(count, seed=seed, say=say)
    say(f"{count} kills of the service")
    day = hours or min(A_DAY, count / kills.QUARTERS)
    second = kills.run(count, seed=seed, hours=day, broker=broker, say=say)
    seeds = [one for figures in (first, second) for one in figures["seeds_of_broken"]]
    return {
        "count": first["count"] + second["count"],
        "broken": first["broken"] + second["broken"],
        "seeds_of_broken": sorted(set(seeds)),
        "seconds": round(time.monotonic() - begun, 1),
        "ingest": first,
        "service": second,
    }
