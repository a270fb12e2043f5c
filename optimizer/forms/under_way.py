"""The numbers of work that moves: when what a lane takes up has left, is here, and is due."""

import numpy as np

from optimizer.forms import work
from optimizer.inputs import Inputs
from optimizer.question.moves import Lane, Moves
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.workload.queue import RackPool


class Times:
    """When what enters a lane in each block of time has come how far.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    """

    def __init__(self, moves: Moves, inputs: Inputs) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(inputs.hours)])
        blocks = np.array(moves.edges)
        self._begin, self._end = self._edges[blocks[:-1]], self._edges[blocks[1:]]

    @property
    def length(self) -> FloatArray:
        """Lengths of the blocks. [h]"""
        return np.asarray(self._end - self._begin)

    def share(self, delay: float) -> FloatArray:
        """Return the share of each block that entered a delay [h] ago, ``(instant, block)``. [1]"""
        since = self._edges[:, None] - delay - self._begin
        return np.asarray(np.clip(since / self.length, 0.0, 1.0))

    def fits(self, delay: float) -> BoolArray:
        """Return the blocks whose last work ends a delay [h] later within the horizon."""
        return np.asarray(self._end + delay <= self._edges[-1] + 1e-9)


def sent_numbers(moves: Moves, inputs: Inputs, moved: tuple[int, ...]) -> dict[str, FloatArray]:
    """Return the numbers of what leaves; nothing where a site is only to take in.

    What it sent and took in at once would be its own work, which waits and is due by the lane.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    moved
        Cohorts that may leave.
    """
    time, lanes = Times(moves, inputs), moves.lanes
    kinds = inputs.problem.outlook["kind"].to_numpy()[list(moved)]
    rack = RackPool.of(inputs.problem.site).rack_power
    gone = np.stack([time.share(0.0) - time.share(promise(lane)) for lane in lanes], axis=2)
    done = np.stack([np.diff(time.share(promise(lane)), axis=0) for lane in lanes], axis=2)
    lengths = np.array([lane.job_length for lane in lanes])
    fits = np.stack([time.fits(promise(lane)) for lane in lanes], axis=1)
    takes = np.array([[kind == lane.kind and lane.may_send for lane in lanes] for kind in kinds])
    return {
        "done": done,
        "under_way": gone[1:],
        "away": _mean(gone) / (rack * lengths),
        "sent_high": np.where((fits & (moves.high > 0.0))[:, None, :] & takes, np.inf, 0.0),
        "send_cost": np.array([lane.send_cost for lane in lanes]),
        "speed": np.array([lane.speed for lane in lanes]),
    }


def guest_numbers(moves: Moves, inputs: Inputs, guests: tuple[int, ...]) -> dict[str, FloatArray]:
    """Return the numbers of what comes in; nothing where a site is only to send.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    guests
        Cohorts that come in, one for each lane that may bring work.
    """
    time, problem = Times(moves, inputs), inputs.problem
    hosted = [lane for lane in moves.lanes if lane.may_host]
    is_open = moves.low[:, [lane.may_host for lane in moves.lanes]] < 0.0
    most = np.stack([_most(lane, time, inputs) for lane in hosted], axis=1)
    value = work.numbers(problem.site.works, inputs)["value"][list(guests)]
    here = np.stack([time.share(lane.transfer_time) for lane in hosted], axis=2)
    due = np.stack([time.share(promise(lane)) for lane in hosted], axis=2)
    rack = RackPool.of(problem.site).rack_power
    width = 1.0 / (rack * np.array([lane.job_length for lane in hosted]))
    return {
        "here": here[1:],
        "due": due[1:],
        "present": _mean(here - due) * width,
        "width": width,
        "hours": inputs.hours,
        "value": value,
        "never": value * problem.series("work_most")[-1, list(guests)],
        "host_cost": np.array([lane.host_cost for lane in hosted]),
        "received_high": np.where(is_open, most, 0.0),
        "hosts": np.array([[lane.speed * (lane is one) for one in moves.lanes] for lane in hosted]),
    }


def promise(lane: Lane) -> float:
    """Return the time from entering a lane to being done. [h]"""
    return lane.transfer_time + lane.window


def _most(lane: Lane, time: Times, inputs: Inputs) -> FloatArray:
    """Return the most that may come in each block: what all racks do until it is due. [MWh]"""
    pool = RackPool.of(inputs.problem.site)
    could = pool.racks * pool.rack_power * (time.length + lane.window)
    return np.where(time.fits(promise(lane)), could, 0.0)


def _mean(at_edges: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (at_edges[1:] + at_edges[:-1]))
