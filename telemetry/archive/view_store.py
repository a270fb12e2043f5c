"""Store of views that are larger than memory: a Zarr store, written block after block.

The arrays have their full length from the start; unwritten parts read as missing. A block is
written before the store counts it, and chunks end where blocks end. So a writer that is killed at
any time leaves a readable store with a correct count.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from twin.errors import ArchiveError, IssueCode

VIEW_LAYOUT_VERSION: Final = 1
"""Version of the layout; readers reject others."""

COMPRESSION_THREADS: Final = 2

COLUMNS_PER_CHUNK: Final = 256

TEMPERATURE_RESOLUTION_K: Final = 0.01
"""Resolution of temperatures, stored in two bytes. [K]"""

MAX_TEMPERATURE_DEGC: Final = 327.0
"""Greatest absolute temperature in two bytes. [degC]"""

MISSING_TEMPERATURE: Final = np.iinfo(np.int16).min
"""Value of temperatures that are not yet written."""

_MAX_PACKED_NUMBERS: Final = 65_536
"""Numbers that are packed at once, within the processor's cache. [1]"""

_TIME_UNIT: Final = "microseconds since 1970-01-01"
_COORDINATES_OF_TIME: Final = {"time", "duration", "instant"}

type _Array = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]


class ViewStore:
    """A store that is being written."""

    def __init__(self, root: zarr.Group) -> None:
        self._root = root

    @classmethod
    def open(cls, folder: Path, time: np.ndarray, *, block: int, origin: Mapping[str, str]) -> Self:
        """Open a store, or create one with blocks of ``block`` steps.

        ``time`` has the starts of all steps [datetime64, us]; ``origin`` everything that determines
        the content, such as site, start and step.
        """
        header: dict[str, int | str] = {
            "layout": VIEW_LAYOUT_VERSION,
            "block": block,
            "steps": len(time),
            "origin": json.dumps(dict(origin), sort_keys=True),
        }
        if folder.exists() and any(folder.iterdir()):
            root = _root(folder, mode="r+")
            if any(root.attrs.get(key) != value for key, value in header.items()):
                message = f"{folder} holds another view; name another folder, or remove it"
                raise ArchiveError(message, code=IssueCode.INCONSISTENT)
            return cls(root)
        root = zarr.open_group(folder, mode="w")
        starts = time.astype("datetime64[us]").astype(np.int64)
        array = root.create_array(
            "time", data=starts, chunks=starts.shape, dimension_names=("time",)
        )
        array.attrs.update({"units": _TIME_UNIT, "calendar": "proleptic_gregorian"})
        root.attrs.update({**header, "done": 0})
        return cls(root)

    @property
    def written_step_count(self) -> int:
        """Number of written steps. [1]"""
        done = self._root.attrs["done"]
        return int(str(done))

    @property
    def next_time(self) -> np.datetime64 | None:
        """Start of the first unwritten step; None if all are written. [datetime64, us]"""
        if self.written_step_count >= _array(self._root, "time").shape[0]:
            return None
        start = np.asarray(_array(self._root, "time")[self.written_step_count], dtype=np.int64)
        return np.datetime64(int(start), "us")

    def write(self, block: xr.Dataset) -> None:
        """Write the next block, on ``time`` and axes with labels, and then count it."""
        first, count = self.written_step_count, block.sizes["time"]
        if block["time"].to_numpy()[0] != self.next_time:
            raise ArchiveError(
                f"the block begins at {block['time'][0]}, expected {self.next_time}: write the"
                " blocks in order",
                code=IssueCode.TIME_ORDER,
            )
        with zarr.config.set({"threading.max_workers": COMPRESSION_THREADS}):
            if first == 0:
                self._create(block)
            for name, values in block.data_vars.items():
                array = _array(self._root, str(name))
                array[first : first + count] = _pack(str(name), values)
        self._root.attrs["done"] = first + count

    def _create(self, block: xr.Dataset) -> None:
        """Create the arrays of all variables and the labels of their axes."""
        length = _array(self._root, "time").shape[0]
        rows = int(str(self._root.attrs["block"]))
        for name, values in block.data_vars.items():
            is_packed = values.attrs["units"] == "degC"
            shape = (length, *values.shape[1:])
            across = (min(COLUMNS_PER_CHUNK, width) for width in shape[1:2])
            array = self._root.create_array(
                str(name),
                shape=shape,
                chunks=(min(rows, length), *across, *shape[2:]),
                dtype="int16" if is_packed else "float32",
                fill_value=MISSING_TEMPERATURE if is_packed else np.nan,
                dimension_names=[str(dim) for dim in values.dims],
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                overwrite=True,
            )
            scale = (
                {"scale_factor": TEMPERATURE_RESOLUTION_K, "_FillValue": int(MISSING_TEMPERATURE)}
                if is_packed
                else {}
            )
            array.attrs.update({**_plain(values.attrs), **scale})
        for name, labels in block.coords.items():
            if name not in _COORDINATES_OF_TIME:
                self._label(str(name), labels)

    def _label(self, name: str, labels: xr.DataArray) -> None:
        values = labels.to_numpy()
        if values.dtype.kind == "U":
            values = values.astype(np.dtypes.StringDType())
        self._root.create_array(
            name,
            data=values,
            chunks=values.shape,
            dimension_names=[str(dim) for dim in labels.dims],
            overwrite=True,
        )


def open_view(folder: Path) -> xr.Dataset:
    """Return the written part of a stored view, read on access.

    Returns
    -------
    xarray.Dataset
        As :func:`twin.view` returns it; dask arrays where dask is installed, else lazy ones.

    Raises
    ------
    ArchiveError
        If the folder holds no view.
    """
    root = _root(folder, mode="r")
    if root.attrs.get("layout") != VIEW_LAYOUT_VERSION or "done" not in root.attrs:
        message = f"{folder} holds no view of layout {VIEW_LAYOUT_VERSION}; name another folder"
        raise ArchiveError(message, code=IssueCode.WRONG_VERSION)
    done = int(str(root.attrs["done"]))
    whole = xr.open_zarr(
        folder,
        consolidated=False,
        chunks=_chunks(),
        decode_times=xr.coders.CFDatetimeCoder(time_unit="us"),
    )
    starts = whole["time"].to_numpy()
    step = (starts[1] - starts[0]) / np.timedelta64(1, "h") if len(starts) > 1 else np.nan
    hours = xr.DataArray(np.full(len(starts), step), dims="time", attrs={"units": "h"})
    labels = {name: whole[name].compute() for name in whole if "time" not in whole[name].dims}
    written: xr.Dataset = whole.assign_coords(duration=hours, **labels).isel(time=slice(done))
    return written


def _chunks() -> dict[str, int] | None:
    """Return how the arrays are chunked: as stored, if dask is installed."""
    try:
        import dask  # noqa: F401, PLC0415  (heavy, and only in the planner's environment)
    except ImportError:
        return None
    return {}


def _root(folder: Path, *, mode: str) -> zarr.Group:
    try:
        return zarr.open_group(folder, mode="r" if mode == "r" else "r+")
    except (FileNotFoundError, zarr.errors.GroupNotFoundError) as error:
        message = f"{folder} holds no view; name the folder of one"
        raise ArchiveError(message, code=IssueCode.MISSING) from error


def _array(root: zarr.Group, name: str) -> _Array:
    found = root[name]
    if not isinstance(found, zarr.Array):
        message = f"{name} of the store is not an array; remove the store"
        raise ArchiveError(message, code=IssueCode.CORRUPT)
    return found


def _pack(name: str, values: xr.DataArray) -> np.ndarray:
    """Return values as they are stored."""
    bare = values.to_numpy()
    if values.attrs["units"] != "degC":
        return bare.astype(np.float32, copy=False)
    packed = np.empty(bare.shape, np.int16)
    rows = max(_MAX_PACKED_NUMBERS * len(bare) // max(bare.size, 1), 1)
    buffer = np.empty((rows, *bare.shape[1:]), np.float32)
    for first in range(0, len(bare), rows):
        part = bare[first : first + rows]
        scaled = np.multiply(
            part, 1.0 / TEMPERATURE_RESOLUTION_K, out=buffer[: len(part)], casting="same_kind"
        )
        np.rint(scaled, out=scaled)
        if not (
            scaled.max() <= MAX_TEMPERATURE_DEGC / TEMPERATURE_RESOLUTION_K
            and scaled.min() >= -MAX_TEMPERATURE_DEGC / TEMPERATURE_RESOLUTION_K
        ):
            message = (
                f"{name} of the block is not within {MAX_TEMPERATURE_DEGC:g} degC; "
                "choose a run that is"
            )
            raise ArchiveError(message, code=IssueCode.OUT_OF_RANGE)  # for NaN too
        packed[first : first + rows] = scaled
    return packed


def _plain(attrs: Mapping[object, object]) -> dict[str, str]:
    return {str(key): str(value) for key, value in attrs.items()}
