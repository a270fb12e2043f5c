"""What dcgm-exporter tells of the accelerators of a host: Prometheus text, as rack batches.

The hosts of a rack by their dcgm-exporters: each accelerator keeps its place in the batch.

An accelerator that falls off the bus vanishes from its exporter, and after a start of its host the
others are numbered anew: so each place remembers which accelerator is in it.
"""

import json
import math
import re
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.files import write_atomic
from telemetry.messages.models import RackBatch
from twin.errors import JournalError, SeriesError, ValidationIssue

EXPORTER_TIMEOUT_S: Final = 5.0
"""Longest wait for an exporter. [s]"""

MAX_EXPORTER_TEXT_BYTES: Final = 1024 * 1024
"""Text that is read at the most; a host of eight chips has about 100 kB. [B]"""

MAX_NUMBER_DIGITS: Final = 4
"""Digits of an accelerator's number in its host."""

CHIP_METRICS: Final = {
    "power": ("DCGM_FI_DEV_POWER_USAGE", 1.0),
    "temperature": ("DCGM_FI_DEV_GPU_TEMP", 1.0),
    "utilisation": ("DCGM_FI_DEV_GPU_UTIL", 0.01),
    "clock": ("DCGM_FI_DEV_SM_CLOCK", 1.0),
}
"""Variable of a chip -> metric, and the factor to [W], [degC], [1] and [MHz]."""

MEMORY_USED_METRIC, MEMORY_FREE_METRIC = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
"""Metrics of memory, in the same unit: its use is the share of what is used."""

ENGINE_ACTIVE_METRIC: Final = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""Taken for the utilisation where it is told: a share, and true for parts of a chip too. [1]"""

_LINE: Final = re.compile(
    r"^(?P<name>DCGM_[A-Z0-9_]+)\{(?P<labels>.*)\}\s+(?P<value>\S+)(?:\s+\d+)?$"
)
_LABEL: Final = re.compile(r'(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class DcgmChip:
    """One accelerator.

    Attributes
    ----------
    host, number
        Where it is; numbers may change with a start of the host.
    values
        In the order of a rack batch; all NaN if one is missing.
    uuid
        Which one it is, or "".
    missing_metrics
        Metrics that are missing.
    """

    host: str
    number: int
    values: tuple[float, float, float, float, float]
    uuid: str = ""
    missing_metrics: tuple[str, ...] = ()


NO_CHIP_VALUES: Final = (math.nan, math.nan, math.nan, math.nan, math.nan)
"""Values of an accelerator that is not there."""


def fetch_exporter(url: str) -> str:
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
            url,
            [ValidationIssue(location="url", found=url, remedy="write http://HOST:9400/metrics")],
        )
    try:
        with urllib.request.urlopen(url, timeout=EXPORTER_TIMEOUT_S) as answer:
            return bytes(answer.read(MAX_EXPORTER_TEXT_BYTES + 1)).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as error:
        remedy = "is dcgm-exporter running there, and may this machine reach it?"
        raise SeriesError(
            url, [ValidationIssue(location="exporter", found=str(error), remedy=remedy)]
        ) from error


def parse_exporter_text(text: str, source: str = "dcgm-exporter") -> list[DcgmChip]:
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
    if len(text) > MAX_EXPORTER_TEXT_BYTES:
        remedy = (
            f"an exporter says at most {MAX_EXPORTER_TEXT_BYTES} letters; ask it for fewer metrics"
        )
        raise SeriesError(
            source, [ValidationIssue(location="size", found=str(len(text)), remedy=remedy)]
        )
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
        if len(number) > MAX_NUMBER_DIGITS:
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
    faults = [_lacking(chip) for chip in chips if chip.missing_metrics]
    if not found:
        remedy = "its counters must have the metrics of docs/telemetry.md"
        faults.append(
            ValidationIssue(location="metrics", found="none of an accelerator", remedy=remedy)
        )
    if len(faults) == max(len(chips), 1):
        raise SeriesError(source, faults)
    return chips


def to_rack_batch(
    chips: Iterable[DcgmChip],
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


def _chip(key: tuple[str, int], told: dict[str, float], uuid: str) -> DcgmChip:
    """Return one accelerator; it is not there if a metric of it is missing."""
    host, number = key
    values = {
        name: told[metric] * factor
        for name, (metric, factor) in CHIP_METRICS.items()
        if metric in told
    }
    if ENGINE_ACTIVE_METRIC in told:
        values["utilisation"] = told[ENGINE_ACTIVE_METRIC]
    total = told.get(MEMORY_USED_METRIC, np.nan) + told.get(MEMORY_FREE_METRIC, np.nan)
    if total > 0.0:
        values["memory"] = told[MEMORY_USED_METRIC] / total
    wanted = ("power", "temperature", "utilisation", "memory", "clock")
    missing = [name for name in wanted if name not in values]
    lacks = tuple(
        CHIP_METRICS[name][0] if name in CHIP_METRICS else MEMORY_USED_METRIC for name in missing
    )
    if lacks:
        return DcgmChip(
            host=host, number=number, values=NO_CHIP_VALUES, uuid=uuid, missing_metrics=lacks
        )
    power, temperature, use, memory, clock = (values[name] for name in wanted)
    all_known = (power, temperature, use, memory, clock)
    return DcgmChip(host=host, number=number, values=all_known, uuid=uuid)


def _lacking(chip: DcgmChip) -> ValidationIssue:
    remedy = f"let the exporter tell {', '.join(chip.missing_metrics)}"
    return ValidationIssue(location=f"{chip.host} gpu {chip.number}", found="", remedy=remedy)


NO_ANSWER_YET: Final = "it has not answered yet"
"""What is wrong with an exporter that is waited for."""

MAX_CHIPS_PER_HOST: Final = 1024
"""Most places of a host that are believed of a file."""

_logger = structlog.get_logger(__name__)


class DcgmRackReader:
    """Hears all hosts of a rack at once; one that is silent takes only its own places along.

    Parameters
    ----------
    exporters
        URLs, in the order of their places.
    path
        File that remembers which accelerator is in which place.
    each
        Accelerators of each host; as many as were ever heard of it if None, and of one that was
        never heard as many as of the largest other.
    fetch
        Returns the text of an exporter.

    Attributes
    ----------
    troubles
        URL -> what is wrong with it, in words.
    """

    def __init__(
        self,
        exporters: Sequence[str],
        *,
        path: Path,
        each: int | None = None,
        fetch: Callable[[str], str] = fetch_exporter,
    ) -> None:
        self._exporters, self._path, self._each, self._fetch = exporters, path, each, fetch
        self._places = _read(path)
        self._pool = ThreadPoolExecutor(max_workers=len(exporters), thread_name_prefix="exporter")
        self._late: dict[str, Future[list[DcgmChip]]] = {}
        self.troubles: dict[str, str] = {}

    def close(self) -> None:
        """Wait for nobody any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, timeout: float) -> list[DcgmChip]:
        """Return the accelerators of the rack, in their places.

        Parameters
        ----------
        timeout
            Longest wait for an answer. [s]

        Returns
        -------
        list of DcgmChip
            All values of one that is not there, or lacks a metric, are NaN.

        Raises
        ------
        SeriesError
            If nothing is known of any.
        """
        self._late = {url: one for url, one in self._late.items() if not one.done()}
        asked = {
            url: self._pool.submit(self._ask, url)
            for url in self._exporters
            if url not in self._late
        }
        wait(asked.values(), timeout=timeout)
        self._late |= {url: one for url, one in asked.items() if not one.done()}
        self.troubles = dict.fromkeys(self._late, NO_ANSWER_YET)
        told = {url: self._answer(url, one) for url, one in asked.items() if url not in self._late}
        before = json.dumps(self._places)
        found = {url: self._arrange(url, chips) for url, chips in told.items()}
        if json.dumps(self._places) != before:
            self._keep()
        chips = [chip for url in self._exporters for chip in found.get(url) or self._nobody(url)]
        if not any(chip.values[0] >= 0.0 for chip in chips):
            faults = [
                ValidationIssue(location=url, found="nothing", remedy=why)
                for url, why in self.troubles.items()
            ]
            raise SeriesError("the rack", faults)
        return chips

    def _ask(self, url: str) -> list[DcgmChip]:
        return parse_exporter_text(self._fetch(url), url)

    def _answer(self, url: str, asked: "Future[list[DcgmChip]]") -> list[DcgmChip]:
        """Return what an exporter said; nothing, and why, if it is of no use."""
        try:
            chips = asked.result()
        except SeriesError as error:
            self.troubles[url] = str(error)
            return []
        lacks = [
            f"gpu {chip.number} lacks {', '.join(chip.missing_metrics)}"
            for chip in chips
            if chip.missing_metrics
        ]
        count = len(self._places.get(url, []))
        absent = count - len(chips)
        lacks += [f"{absent} of {count} accelerators are not there"] if absent > 0 else []
        if lacks:
            self.troubles[url] = "; ".join(lacks)
        return chips

    def _arrange(self, url: str, chips: list[DcgmChip]) -> list[DcgmChip]:
        """Return the accelerators of a host in their places, new ones in free ones."""
        known = self._places.setdefault(url, [])
        names = [chip.uuid for chip in chips]
        is_one_host = len({chip.host for chip in chips}) <= 1
        found: dict[int, DcgmChip] = {}
        strange: list[DcgmChip] = []
        for chip in chips:
            if chip.uuid and names.count(chip.uuid) == 1 and chip.uuid in known:
                found[known.index(chip.uuid)] = chip
            else:
                strange.append(chip)
        for count, chip in enumerate(strange):
            wanted = chip.number if is_one_host else count
            taken = wanted in found or wanted >= MAX_CHIPS_PER_HOST
            place = (
                next(n for n in range(MAX_CHIPS_PER_HOST) if n not in found) if taken else wanted
            )
            found[place] = chip
            known += [""] * (place + 1 - len(known))
            known[place] = chip.uuid if names.count(chip.uuid) == 1 else ""
        return [found.get(n) or _nobody(n) for n in range(self._count(url))]

    def _nobody(self, url: str) -> list[DcgmChip]:
        return [_nobody(number) for number in range(self._count(url))]

    def _count(self, url: str) -> int:
        """Return the number of places of a host."""
        heard = len(self._places.get(url, ()))
        largest = max((len(known) for known in self._places.values()), default=0)
        return max(heard or largest, self._each or 0)

    def _keep(self) -> None:
        """Write down who is where; on a full disk it is remembered until the end."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, json.dumps(self._places))
        except (OSError, JournalError) as error:
            _logger.warning("places not on disk", because=str(error))


def _nobody(number: int) -> DcgmChip:
    return DcgmChip(host="", number=number, values=NO_CHIP_VALUES)


def _read(path: Path) -> dict[str, list[str]]:
    """Return what a file says of the places; nothing if there is none, or it is no such file."""
    try:
        told = json.loads(path.read_bytes())
        return {
            str(url): [str(one) for one in known[:MAX_CHIPS_PER_HOST]]
            for url, known in told.items()
        }
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever stands there, places are found anew
        _logger.warning("places unreadable", file=path.name, because=str(error))
        return {}
