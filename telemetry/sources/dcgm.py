"""What dcgm-exporter tells of the accelerators of a host: Prometheus text, as rack batches."""

import math
import re
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

import numpy as np

from telemetry.samples import RackBatch
from twin.errors import Fault, SeriesError

PATIENCE: Final = 5.0
"""Longest wait for an exporter. [s]"""

LARGEST: Final = 1024 * 1024
"""Text that is read at the most; a host of eight chips has about 100 kB. [B]"""

MOST: Final = 4
"""Digits of an accelerator's number in its host."""

METRICS: Final = {
    "power": ("DCGM_FI_DEV_POWER_USAGE", 1.0),
    "temperature": ("DCGM_FI_DEV_GPU_TEMP", 1.0),
    "utilisation": ("DCGM_FI_DEV_GPU_UTIL", 0.01),
    "clock": ("DCGM_FI_DEV_SM_CLOCK", 1.0),
}
"""Variable of a chip -> metric, and the factor to [W], [degC], [1] and [MHz]."""

USED, FREE = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
"""Metrics of memory, in the same unit: its use is the share of what is used."""

ENGINE: Final = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""Taken for the utilisation where it is told: a share, and true for parts of a chip too. [1]"""

_LINE: Final = re.compile(
    r"^(?P<name>DCGM_[A-Z0-9_]+)\{(?P<labels>.*)\}\s+(?P<value>\S+)(?:\s+\d+)?$"
)
_LABEL: Final = re.compile(r'(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator.

    Attributes
    ----------
    host, number
        Where it is; numbers may change with a start of the host.
    values
        In the order of a rack batch; all NaN if one is missing.
    uuid
        Which one it is, or "".
    lacks
        Metrics that are missing.
    """

    host: str
    number: int
    values: tuple[float, float, float, float, float]
    uuid: str = ""
    lacks: tuple[str, ...] = ()


ABSENT: Final = (math.nan, math.nan, math.nan, math.nan, math.nan)
"""Values of an accelerator that is not there."""


def get_dcgm(url: str) -> str:
    """Return what an exporter says now.

    Parameters
    ----------
    url
        As ``http://node-1:9400/metrics``.

    Raises
    ------
    SeriesError
        If it does not answer.
    """
    if not url.startswith(("http://", "https://")):
        raise SeriesError(
            url, [Fault(place="url", value=url, mend="write http://HOST:9400/metrics")]
        )
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return bytes(answer.read(LARGEST + 1)).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as error:
        mend = "is dcgm-exporter running there, and may this machine reach it?"
        raise SeriesError(url, [Fault(place="exporter", value=str(error), mend=mend)]) from error


def read_dcgm(text: str, source: str = "dcgm-exporter") -> list[Chip]:
    """Return the accelerators of an exporter's text, by host and number.

    Parameters
    ----------
    text
        Prometheus text; other metrics are passed over, parts of a chip (MIG) too.
    source
        What to call it in an error.

    Raises
    ------
    SeriesError
        If it is too long or tells of no accelerator, or each lacks a metric; all are named at once.
    """
    if len(text) > LARGEST:
        mend = f"an exporter says at most {LARGEST} letters; ask it for fewer metrics"
        raise SeriesError(source, [Fault(place="size", value=str(len(text)), mend=mend)])
    found: dict[tuple[str, int], dict[str, float]] = {}
    names: dict[tuple[str, int], str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match["labels"]))
        number = labels.get("gpu", "")
        if labels.get("GPU_I_ID") or not (number.isascii() and number.isdigit()):
            continue
        if len(number) > MOST:
            continue
        key = labels.get("Hostname", ""), int(number)
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if np.isfinite(value):
            found.setdefault(key, {})[match["name"]] = value
            names[key] = labels.get("UUID", "")
    chips = [_chip(key, told, names[key]) for key, told in sorted(found.items())]
    faults = [_lacking(chip) for chip in chips if chip.lacks]
    if not found:
        mend = "its counters must have the metrics of docs/telemetry.md"
        faults.append(Fault(place="metrics", value="none of an accelerator", mend=mend))
    if len(faults) == max(len(chips), 1):
        raise SeriesError(source, faults)
    return chips


def batch_of(
    chips: Iterable[Chip],
    rack: tuple[str, str, str],
    *,
    key: tuple[int, int],
    time: np.datetime64,
    interval: np.timedelta64,
) -> RackBatch:
    """Return the chips of one rack as a batch.

    Parameters
    ----------
    chips
        Of all its hosts, in the order of their places.
    rack
        Site, hall and rack.
    key
        When the sender started, and its count since.
    time, interval
        End and length of what they tell of. [datetime64, UTC]
    """
    site, hall, name = rack
    values = np.array([chip.values for chip in chips], dtype=np.float32).T
    return RackBatch(
        site=site,
        hall=hall,
        rack=name,
        boot=key[0],
        sequence=key[1],
        time=time,
        interval=interval,
        values=np.ascontiguousarray(values),
    )


def _chip(key: tuple[str, int], told: dict[str, float], uuid: str) -> Chip:
    """Return one accelerator; it is not there if a metric of it is missing."""
    host, number = key
    values = {
        name: told[metric] * factor for name, (metric, factor) in METRICS.items() if metric in told
    }
    if ENGINE in told:
        values["utilisation"] = told[ENGINE]
    total = told.get(USED, np.nan) + told.get(FREE, np.nan)
    if total > 0.0:
        values["memory"] = told[USED] / total
    wanted = ("power", "temperature", "utilisation", "memory", "clock")
    missing = [name for name in wanted if name not in values]
    lacks = tuple(METRICS[name][0] if name in METRICS else USED for name in missing)
    if lacks:
        return Chip(host=host, number=number, values=ABSENT, uuid=uuid, lacks=lacks)
    power, temperature, use, memory, clock = (values[name] for name in wanted)
    all_known = (power, temperature, use, memory, clock)
    return Chip(host=host, number=number, values=all_known, uuid=uuid)


def _lacking(chip: Chip) -> Fault:
    mend = f"let the exporter tell {', '.join(chip.lacks)}"
    return Fault(place=f"{chip.host} gpu {chip.number}", value="", mend=mend)
