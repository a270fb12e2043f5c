"""View a run at the scale of the site, its halls, racks or chips."""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

import numpy as np
import xarray as xr

from twin import time_axes
from twin.errors import IssueCode, StateError
from twin.racks import rack_series
from twin.racks.kernels import ChipTable, CoolantState
from twin.racks.layout import RackLayout
from twin.racks.rack_series import ViewWindow
from twin.site import Site

type ViewLevel = Literal["site", "hall", "rack", "chip"]
"""Scales, coarse to fine."""

VIEW_LEVELS: Final = get_args(ViewLevel.__value__)

DEFAULT_STEP_OF_LEVEL: Final = {"rack": np.timedelta64(1, "m"), "chip": np.timedelta64(1, "s")}
"""Default step of a level."""

BLOCK_BYTES: Final = 64e6
"""Approximate size of a part of a view that is computed at once. [bytes]"""

_VIEW_LEVEL_VARIABLES: Final = {"rack": "rack_power", "chip": "chip_power"}
_BLOCK_STEP_MULTIPLE: Final = 60
_VALUE_BYTES: Final = 4  # float32


def view(
    site: Site,
    result: xr.Dataset,
    *,
    level: ViewLevel = "site",
    time: slice | None = None,
    step: np.timedelta64 | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return a run at some scale, computed on demand.

    Parameters
    ----------
    site
        The site.
    result
        A run from :func:`twin.simulate`, or a stored view. A run with commanded set points of the
        water must contain them, as those of :func:`twin.simulate_in_chunks` do.
    level
        Scale: ``site`` and ``hall`` are the run itself; ``rack`` adds every rack and coolant unit,
        ``chip`` every accelerator.
    time
        Part of the run, as ``slice("2026-06-16T12:00", "2026-06-16T18:00")``; all by default.
    step
        Length of the steps of racks (1 min) or chips (1 s).
    seed
        Seed of the distribution of work over racks and chips, which a run does not contain.

    Returns
    -------
    xarray.Dataset
        Tagged variables. Views larger than :data:`BLOCK_BYTES` are dask arrays, computed by block.

    Raises
    ------
    StateError
        If the run has no such part, the site no such level, or a large view no dask; or if the
        coolant of the run differs from the site's, for example without its set points.

    Notes
    -----
    The racks of a hall sum to its power. Each window starts with a warm-up, so that all windows of
    a run agree to a billionth of a kelvin.
    """
    _check(level)
    time = slice(None) if time is None else time
    if level in ("site", "hall") or _VIEW_LEVEL_VARIABLES[level] in result:
        part = _cut(result, time)
        return part[[n for n in part if "hall" in part[n].dims]] if level == "hall" else part
    layout = RackLayout.from_site(site)
    window = ViewWindow.from_run(
        result, time, DEFAULT_STEP_OF_LEVEL[level] if step is None else step
    )
    count = _steps(layout, level)
    pieces = _pieces(window, count)
    if len(pieces) == 1:
        return _WindowSimulator(layout, level, seed=seed).simulate(result, window)
    return _lazy(layout, result, pieces, level=level, seed=seed)


def view_blocks(
    site: Site,
    results: Iterable[xr.Dataset],
    *,
    level: ViewLevel = "rack",
    time: slice | None = None,
    step: np.timedelta64 | None = None,
    seed: int = 0,
    skip_until: np.datetime64 | None = None,
) -> Iterator[xr.Dataset]:
    """View a run, or consecutive runs, block by block.

    - ``site``, ``level``, ``step``, ``seed``: As for :func:`view`; the level is ``rack`` or
      ``chip``.
    - ``time``: Part to view, of a single run; all by default.
    - ``results``: Consecutive runs, as from :func:`twin.simulate_in_chunks`.
    - ``skip_until``: Blocks that end by this instant are skipped; the others do not change by it.

    Yields: :func:`view` of a block with :func:`block_steps` steps; the last of each run may be
    shorter.
    """
    _check(level)
    layout = RackLayout.from_site(site)
    simulator = _WindowSimulator(layout, level, seed=seed)
    for result in results:
        whole = ViewWindow.from_run(
            result, time or slice(None), DEFAULT_STEP_OF_LEVEL[level] if step is None else step
        )
        for window in _pieces(whole, _steps(layout, level)):
            if skip_until is not None and window.end <= skip_until:
                simulator.skip(result, window)
            else:
                yield simulator.simulate(result, window)


def block_steps(site: Site, level: ViewLevel) -> int:
    """Return the number of steps of a block."""
    return _steps(RackLayout.from_site(site), level)


class _WindowSimulator:
    """Simulates racks or chips window by window, each from the final state of the last."""

    def __init__(self, layout: RackLayout, level: ViewLevel, *, seed: int) -> None:
        self.layout, self.level, self.seed = layout, level, seed
        self.coolant: CoolantState | None = None
        self.chips: rack_series.RackAndChipState | None = None
        self.table: ChipTable | None = None  # for all windows, whose steps are equal

    def simulate(self, result: xr.Dataset, window: ViewWindow) -> xr.Dataset:
        """Return the view of a window."""
        if self.level == "chip":
            if self.table is None:
                self.table = rack_series.chip_table(
                    self.layout, hours=window.step_hours, seed=self.seed
                )
            done, self.chips = rack_series.simulate_chips(
                self.layout,
                result,
                window,
                table=self.table,
                seed=self.seed,
                state=self.chips,
            )
            return rack_series.chip_dataset(self.layout, window, done)
        found, self.coolant = rack_series.simulate_racks(
            self.layout, result, window, seed=self.seed, state=self.coolant
        )
        return rack_series.rack_dataset(self.layout, window, found)

    def skip(self, result: xr.Dataset, window: ViewWindow) -> None:
        """Move to the end of a window by simulating only its last step after a warm-up."""
        self.coolant = self.chips = None
        self.simulate(result, window.select(window.step_count - 1, 1))


def _lazy(
    layout: RackLayout, result: xr.Dataset, pieces: list[ViewWindow], *, level: ViewLevel, seed: int
) -> xr.Dataset:
    """Return the pieces as dask arrays, computed on demand."""
    try:
        import dask.array  # noqa: PLC0415  (heavy, and only in the planner's environment)
        from dask.delayed import delayed  # noqa: PLC0415
    except ImportError:
        raise StateError.single(
            "view",
            IssueCode.MISSING_LIBRARY,
            "time",
            found=f"{sum(piece.step_count for piece in pieces)} steps",
            expected="a view of one block, or dask",
            remedy="choose a shorter time, call view_blocks(), or install dask",
        ) from None

    def work(piece: ViewWindow) -> xr.Dataset:
        return _WindowSimulator(layout, level, seed=seed).simulate(result, piece)

    sample = work(pieces[0].select(0, 1))
    found = [delayed(work)(piece) for piece in pieces]

    def join(name: str) -> xr.DataArray:
        like = sample[name]
        parts = [
            dask.array.from_delayed(
                block[name].data, shape=(piece.step_count, *like.shape[1:]), dtype=like.dtype
            )
            for piece, block in zip(pieces, found, strict=True)
        ]
        return xr.DataArray(dask.array.concatenate(parts), dims=like.dims, attrs=like.attrs)

    edges = np.concatenate([pieces[0].edges[:1], *(piece.edges[1:] for piece in pieces)])
    still = {name: c for name, c in sample.coords.items() if not {"time", "instant"} & {*c.dims}}
    whole = time_axes.interval_axes(edges).assign_coords(still)
    return whole.assign({str(name): join(str(name)) for name in sample.data_vars})


def _pieces(window: ViewWindow, count: int) -> list[ViewWindow]:
    starts = range(0, window.step_count, count)
    return [window.select(first, min(count, window.step_count - first)) for first in starts]


def _steps(layout: RackLayout, level: ViewLevel) -> int:
    """Return the number of steps of a level's block."""
    width = (
        rack_series.rack_values_per_step(layout)
        if level == "rack"
        else rack_series.chip_values_per_step(layout)
    )
    return (
        max(int(BLOCK_BYTES / (width * _VALUE_BYTES)) // _BLOCK_STEP_MULTIPLE, 1)
        * _BLOCK_STEP_MULTIPLE
    )


def _cut(result: xr.Dataset, time: slice) -> xr.Dataset:
    """Return the intervals of a dataset that touch a slice of times, with their edges."""
    edges = time_axes.interval_edges(result)
    start, stop, issues = rack_series.window_bounds(edges, time)
    StateError.raise_if_any("view", issues)
    low = int(np.searchsorted(edges, start, side="right")) - 1
    high = int(np.searchsorted(edges, stop, side="left"))
    part = result.isel(time=slice(low, high))
    return part.isel(instant=slice(low, high + 1)) if "instant" in part.dims else part


def _check(level: str) -> None:
    if level not in VIEW_LEVELS:
        raise StateError.single(
            "view",
            IssueCode.UNKNOWN_NAME,
            "level",
            found=str(level),
            expected=f"one of {', '.join(VIEW_LEVELS)}",
            remedy="choose another level",
        )
