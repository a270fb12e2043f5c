"""Run a site for so many simulated hours, and kill its service at intervals.

Each simulated day has a seed of its own, the first the one that is asked for. What a killed service
owes is what :mod:`soak.kills` holds it to, which kills as often as it can.
"""

import time
from collections.abc import Callable

from soak import kills

COUNT = 24
"""Site-hours by default. [h]"""

A_DAY = 24
"""Longest simulated day. [h]"""

APART = 2
"""Simulated time from kill to kill, in the mean. [h]"""

type Say = Callable[[str], None]


def run(count: int, *, seed: int, broker: str | None, say: Say) -> dict[str, object]:
    """Run so many site-hours, and return what was broken.

    Parameters
    ----------
    count
        Site-hours. [h]
    seed
        Of the first day; each later one has the next.
    broker
        URL of a broker, else one of our own.
    say
        Called with lines of progress.
    """
    begun, days = time.monotonic(), []
    for number, done in enumerate(range(0, count, A_DAY)):
        hours = min(A_DAY, count - done)
        say(f"{hours} h with seed {seed + number}")
        many = max(hours // APART, 1)
        days.append(kills.run(many, seed=seed + number, hours=hours, broker=broker, say=say))
    return {
        "count": count,
        "broken": sum(day["broken"] for day in days),
        "seeds_of_broken": [seed for day in days for seed in day["seeds_of_broken"]],
        "seconds": round(time.monotonic() - begun, 1),
        "kills": sum(day["count"] for day in days),
        "days": days,
    }
