"""Results of runs with kills."""

import statistics
from collections import Counter
from dataclasses import dataclass, field

READY = 5.0
"""Time within which what was killed promises to be ready again. [s]"""


@dataclass
class Tally:
    """What the runs came to."""

    faults: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    killed: Counter = field(default_factory=Counter)
    ready: dict[str, list[float]] = field(default_factory=dict)
    samples: int = 0
    again: int = 0
    points: int = 0
    points_gone: int = 0
    points_kept: int = 0

    def figures(self) -> dict[str, object]:
        """Return them in short."""
        found: dict[str, object] = {
            "killed": dict(self.killed),
            "batches_read_back": self.samples,
            "batches_sent_again": self.again,
            "acknowledged_points": self.points,
            "points_that_mosquitto_lost": self.points_gone,
            "points_that_nats_kept_back": self.points_kept,
            "faults": self.faults,
        }
        for target, times in self.ready.items():
            found[f"ready_{target}"] = {
                "measured": len(times),
                "within_5_s": sum(one <= READY for one in times),
                "median_s": round(statistics.median(times), 2),
                "worst_s": round(max(times), 2),
            }
        return found
