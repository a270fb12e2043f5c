"""An archive by machine: the points that are bound to a site, in the words of the vocabulary."""

from collections.abc import Mapping, Sequence

import xarray as xr

from telemetry.archive.earlier import Turn, turns_of
from telemetry.archive.layout import labels_of, metadata_of
from telemetry.archive.lazy import Bound, Was, variable
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.spans import Span, kept_in
from telemetry.metadata.binding import Binder, Binding
from telemetry.samples import PointMetadata
from telemetry.windows.slots import Slots
from twin import vocabulary
from twin.site import Site


def by_machine(snapshot: Snapshot, site: Site, *, span: Span) -> xr.Dataset:
    """Return the variables of a site that any point is bound to, in canonical units."""
    seconds, time = kept_in(snapshot, "points", span)
    binder = Binder(site)
    columns = {label: column for column, label in enumerate(labels_of(snapshot.root, "points"))}
    bound: dict[int, list[tuple[int, Binding]]] = {}
    slots = Slots(site)
    for point, metadata in metadata_of(snapshot.root).items():
        binding = binder.learn(metadata)
        if binding and binding.key in slots.places:
            bound.setdefault(slots.places[binding.key], []).append((columns[point], binding))
    was = _earlier(site, turns_of(snapshot.root), columns)
    found: dict[str, xr.Variable] = {}
    labels: dict[str, list[str]] = {}
    for shape in slots.shapes:
        places = range(shape.first, shape.first + sum(shape.counts))
        bindings = [bound.get(place, []) for place in places]
        if any(bindings):
            lazy = Bound(snapshot, seconds=seconds, shape=shape, bindings=bindings, was=was)
            dims = ("time", shape.dim) if shape.dim else ("time",)
            found[shape.variable] = variable(dims, lazy, vocabulary.attributes(shape.variable))
            if shape.dim:
                labels[shape.dim] = list(shape.labels)
    return xr.Dataset(found, coords={"time": time, **labels})


def _earlier(
    site: Site, turns: Mapping[str, Sequence[Turn]], columns: Mapping[str, int]
) -> Mapping[int, Sequence[Was]]:
    """Return by column what points were bound to before their metadata changed."""
    binder = Binder(site)  # of a site of many points it takes long to make
    return {
        columns[label]: [(unsure, sure, _alone(binder, was)) for unsure, sure, was in found]
        for label, found in turns.items()
        if label in columns
    }


def _alone(binder: Binder, metadata: PointMetadata) -> Binding | None:
    """Return what a point was bound to, as if it had been the only one."""
    found = binder.bind(metadata) if binder.is_here(metadata.point) else None
    return None if isinstance(found, str) else found
