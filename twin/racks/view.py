"""Look at a run at the scale of the site, its halls, its racks or its chips."""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

import numpy as np
import xarray as xr

from twin import time_axes
from twin.errors import StateError, ValidationIssue
from twin.racks import rack_series
from twin.racks.kernels import ChipTable, CoolantState
from twin.racks.layout import RackLayout
from twin.racks.rack_series import ViewWindow
from twin.site import Site

type ViewLevel = Literal["site", "hall", "rack", "chip"]
"""Scales, coarse to fine."""

VIEW_LEVELS: Final = get_args(ViewLevel.__value__)

DEFAULT_STEPS: Final = {"rack": np.timedelta64(1, "m"), "chip": np.timedelta64(1, "s")}
"""Step of a level where none is asked for."""

BLOCK_BYTES: Final = 64e6
"""About how much of a view is worked out at once. [bytes]"""

_HOLDS: Final = {"rack": "rack_power", "chip": "chip_power"}
_ROUND: Final = 60  # steps of a block are a multiple of it
_NUMBER: Final = 4  # bytes of a float32


def view(
    site: Site,
    result: xr.Dataset,
    *,
    level: ViewLevel = "site",
    time: slice | None = None,
    step: np.timedelta64 | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return a run at some scale, worked out when it is asked for.

    Parameters
    ----------
    site
        The site.
    result
        A run of it, as :func:`twin.simulate` gives, or a stored view; with the set points of the
        water beside it, if it was told any, as :func:`twin.simulation.simulate.simulate_in_chunks`
        gives them.
    level
        Scale: ``site`` and ``hall`` are the run itself; ``rack`` adds every rack and coolant unit,
        ``chip`` every accelerator.
    time
        Part of the run, as ``slice("2026-06-16T12:00", "2026-06-16T18:00")``; all by default.
    step
        Length of the steps of racks (1 min) or chips (1 s).
    seed
        Of how work spreads over racks and chips, which a run does not know.

    Returns
    -------
    xarray.Dataset
        All tagged. Views larger than :data:`BLOCK_BYTES` are dask arrays, worked out block by
        block.

    Raises
    ------
    StateError
        If the run has no such part, the site no such level, or a large view no dask; or if the
        site's coolant is another than that of the run, as without its set points.

    Notes
    -----
    The racks of a hall sum to its power. Each window is found by a warm-up before it, so that all
    windows of a run agree to a billionth of a kelvin.
    """
    _check(level)
    time = slice(None) if time is None else time
    if level in ("site", "hall") or _HOLDS[level] in result:
        part = _cut(result, time)
        return part[[n for n in part if "hall" in part[n].dims]] if level == "hall" else part
    layout = RackLayout.from_site(site)
    window = ViewWindow.from_run(result, time, DEFAULT_STEPS[level] if step is None else step)
    count = _steps(layout, level)
    pieces = _pieces(window, count)
    if len(pieces) == 1:
        return _Follower(layout, level, seed=seed).follow(result, window)
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
    """View a run, or consecutive runs, block after block.

    Parameters
    ----------
    site, level, step, seed
        As for :func:`view`; the level is ``rack`` or ``chip``.
    time
        Part to look at, of a single run; all by default.
    results
        Runs that follow one another, as :func:`twin.simulation.simulate.simulate_in_chunks` yields.
    skip_until
        Blocks that end by this instant are left out; the others do not change by it.

    Yields
    ------
    xarray.Dataset
        What :func:`view` would give of the block; blocks have :func:`block_steps` steps, except
        for the last of each run.
    """
    _check(level)
    layout = RackLayout.from_site(site)
    follower = _Follower(layout, level, seed=seed)
    for result in results:
        whole = ViewWindow.from_run(
            result, time or slice(None), DEFAULT_STEPS[level] if step is None else step
        )
        for window in _pieces(whole, _steps(layout, level)):
            if skip_until is not None and window.end <= skip_until:
                follower.skip(result, window)
            else:
                yield follower.follow(result, window)


def block_steps(site: Site, level: ViewLevel) -> int:
    """Return how many steps a block of a view has."""
    return _steps(RackLayout.from_site(site), level)


class _Follower:
    """Follows racks or chips from window to window, from where the last one ended."""

    def __init__(self, layout: RackLayout, level: ViewLevel, *, seed: int) -> None:
        self.layout, self.level, self.seed = layout, level, seed
        self.coolant: CoolantState | None = None
        self.chips: rack_series.RackAndChipState | None = None
        self.table: ChipTable | None = None  # for all windows, whose steps are equal

    def follow(self, result: xr.Dataset, window: ViewWindow) -> xr.Dataset:
        """Return what they did in a window."""
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
        """Stand at the end of a window without having followed more than the end of it."""
        self.coolant = self.chips = None
        self.follow(result, window.select(window.count - 1, 1))


def _lazy(
    layout: RackLayout, result: xr.Dataset, pieces: list[ViewWindow], *, level: ViewLevel, seed: int
) -> xr.Dataset:
    """Return the pieces as dask arrays, each worked out when asked for."""
    try:
        import dask.array  # noqa: PLC0415  (heavy, and only in the planner's environment)
        from dask.delayed import delayed  # noqa: PLC0415
    except ImportError:
        remedy = "choose less of the run by time, go through blocks(), or install dask"
        value = f"{sum(piece.count for piece in pieces)} steps"
        raise StateError(
            "view", [ValidationIssue(location="time", found=value, remedy=remedy)]
        ) from None

    def work(piece: ViewWindow) -> xr.Dataset:
        return _Follower(layout, level, seed=seed).follow(result, piece)

    sample = work(pieces[0].select(0, 1))
    found = [delayed(work)(piece) for piece in pieces]

    def join(name: str) -> xr.DataArray:
        like = sample[name]
        parts = [
            dask.array.from_delayed(
                block[name].data, shape=(piece.count, *like.shape[1:]), dtype=like.dtype
            )
            for piece, block in zip(pieces, found, strict=True)
        ]
        return xr.DataArray(dask.array.concatenate(parts), dims=like.dims, attrs=like.attrs)

    edges = np.concatenate([pieces[0].edges[:1], *(piece.edges[1:] for piece in pieces)])
    still = {name: c for name, c in sample.coords.items() if not {"time", "instant"} & {*c.dims}}
    whole = time_axes.interval_axes(edges).assign_coords(still)
    return whole.assign({str(name): join(str(name)) for name in sample.data_vars})


def _pieces(window: ViewWindow, count: int) -> list[ViewWindow]:
    starts = range(0, window.count, count)
    return [window.select(first, min(count, window.count - first)) for first in starts]


def _steps(layout: RackLayout, level: ViewLevel) -> int:
    """Return how many steps of a level make a block."""
    width = (
        rack_series.rack_values_per_step(layout)
        if level == "rack"
        else rack_series.chip_values_per_step(layout)
    )
    return max(int(BLOCK_BYTES / (width * _NUMBER)) // _ROUND, 1) * _ROUND


def _cut(result: xr.Dataset, time: slice) -> xr.Dataset:
    """Return the intervals of a dataset that touch a part, and their edges."""
    edges = time_axes.interval_edges(result)
    start, stop, issues = rack_series.window_bounds(edges, time)
    if issues:
        raise StateError("view", issues)
    low = int(np.searchsorted(edges, start, side="right")) - 1
    high = int(np.searchsorted(edges, stop, side="left"))
    part = result.isel(time=slice(low, high))
    return part.isel(instant=slice(low, high + 1)) if "instant" in part.dims else part


def _check(level: str) -> None:
    if level not in VIEW_LEVELS:
        remedy = f"choose one of {', '.join(VIEW_LEVELS)}"
        raise StateError(
            "view", [ValidationIssue(location="level", found=str(level), remedy=remedy)]
        )
