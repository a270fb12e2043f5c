"""What DSX Flex says in our own units: targets of load, and how it stands with a feed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

type Event = Literal[
    "target_set", "start_ramp_down", "end_ramp_down", "start_ramp_up", "end_ramp_up", "periodic"
]
"""Why a power state is published."""


@dataclass(frozen=True, kw_only=True)
class LoadTarget:
    """One target of a message.

    Attributes
    ----------
    start, end
        From when to when, UTC; None for now, and for until it is replaced.
    feeds
        Feeds that it is for; none for all.
    power
        Most that they may take; None lifts what was set before. [MW]
    is_best_effort
        Whether work is to be slowed down only, not interrupted.
    """

    start: np.datetime64 | None
    end: np.datetime64 | None
    feeds: tuple[str, ...]
    power: float | None
    is_best_effort: bool


@dataclass(frozen=True, kw_only=True)
class LoadTargets:
    """A message that sets load targets.

    Attributes
    ----------
    correlation
        What its confirmation has to carry.
    time
        When the sender says that it was made, UTC.
    trace
        Its trace context.
    signed
        The signed text, as it came.
    targets
        What it sets.
    """

    correlation: str
    time: np.datetime64
    trace: str
    signed: str
    targets: tuple[LoadTarget, ...]


@dataclass(frozen=True, kw_only=True)
class FeedTarget:
    """A target as a power state tells it.

    Attributes
    ----------
    target
        The target, with its start.
    is_active
        Whether it is in force now.
    correlation
        Of the message that set it.
    """

    target: LoadTarget
    is_active: bool
    correlation: str


@dataclass(frozen=True, kw_only=True)
class FeedState:
    """How it stands with one feed; powers in MW.

    Attributes
    ----------
    least, most
        Least target that is kept to whoever sets it, and what it can take. [MW]
    targets
        Targets in force and to come.
    load
        What it is planned to take now, or, where no plan is of now, what is measured. [MW]
    is_in_flight
        Whether the meter still moves towards that, after a change of its target.
    event
        Why it is told.
    since
        When the tightest target in force began; None if none is.
    is_compliant
        Whether the load is planned within the target; never without a plan.
    """

    least: float
    most: float
    targets: Sequence[FeedTarget]
    load: float
    is_in_flight: bool
    event: Event
    since: np.datetime64 | None
    is_compliant: bool
