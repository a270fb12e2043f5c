"""How it stands with a partner: what it answered last, whether it is silent, and what is in force.

What is wrong is an alarm: silence, a rejection, or that nothing it accepted is in force any more.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from telemetry.codec.documents import Acknowledgement
from telemetry.codec.strict import moment
from telemetry.grid.revisions import Memory, Sent
from twin.axes import to_second
from twin.errors import one_line

REASON: Final = 300
"""Letters of a partner's reasons that are kept. [1]"""

State = Literal["none", "waiting", "acknowledged", "overdue", "rejected", "lapsed"]
"""The last three are wrong; of several the first of them is told."""


@dataclass(frozen=True)
class Standing:
    """How it stands with a partner.

    Attributes
    ----------
    state
        In a word.
    words
        What is wrong, the partner's reasons too; empty if nothing is.
    """

    state: State
    words: str = ""


def standing(
    partner: str, memory: Memory, now: np.datetime64, *, timeout: np.timedelta64
) -> Standing:
    """Return how it stands with a partner.

    Parameters
    ----------
    partner, memory
        Who, and what was sent to it and answered.
    now
        The moment, UTC.
    timeout
        Time in which a document has to be answered.

    Returns
    -------
    Standing
        ``rejected`` goes by the newest document that was answered, so it stays while a newer one
        waits. An answer to a later document makes up for those before it, which it supersedes.
    """
    if not memory.sent:
        return Standing("none")
    before = now - timeout
    told: dict[State, str] = {
        "overdue": _silence(partner, memory, before),
        "rejected": _rejection(partner, memory),
        "lapsed": _lapse(partner, memory, now, before),
    }
    wrong = {state: words for state, words in told.items() if words}
    if wrong:
        return Standing(next(iter(wrong)), "; ".join(wrong.values()))
    return Standing("acknowledged" if memory.sent[-1].answer else "waiting")


def reasons(answer: Acknowledgement) -> str:
    """Return why a partner answered as it did, on one line that is safe to show, and short."""
    told = "; ".join(f"{one['code']} {one['text']}" for one in answer["reasons"])
    return one_line(told, REASON)


def _silence(partner: str, memory: Memory, before: np.datetime64) -> str:
    """Return since when a partner answers nothing of what it got before some moment."""
    waiting: list[Sent] = []
    for sent in memory.sent:
        waiting = [] if sent.answer else [*waiting, sent]
    if not waiting or _at(waiting[0].at) >= before:
        return ""
    since, newest = to_second(_at(waiting[0].at)), waiting[-1].revision
    return f"{partner} has acknowledged nothing since {since}, also not {newest}"


def _rejection(partner: str, memory: Memory) -> str:
    """Return what a partner rejected and why, if it did so with the newest that it answered."""
    newest = next((sent for sent in reversed(memory.sent) if sent.answer), None)
    if newest is None or newest.answer != "A02":
        return ""
    force = memory.in_force
    stays = f"{force.revision} is the last that it accepted" if force else "it accepted none"
    why = f" ({newest.reasons})" if newest.reasons else ""  # older versions kept none
    return f"{partner} rejected {newest.revision}{why}, {stays}"


def _lapse(partner: str, memory: Memory, now: np.datetime64, before: np.datetime64) -> str:
    """Return since when nothing is in force, unless a newer document may still be answered.

    What older versions kept does not tell how long it is valid.
    """
    force = memory.in_force
    if force is None or not force.until or _at(force.until) > now:
        return ""
    is_due = _at(memory.sent[-1].at) < before
    since = to_second(_at(force.until))
    return f"nothing that {partner} accepted is in force since {since}" if is_due else ""


def _at(milliseconds: int) -> np.datetime64:
    return moment("schedule", milliseconds)
