"""How the telemetry archive lies on disk, read with icechunk and zarr alone."""

from pathlib import Path
from typing import Any

import icechunk
import zarr

from tests.golden.shapes import without_digits

BRANCH = "main"

icechunk.set_logs_filter("error")


def archive_layout(store: Path) -> dict[str, Any]:
    """Return groups and arrays of an archive, with all dates and numbers in names as ``#``.

    Parameters
    ----------
    store
        Folder of the Icechunk repository.
    """
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(store)))
    root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
    found: dict[str, Any] = {"": {"attributes": sorted(root.attrs)}}
    for path, member in sorted(root.members(max_depth=None)):
        name = without_digits(path)
        attributes = sorted({without_digits(str(key)) for key in member.attrs})
        facts: dict[str, Any] = {"attributes": attributes}
        if isinstance(member, zarr.Array):
            facts |= array_facts(member)
        found.setdefault(name, facts)
    return found


def array_facts(array: zarr.Array[Any]) -> dict[str, Any]:
    """Return type, dimensions, blocks and codecs of an array; its size depends on the data."""
    metadata = array.metadata.to_dict()
    return {
        "type": str(array.dtype),
        "dimensions": list(metadata.get("dimension_names") or []),
        "chunks": list(array.chunks),
        "shards": list(array.shards or []),
        "fill": repr(array.fill_value),
        "codecs": codec_names(metadata.get("codecs")),
    }


def codec_names(codecs: Any) -> list[Any]:
    """Return the names of codecs, those inside a shard as a list of their own."""
    names: list[Any] = []
    for codec in codecs or ():
        content = codec if isinstance(codec, dict) else codec.to_dict()
        names.append(content["name"])
        inner = content.get("configuration", {}).get("codecs")
        if inner:
            names.append(codec_names(inner))
    return names
