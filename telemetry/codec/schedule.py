"""The documents of the feed: strict JSON to typed documents, held to their published schemas.

Readers here are as strict as we ask a partner's to be: a number given twice, NaN, 1e999 or a
boolean for a number is refused, and so is what the schema cannot say, such as a hole in time.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal, cast

import jsonschema
import numpy as np
import xarray as xr

from telemetry.codec.documents import Acknowledgement, Schedule, Status
from telemetry.codec.strict import LARGEST, VERSION, moment, read
from twin import axes, vocabulary
from twin.axes import QUARTER
from twin.errors import WireError

Kind = Literal["schedule", "status", "ack"]

QUARTER_MS: Final = int(QUARTER / np.timedelta64(1, "ms"))
"""Length of an interval. [ms]"""

BAND: Final = (0.1, 0.9)
"""Quantiles of the band round a schedule. [1]"""

LONGEST: Final[Mapping[Kind, int]] = {"schedule": LARGEST, "status": 16_384, "ack": 16_384}
"""Longest document of each kind that is read. [B]"""

_TOLD: Final = 3  # faults named at once


@cache
def schema(kind: Kind) -> Mapping[str, object]:
    """Return the published JSON Schema of a kind of document."""
    path = files("telemetry") / "schemas" / f"{kind}-{VERSION}.schema.json"
    return cast("Mapping[str, object]", json.loads(path.read_bytes()))


def read_schedule(payload: bytes) -> Schedule:
    """Return a schedule from the payload of a verified message.

    Raises
    ------
    WireError
        If it is no JSON, breaks the schema, or contradicts itself.
    """
    document = cast("Schedule", _read(payload, "schedule"))
    for fault in _contradictions(document):
        raise fault
    return document


def read_status(payload: bytes) -> Status:
    """Return a status; see :func:`read_schedule`."""
    return cast("Status", _read(payload, "status"))


def read_acknowledgement(payload: bytes) -> Acknowledgement:
    """Return an acknowledgement; see :func:`read_schedule`.

    It has the fields of this version alone: no other that a partner adds passes for a word of ours.
    """
    found = cast("Acknowledgement", _read(payload, "ack"))
    return Acknowledgement(
        v=VERSION,
        site=found["site"],
        partner=found["partner"],
        mrid=found["mrid"],
        revision=int(found["revision"]),  # 17.0 is an integer to a schema
        code=found["code"],
        reasons=found["reasons"],
        time=int(found["time"]),
    )


def check(document: Mapping[str, object], kind: Kind) -> None:
    """Refuse a document that breaks its schema.

    Parameters
    ----------
    document
        What is to be sent, or has come.
    kind
        Which of the three it claims to be.

    Raises
    ------
    WireError
        If it breaks the schema; the first faults are told, with their places.
    """
    errors = list(_validator(kind).iter_errors(document))
    if errors:
        told = sorted(errors, key=lambda error: error.json_path)[:_TOLD]
        words = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in told)
        more = f" (and {len(errors) - _TOLD} more)" if len(errors) > _TOLD else ""
        raise WireError(kind, document.get("revision", ""), f"{words}{more}")


def dataset_of(document: Schedule) -> xr.Dataset:
    """Return a schedule as labelled arrays in the words and units of the house.

    Parameters
    ----------
    document
        A schedule as read.

    Returns
    -------
    xarray.Dataset
        On ``time``: import and export (never negative; the wire's net value split), the same of
        the baseline, the set points and the ``quantile`` band, flexibility upward (net import
        falls) and downward with its duration, recovery and ramps. Attributes tell identity,
        validity (``valid_until``, ISO 8601 UTC) and quality.
    """
    rows = document["intervals"]
    data = axes.regular(moment("schedule", document["period_start"]), len(rows))
    net = np.array([row["scheduled_mw"] for row in rows])
    baseline = np.array([row["baseline_mw"] for row in rows])
    setpoint = np.array([row.get("setpoint_mw", row["scheduled_mw"]) for row in rows])
    band = np.array([[row["p10_mw"], row["p90_mw"]] for row in rows])
    data = data.assign_coords(quantile=list(BAND))
    for word, sign in (("import", 1.0), ("export", -1.0)):
        data[f"grid_{word}_power"] = "time", np.maximum(sign * net, 0.0)
        data[f"baseline_{word}_power"] = "time", np.maximum(sign * baseline, 0.0)
        data[f"setpoint_{word}_power"] = "time", np.maximum(sign * setpoint, 0.0)
        data[f"grid_{word}_band"] = ("time", "quantile"), np.maximum(sign * band, 0.0)
    data["reserve_up_power"] = "time", [row["flexibility_up_mw"] for row in rows]
    data["reserve_down_power"] = "time", [row["flexibility_down_mw"] for row in rows]
    data["reserve_duration"] = "time", [row["max_duration_h"] for row in rows]
    data["recovery_energy"] = "time", [row["recovery_mwh"] for row in rows]
    data["ramp_up_limit"] = "time", [row["ramp_up_mw_min"] for row in rows]
    data["ramp_down_limit"] = "time", [row["ramp_down_mw_min"] for row in rows]
    meta = document["meta"]
    names = {
        "site": document["site"],
        "partner": document["partner"],
        "mrid": document["mrid"],
        "revision": document["revision"],
        "source": meta["source"],
        "degraded": meta["degraded"] or "",
        "quality": meta["quality"],
        "is_synthetic": int(meta["is_synthetic"]),
    }
    times = {
        name: f"{moment('schedule', stamp).astype('datetime64[s]')}Z"
        for name, stamp in (
            ("created", document["created"]),
            ("valid_until", document["valid_until"]),
            ("gate_closure", document["gate_closure"]),
        )
    }
    return vocabulary.tag_all(data).assign_attrs(names | times)


@cache
def _validator(kind: Kind) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(kind))


def _read(payload: bytes, kind: Kind) -> dict[str, object]:
    document = read(kind, payload, dict[str, object], largest=LONGEST[kind])
    if document.get("v") != VERSION:
        raise WireError(kind, document.get("v"), f"this reader knows version {VERSION} only")
    _refuse_long(document, kind)
    check(document, kind)
    return document


def _refuse_long(document: Mapping[str, object], kind: Kind) -> None:
    """Refuse too long a list at once: its schema would look at each entry, for seconds."""
    fields = cast("Mapping[str, Mapping[str, object]]", schema(kind)["properties"])
    for name, field in fields.items():
        entries, most = document.get(name), field.get("maxItems")
        if isinstance(entries, list) and isinstance(most, int) and len(entries) > most:
            raise WireError(kind, f"{len(entries)} {name}", f"$.{name}: at most {most} are read")


def _contradictions(document: Schedule) -> Iterator[WireError]:
    """Yield what no schema can say: intervals without holes, bands and times in order."""
    start, rows = document["period_start"], document["intervals"]
    if document["period_end"] - start != len(rows) * QUARTER_MS:
        yield WireError("schedule", len(rows), "the intervals do not fill the period")
    if document["valid_until"] <= document["created"]:
        yield WireError("schedule", document["valid_until"], "valid_until must follow created")
    for number, row in enumerate(rows):
        if row["position"] != number + 1 or row["start"] != start + number * QUARTER_MS:
            yield WireError("schedule", row["position"], "positions and starts must have no hole")
        if row["p10_mw"] > row["p90_mw"]:
            yield WireError("schedule", row["position"], "p10_mw is above p90_mw")
