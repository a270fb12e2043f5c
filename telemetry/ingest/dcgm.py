"""Read accelerators of the hosts of a rack from dcgm-exporters (Prometheus text), as rack batches.

An accelerator that fails disappears from its exporter, and a restart of its host may renumber the
others. So a file stores the UUID at each position of a batch, and positions stay the same.
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

from telemetry.durable_files import read_json_with_checksum, write_atomic
from telemetry.messages.samples import RackBatch
from telemetry.series.table import check_web_address, series_error
from twin.errors import IssueCode, JournalError, SeriesError, ValidationIssue

EXPORTER_TIMEOUT_S: Final = 5.0
"""Longest wait for an exporter. [s]"""

MAX_EXPORTER_TEXT_BYTES: Final = 1024 * 1024
"""Largest text that is read; a host of eight chips has about 100 kB. [B]"""

MAX_NUMBER_DIGITS: Final = 4
"""Digits of the number of an accelerator in its host. [1]"""

CHIP_METRICS: Final = {
    "power": ("DCGM_FI_DEV_POWER_USAGE", 1.0),
    "temperature": ("DCGM_FI_DEV_GPU_TEMP", 1.0),
    "utilisation": ("DCGM_FI_DEV_GPU_UTIL", 0.01),
    "clock": ("DCGM_FI_DEV_SM_CLOCK", 1.0),
}
"""Variable of a chip -> metric, and the factor to [W], [degC], [1] and [MHz]."""

MEMORY_USED_METRIC, MEMORY_FREE_METRIC = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
"""Metrics of used and free memory, in the same unit."""

ENGINE_ACTIVE_METRIC: Final = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""Preferred metric of utilisation: a share that is also right for parts of a chip. [1]"""

_LINE: Final = re.compile(
    r"^(?P<name>DCGM_[A-Z0-9_]+)\{(?P<labels>.*)\}\s+(?P<value>\S+)(?:\s+\d+)?$"
)
_LABEL: Final = re.compile(r'(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class DcgmChip:
    """One accelerator.

    - `host`, `number`: its host, and its number there, which may change when the host restarts.
    - `values`: in the order of a rack batch; all NaN if one is missing.
    - `uuid`: its identity, or "".
    """

    host: str
    number: int
    values: tuple[float, float, float, float, float]
    uuid: str = ""
    missing_metrics: tuple[str, ...] = ()


NO_CHIP_VALUES: Final = (math.nan, math.nan, math.nan, math.nan, math.nan)
"""Values of a missing accelerator."""


def fetch_exporter(url: str) -> str:
    """Return the current text of an exporter, such as ``http://node-1:9400/metrics``."""
    check_web_address(url, "write http://HOST:9400/metrics")
    try:
        with urllib.request.urlopen(url, timeout=EXPORTER_TIMEOUT_S) as response:
            return bytes(response.read(MAX_EXPORTER_TEXT_BYTES + 1)).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as error:
        raise series_error(
            url,
            "exporter",
            found=str(error),
            expected="metrics of dcgm-exporter",
            remedy="check that dcgm-exporter runs there and that this machine reaches it",
            code=IssueCode.UNREACHABLE,
        ) from error


def parse_exporter_text(text: str, source: str = "dcgm-exporter") -> list[DcgmChip]:
    """Return the accelerators of an exporter's text, by host and number.

    Other metrics and parts of a chip (MIG) are ignored. A text that is too long or has no complete
    accelerator raises SeriesError with all issues, under the name ``source``.
    """
    if len(text) > MAX_EXPORTER_TEXT_BYTES:
        raise series_error(
            source,
            "size",
            found=str(len(text)),
            expected=f"at most {MAX_EXPORTER_TEXT_BYTES} letters",
            remedy="configure the exporter with fewer metrics",
            code=IssueCode.TOO_LARGE,
        )
    metrics: dict[tuple[str, int], dict[str, float]] = {}
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
            metrics.setdefault(key, {})[match["name"]] = value
            names[key] = labels.get("UUID", "")
    chips = [_chip(key, values, names[key]) for key, values in sorted(metrics.items())]
    issues = [_missing_metrics_issue(chip) for chip in chips if chip.missing_metrics]
    if not metrics:
        issue = IssueCode.MISSING.issue(
            "metrics",
            found="none of an accelerator",
            expected="the metrics of docs/how-to/operators/rack-agents.md",
            remedy="add them to the counters of the exporter",
        )
        issues.append(issue)
    if len(issues) == max(len(chips), 1):
        raise SeriesError(source, issues)
    return chips


def to_rack_batch(
    chips: Iterable[DcgmChip],
    rack: tuple[str, str, str],
    *,
    key: tuple[int, int],
    time: np.datetime64,
    interval: np.timedelta64,
) -> RackBatch:
    """Return the chips of one rack, in the order of their positions, as a batch.

    ``rack`` is site, hall and rack; ``key`` the start of the sender [s since 1970] and its sequence
    number; time and interval the end and length of the measured interval.
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


def _chip(key: tuple[str, int], metrics: dict[str, float], uuid: str) -> DcgmChip:
    """Return one accelerator; without values if one of its metrics is missing."""
    host, number = key
    values = {
        name: metrics[metric] * factor
        for name, (metric, factor) in CHIP_METRICS.items()
        if metric in metrics
    }
    if ENGINE_ACTIVE_METRIC in metrics:
        values["utilisation"] = metrics[ENGINE_ACTIVE_METRIC]
    total = metrics.get(MEMORY_USED_METRIC, np.nan) + metrics.get(MEMORY_FREE_METRIC, np.nan)
    if total > 0.0:
        values["memory"] = metrics[MEMORY_USED_METRIC] / total
    names = ("power", "temperature", "utilisation", "memory", "clock")
    missing = tuple(
        CHIP_METRICS[name][0] if name in CHIP_METRICS else MEMORY_USED_METRIC
        for name in names
        if name not in values
    )
    if missing:
        return DcgmChip(
            host=host, number=number, values=NO_CHIP_VALUES, uuid=uuid, missing_metrics=missing
        )
    power, temperature, use, memory, clock = (values[name] for name in names)
    all_known = (power, temperature, use, memory, clock)
    return DcgmChip(host=host, number=number, values=all_known, uuid=uuid)


def _missing_metrics_issue(chip: DcgmChip) -> ValidationIssue:
    return IssueCode.MISSING.issue(
        f"{chip.host} gpu {chip.number}",
        expected=", ".join(chip.missing_metrics),
        remedy="add these metrics to the counters of the exporter",
    )


NO_ANSWER_YET: Final = "it has not answered yet"
"""Error of an exporter whose response is late."""

MAX_CHIPS_PER_HOST: Final = 1024
"""Positions of a host that are accepted from a file. [1]"""

_logger = structlog.get_logger(__name__)


class DcgmRackReader:
    """Reads all hosts of a rack at once; a silent host affects only its own positions.

    - `exporters`: URLs, in the order of their positions.
    - `path`: file of the UUID at each position.
    - `each`: accelerators of each host. By default as many as the host ever reported, and for a
      host without reports as many as the largest other.
    - `fetch`: returns the text of an exporter.
    - `errors`: URL -> text of the last error.
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
        self._positions = _read_positions(path)
        self._pool = ThreadPoolExecutor(max_workers=len(exporters), thread_name_prefix="exporter")
        self._late: dict[str, Future[list[DcgmChip]]] = {}
        self.errors: dict[str, str] = {}

    def close(self) -> None:
        """Stop waiting for exporters."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, timeout: float) -> list[DcgmChip]:
        """Return the accelerators of the rack by position, waiting at most ``timeout`` [s].

        All values of a missing or incomplete accelerator are NaN. If no accelerator has values,
        SeriesError is raised.
        """
        self._late = {url: one for url, one in self._late.items() if not one.done()}
        requests = {
            url: self._pool.submit(self._request, url)
            for url in self._exporters
            if url not in self._late
        }
        wait(requests.values(), timeout=timeout)
        self._late |= {url: one for url, one in requests.items() if not one.done()}
        self.errors = dict.fromkeys(self._late, NO_ANSWER_YET)
        responses = {
            url: self._response(url, one) for url, one in requests.items() if url not in self._late
        }
        before = json.dumps(self._positions)
        found = {url: self._arrange(url, chips) for url, chips in responses.items()}
        if json.dumps(self._positions) != before:
            self._store()
        chips = [chip for url in self._exporters for chip in found.get(url) or self._absent(url)]
        if not any(chip.values[0] >= 0.0 for chip in chips):
            issues = [
                IssueCode.MISSING.issue(
                    url,
                    found=reason,
                    expected="values of an accelerator",
                    remedy="check the exporter and its host",
                )
                for url, reason in self.errors.items()
            ]
            raise SeriesError("the rack", issues)
        return chips

    def _request(self, url: str) -> list[DcgmChip]:
        return parse_exporter_text(self._fetch(url), url)

    def _response(self, url: str, request: "Future[list[DcgmChip]]") -> list[DcgmChip]:
        """Return the chips of an exporter, or none; record what is wrong."""
        try:
            chips = request.result()
        except SeriesError as error:
            self.errors[url] = str(error)
            return []
        errors = [
            f"gpu {chip.number} lacks {', '.join(chip.missing_metrics)}"
            for chip in chips
            if chip.missing_metrics
        ]
        count = len(self._positions.get(url, []))
        absent = count - len(chips)
        errors += [f"{absent} of {count} accelerators are missing"] if absent > 0 else []
        if errors:
            self.errors[url] = "; ".join(errors)
        return chips

    def _arrange(self, url: str, chips: list[DcgmChip]) -> list[DcgmChip]:
        """Return the accelerators of a host by position; new ones take free positions."""
        known = self._positions.setdefault(url, [])
        names = [chip.uuid for chip in chips]
        is_one_host = len({chip.host for chip in chips}) <= 1
        found: dict[int, DcgmChip] = {}
        new_chips: list[DcgmChip] = []
        for chip in chips:
            if chip.uuid and names.count(chip.uuid) == 1 and chip.uuid in known:
                found[known.index(chip.uuid)] = chip
            else:
                new_chips.append(chip)
        for count, chip in enumerate(new_chips):
            wanted = chip.number if is_one_host else count
            is_taken = wanted in found or wanted >= MAX_CHIPS_PER_HOST
            position = (
                next(n for n in range(MAX_CHIPS_PER_HOST) if n not in found) if is_taken else wanted
            )
            found[position] = chip
            known += [""] * (position + 1 - len(known))
            known[position] = chip.uuid if names.count(chip.uuid) == 1 else ""
        return [found.get(n) or _absent_chip(n) for n in range(self._count(url))]

    def _absent(self, url: str) -> list[DcgmChip]:
        return [_absent_chip(number) for number in range(self._count(url))]

    def _count(self, url: str) -> int:
        """Return the number of positions of a host."""
        reported = len(self._positions.get(url, ()))
        largest = max((len(known) for known in self._positions.values()), default=0)
        return max(reported or largest, self._each or 0)

    def _store(self) -> None:
        """Write the positions to the file; if the disk is full they stay in memory only."""
        try:
            write_atomic(self._path, json.dumps(self._positions))
        except JournalError as error:
            _logger.warning("places not on disk", because=str(error))


def _absent_chip(number: int) -> DcgmChip:
    return DcgmChip(host="", number=number, values=NO_CHIP_VALUES)


def _read_positions(path: Path) -> dict[str, list[str]]:
    """Return the positions in a file; none if it does not exist or is damaged."""
    try:
        positions = read_json_with_checksum(path, dict[str, list[str]])
        return {url: known[:MAX_CHIPS_PER_HOST] for url, known in positions.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # positions are assigned again
        _logger.warning("places unreadable", file=path.name, because=str(error))
        return {}
