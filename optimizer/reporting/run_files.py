"""Write runs to NetCDF files, and the racks or chips behind a run to a folder, block by block."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.archive.view_store import ViewStore
from telemetry.durable_files import replace_when_written
from twin.racks.rack_series import ViewWindow
from twin.racks.view import ViewLevel, block_steps, view_blocks
from twin.reporting.indicators import INDICATOR_VARIABLES
from twin.simulation.operating_limits import FREEZE_VARIABLES, limit_excess
from twin.simulation.simulate import settled_state, simulate, simulate_in_chunks
from twin.site import Site
from twin.time_axes import with_time_bounds

SITE_ATTRIBUTE: Final = "site"
"""Attribute with the name of the site in the file of a run."""

MIN_CHUNK_INTERVALS: Final = 10_000
"""Smallest chunk of a run that is simulated at once. [1]"""

SUMMARY_VARIABLES: Final = (
    *INDICATOR_VARIABLES,
    "renewable_used_power",
    "heat_reuse_power",
    "hall_power",
    "distribution_loss",
    "closure",
    *FREEZE_VARIABLES,
    "cooling_plant_extrapolated",
)
"""Variables of a run that its summary needs; the others are released chunk by chunk."""


def write_netcdf(path: Path, dataset: xr.Dataset, *, site: str, title: str) -> None:
    """Write a dataset as NetCDF by the CF conventions, atomically.

    Intervals get bounds (:func:`twin.time_axes.with_time_bounds`), and lists in attributes become
    texts. The folder is created. `site` is stored in the attribute :data:`SITE_ATTRIBUTE`, and
    `title` describes the content.
    """
    plain = with_time_bounds(dataset)
    plain.attrs = {key: _netcdf_attribute(value) for key, value in dataset.attrs.items()}
    plain.attrs |= {"Conventions": "CF-1.11", SITE_ATTRIBUTE: site, "title": title}
    for name in plain.variables:
        attrs = plain[name].attrs
        plain[name].attrs = {key: _netcdf_attribute(value) for key, value in attrs.items()}
    with replace_when_written(path) as draft:
        plain.to_netcdf(draft, engine="h5netcdf")


def _netcdf_attribute(value: object) -> object:
    if isinstance(value, list | tuple):
        return "; ".join(str(item) for item in value)
    return int(value) if isinstance(value, bool) else value


@dataclass(frozen=True, kw_only=True)
class DetailRequest:
    """Detail to be stored of a run.

    - `step`: length of a step. [timedelta64]
    - `time`: part of the run; all of it by default.
    - `seed`: seed of the distribution of work over racks and chips.
    """

    level: ViewLevel
    step: np.timedelta64
    time: slice = slice(None)
    seed: int = 0


def write_detail(
    site: Site,
    operation: xr.Dataset,
    detail: DetailRequest,
    *,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> xr.Dataset:
    """Simulate a site from its settled state, and write the racks or chips behind the run.

    - `folder`: Zarr store for :func:`telemetry.open_view`; an incomplete one is continued.

    Returns
    -------
    xarray.Dataset
        Variables of the site for :func:`twin.indicators`, and ``closure``; ``beyond`` is the excess
        over limits of :func:`twin.simulation.operating_limits.limit_excess`.

    Raises StateError, UnitError: as :func:`twin.simulate` and :func:`twin.view`. Raises
    ArchiveError if the folder holds anything else.
    """
    window = ViewWindow.from_run(operation, detail.time, detail.step)
    block = block_steps(site, detail.level)
    origin = {"site": site.name, "inputs": _digest(site, operation)}
    origin |= {name: str(value) for name, value in asdict(detail).items()}
    store = ViewStore.open(folder, window.edges[:-1], block=block, origin=origin)
    summed: list[xr.Dataset] = []
    written = view_blocks(
        site,
        _collect_summary(site, _runs(site, operation, detail, block=block), summed),
        level=detail.level,
        time=detail.time,
        step=detail.step,
        seed=detail.seed,
        skip_until=window.end if store.next_time is None else store.next_time,
    )
    on_progress(store.written_step_count, window.step_count)
    for piece in written:
        store.write(piece)
        on_progress(store.written_step_count, window.step_count)
    return xr.concat(summed, "time", data_vars="minimal", coords="minimal", join="exact")


def _runs(
    site: Site, operation: xr.Dataset, detail: DetailRequest, *, block: int
) -> Iterable[xr.Dataset]:
    """Return the run in chunks of whole blocks, or at once if only a part is stored."""
    initial_state = settled_state(site, operation)
    if detail.time != slice(None):
        return [simulate(site, initial_state, operation)]
    width = np.timedelta64(1, "h") * float(operation["duration"][0])
    steps_per_interval = max(round(width / detail.step), 1)
    span = math.lcm(block, steps_per_interval) // steps_per_interval
    return simulate_in_chunks(
        site, initial_state, operation, chunk_size=span * -(-MIN_CHUNK_INTERVALS // span)
    )


def _collect_summary(
    site: Site, runs: Iterable[xr.Dataset], summed: list[xr.Dataset]
) -> Iterator[xr.Dataset]:
    """Pass runs on, and append the summary variables of each to `summed`."""
    for run in runs:
        summary = run[[name for name in SUMMARY_VARIABLES if name in run]].drop_vars(
            "instant", errors="ignore"
        )
        summed.append(summary.assign(beyond=limit_excess(site, run)))
        yield run


def _digest(site: Site, operation: xr.Dataset) -> str:
    """Return a short digest of a site and its operation."""
    digest = hashlib.blake2b(site.parameter_digest.encode(), digest_size=16)
    for name in sorted(map(str, operation.data_vars)):
        digest.update(name.encode() + operation[name].to_numpy().tobytes())
    return digest.hexdigest()
