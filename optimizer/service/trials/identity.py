"""What makes a back-test: everything that decides its results, but the policies."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final, TypedDict

import numpy as np
import pandas as pd
import xarray as xr

from optimizer.service.world import World
from twin.site import Site
from twin.units import format_minute

VERSION: Final = 3
"""Version of the identity: 1 had no version, seeds and digests; 2 older names in the site. [1]"""

SITE: Final = "declared site"
JOBS: Final = "jobs"
"""What is digested beside the words of the record."""

SIZE: Final = 16
"""Length of a digest. [B]"""

ASKED: Final = {
    "start": "start {}",
    "days": "days {}",
    "load_scale": "load scale {:g}",
    "seeds": "seeds {}",
}
"""What is asked for on the command line -> its words."""


class Named(TypedDict):
    """What an identity of any age tells."""

    site: str


class Identity(Named):
    """What makes a back-test.

    Attributes
    ----------
    version
        :data:`VERSION`.
    start, days, load_scale, seeds
        What was asked for.
    digests
        Of the declared site, of the jobs, and of each series by its word.
    """

    version: int
    start: str
    days: int
    load_scale: float
    seeds: int
    digests: dict[str, str]


def identity_of(site: Site, world: World, *, load_scale: float, seeds: int) -> Identity:
    """Return what makes a back-test.

    Parameters
    ----------
    site
        The site as it is declared now, whatever its file was before.
    world
        What the files of the series hold; their names do not matter.
    load_scale
        Mean movable work. [1]
    seeds
        Number of plants. [1]
    """
    series = {**world.record.coords, **world.record.data_vars}
    return Identity(
        version=VERSION,
        site=site.name,
        start=format_minute(world.start),
        days=round((world.end - world.start) / np.timedelta64(1, "D")),
        load_scale=load_scale,
        seeds=seeds,
        digests={
            SITE: blake2b(repr(site).encode(), digest_size=SIZE).hexdigest(),
            JOBS: _of_jobs(world.jobs),
            **{str(name): _digest([values]) for name, values in sorted(series.items(), key=str)},
        },
    )


def differences(found: Identity, wanted: Identity) -> Iterator[str]:
    """Yield in words what one back-test has other than another; nothing if they are the same.

    Parameters
    ----------
    found
        That of a folder.
    wanted
        That which is asked for.
    """
    if found["site"] != wanted["site"]:
        yield f"site {found['site']}, not {wanted['site']}"
        return
    there: Mapping[str, object] = found
    here: Mapping[str, object] = wanted
    for key, form in ASKED.items():
        if there[key] != here[key]:
            yield f"{form.format(there[key])}, not {here[key]}"
    names = sorted(found["digests"].keys() | wanted["digests"].keys())
    other = [
        name.replace("_", " ")
        for name in names
        if found["digests"].get(name) != wanted["digests"].get(name)
    ]
    if other:
        yield f"another content of {', '.join(other)}"


def _of_jobs(jobs: pd.DataFrame) -> str:
    return _digest([jobs[name].to_xarray() for name in sorted(jobs.columns)])


def _digest(many: list[xr.DataArray]) -> str:
    """Return a short word for some values with their axes."""
    found = blake2b(digest_size=SIZE)
    for values in many:
        array = np.ascontiguousarray(values.to_numpy())
        plain = array.astype(str) if array.dtype == object else array
        found.update(f"{values.name} {values.dims} {plain.shape} {plain.dtype}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()
