"""Export parts of an archive as Parquet, NetCDF and CSV."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.durable_files import replace_when_written
from twin.errors import ArchiveError, IssueCode

SECONDS_PER_BLOCK: Final = 600
"""Seconds that are in memory at once. [s]"""

EXPORT_SUFFIXES: Final = (".parquet", ".nc", ".csv")

EMPTY_EXPORT_MESSAGE: Final = (
    "the archive has no values in this span, or its hours are not rolled up yet: name another span,"
    " or run `gigatwin archive compact`"
)


def export(dataset: xr.Dataset, to: Path) -> int:
    """Write a dataset of :func:`telemetry.open` into a file; return its number of rows.

    Parquet and CSV have one row for each second and label (and chip) with values, and a column for
    each variable. NetCDF keeps the axes. The suffix of the file selects the format. An existing
    file is replaced atomically; the dataset is read in parts.
    """
    writers = {".parquet": _parquet, ".nc": _netcdf, ".csv": _csv}
    write = writers.get(to.suffix)
    if write is None:
        message = f"{to}: unknown suffix; write a file that ends in {', '.join(EXPORT_SUFFIXES)}"
        raise ArchiveError(message, code=IssueCode.UNSUPPORTED)
    if to.suffix != ".nc":
        _check_axes(dataset, to)
    with replace_when_written(to) as draft:
        rows = write(dataset, draft)
        if not rows:
            raise ArchiveError(EMPTY_EXPORT_MESSAGE, code=IssueCode.MISSING)
    return rows


def _tables(dataset: xr.Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Yield columns of equal length; rows without values are left out."""
    names = [str(name) for name in dataset.data_vars]
    dims = [str(dim) for dim in next(iter(dataset.data_vars.values())).dims]
    for first in range(0, dataset.sizes["time"], SECONDS_PER_BLOCK):
        part = dataset.isel(time=slice(first, first + SECONDS_PER_BLOCK)).load()
        shape = tuple(part.sizes[dim] for dim in dims)
        values = {name: part[name].transpose(*dims).to_numpy() for name in names}
        is_present = np.zeros(shape, dtype=np.bool_)
        for name, found in values.items():
            is_present |= _has_value(name, found)
        places = np.nonzero(is_present)
        axes = {
            dim: (part[dim].to_numpy() if dim in part.coords else np.arange(part.sizes[dim]))[place]
            for dim, place in zip(dims, places, strict=True)
        }
        yield {**axes, **{name: found[places] for name, found in values.items()}}


def _has_value(name: str, values: np.ndarray) -> np.ndarray:
    """Return where a variable has a value: a number, a flag, or a positive count."""
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    return values > 0 if name.endswith("_count") else values >= 0


def _check_axes(dataset: xr.Dataset, to: Path) -> None:
    """Raise ArchiveError for a dataset whose variables have different axes."""
    found = [tuple(str(dim) for dim in array.dims) for array in dataset.data_vars.values()]
    if not found:
        raise ArchiveError(EMPTY_EXPORT_MESSAGE, code=IssueCode.MISSING)
    if len(set(found)) != 1:
        site = dataset.attrs.get("site", "SITE")
        command = f"gigatwin archive export {site}"
        raise ArchiveError(
            f"{to}: variables of different axes do not fit in one table; run `{command} {to}"
            f" --group points`, or `{command} {to.with_suffix('.nc')}`",
            code=IssueCode.WRONG_AXES,
        )


def _parquet(dataset: xr.Dataset, to: Path) -> int:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ArchiveError(
            f"{to}: Parquet needs pyarrow; run pip install 'gigatwin[planner]', or export .nc"
            " or .csv",
            code=IssueCode.MISSING_LIBRARY,
        ) from error
    count, writer = 0, None
    for table in _tables(dataset):
        piece = pa.table({name: pa.array(column) for name, column in table.items()})
        writer = writer or parquet.ParquetWriter(to, piece.schema, compression="zstd")
        writer.write_table(piece)
        count += piece.num_rows
    if writer is not None:
        writer.close()
    return count


def _csv(dataset: xr.Dataset, to: Path) -> int:
    count, has_header = 0, False
    with to.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        for table in _tables(dataset):
            if not has_header:
                units = {name: dataset[name].attrs.get("units", "") for name in dataset.data_vars}
                rows.writerow([f"{n} [{units[n]}]" if units.get(n) else n for n in table])
                has_header = True
            columns = [
                [f"{moment}Z" for moment in column.astype("datetime64[s]")]
                if column.dtype.kind == "M"
                else column.tolist()
                for column in table.values()
            ]
            rows.writerows(zip(*columns, strict=True))
            count += len(columns[0])
    return count


def _netcdf(dataset: xr.Dataset, to: Path) -> int:
    encoding = {
        name: {"zlib": True, "complevel": 1}
        for name, array in dataset.data_vars.items()
        if array.dtype.kind in "fi"
    }
    dataset.to_netcdf(to, engine="h5netcdf", encoding=encoding)
    return int(dataset.sizes["time"])
