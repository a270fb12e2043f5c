"""What the audit record says of a quarter-hour."""

from collections.abc import Mapping

import numpy as np

from optimizer.service.audit import NO_PLAN, NONE_EVENT
from optimizer.service.picture import show_decision, stamp
from optimizer.service.pilot import Outcome
from telemetry.apart import told as told_apart
from twin.exchange import net_import


def decided(outcome: Outcome, *, revision: int, is_shadow: bool) -> Mapping[str, object]:
    """Return the entry of a decision.

    Parameters
    ----------
    outcome
        What was decided.
    revision
        Of its document.
    is_shadow
        Whether nothing was ordered.
    """
    told = show_decision(outcome, revision) or {}
    covered = outcome.choice.coverage
    degraded = str(told.get("degraded", ""))
    wrong = (outcome.choice.reason, degraded, told_apart(outcome.apart), *outcome.absent)
    return {
        "event": "decision",
        "start": stamp(outcome.time),
        "is_shadow": is_shadow,
        **told,
        "degraded": "; ".join(filter(None, wrong)),
        "failures": covered.reached() if covered else [],
        "said": list(outcome.estimate.said),
        "grid_power_mw": [
            round(value, 3) for value in net_import(outcome.choice.schedule).to_numpy().tolist()
        ],
        "jobs": {str(job): round(cap, 4) for job, cap in outcome.orders.jobs.items()},
    }


def undecided(now: np.datetime64, reason: str, *, is_shadow: bool) -> Mapping[str, object]:
    """Return the entry of a quarter-hour that has no plan, and why."""
    told = {"start": stamp(now), "is_shadow": is_shadow, "source": NO_PLAN}
    return {"event": NONE_EVENT, **told, "degraded": reason}
