"""The hosts of a rack by their dcgm-exporters: each accelerator keeps its place in the batch.

An accelerator that falls off the bus vanishes from its exporter, and after a start of its host the
others are numbered anew: so each place remembers which accelerator is in it.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import structlog

from telemetry.durable import write_whole
from telemetry.sources.dcgm import ABSENT, Chip, get_dcgm, read_dcgm
from twin.errors import Fault, JournalError, SeriesError

SLOW: Final = "it has not answered yet"
"""What is wrong with an exporter that is waited for."""

LARGEST: Final = 1024
"""Most places of a host that are believed of a file."""

_logger = structlog.get_logger(__name__)


class DcgmRack:
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
        fetch: Callable[[str], str] = get_dcgm,
    ) -> None:
        self._exporters, self._path, self._each, self._fetch = exporters, path, each, fetch
        self._places = _read(path)
        self._pool = ThreadPoolExecutor(max_workers=len(exporters), thread_name_prefix="exporter")
        self._late: dict[str, Future[list[Chip]]] = {}
        self.troubles: dict[str, str] = {}

    def close(self) -> None:
        """Wait for nobody any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, patience: float) -> list[Chip]:
        """Return the accelerators of the rack, in their places.

        Parameters
        ----------
        patience
            Longest wait for an answer. [s]

        Returns
        -------
        list of Chip
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
        wait(asked.values(), timeout=patience)
        self._late |= {url: one for url, one in asked.items() if not one.done()}
        self.troubles = dict.fromkeys(self._late, SLOW)
        told = {url: self._answer(url, one) for url, one in asked.items() if url not in self._late}
        before = json.dumps(self._places)
        found = {url: self._arrange(url, chips) for url, chips in told.items()}
        if json.dumps(self._places) != before:
            self._keep()
        chips = [chip for url in self._exporters for chip in found.get(url) or self._nobody(url)]
        if not any(chip.values[0] >= 0.0 for chip in chips):
            faults = [
                Fault(place=url, value="nothing", mend=why) for url, why in self.troubles.items()
            ]
            raise SeriesError("the rack", faults)
        return chips

    def _ask(self, url: str) -> list[Chip]:
        return read_dcgm(self._fetch(url), url)

    def _answer(self, url: str, asked: "Future[list[Chip]]") -> list[Chip]:
        """Return what an exporter said; nothing, and why, if it is of no use."""
        try:
            chips = asked.result()
        except SeriesError as error:
            self.troubles[url] = str(error)
            return []
        lacks = [f"gpu {chip.number} lacks {', '.join(chip.lacks)}" for chip in chips if chip.lacks]
        count = len(self._places.get(url, []))
        absent = count - len(chips)
        lacks += [f"{absent} of {count} accelerators are not there"] if absent > 0 else []
        if lacks:
            self.troubles[url] = "; ".join(lacks)
        return chips

    def _arrange(self, url: str, chips: list[Chip]) -> list[Chip]:
        """Return the accelerators of a host in their places, new ones in free ones."""
        known = self._places.setdefault(url, [])
        names = [chip.uuid for chip in chips]
        is_one_host = len({chip.host for chip in chips}) <= 1
        found: dict[int, Chip] = {}
        strange: list[Chip] = []
        for chip in chips:
            if chip.uuid and names.count(chip.uuid) == 1 and chip.uuid in known:
                found[known.index(chip.uuid)] = chip
            else:
                strange.append(chip)
        for count, chip in enumerate(strange):
            wanted = chip.number if is_one_host else count
            taken = wanted in found or wanted >= LARGEST
            place = next(n for n in range(LARGEST) if n not in found) if taken else wanted
            found[place] = chip
            known += [""] * (place + 1 - len(known))
            known[place] = chip.uuid if names.count(chip.uuid) == 1 else ""
        return [found.get(n) or _nobody(n) for n in range(self._count(url))]

    def _nobody(self, url: str) -> list[Chip]:
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
            write_whole(self._path, json.dumps(self._places))
        except (OSError, JournalError) as error:
            _logger.warning("places not on disk", because=str(error))


def _nobody(number: int) -> Chip:
    return Chip(host="", number=number, values=ABSENT)


def _read(path: Path) -> dict[str, list[str]]:
    """Return what a file says of the places; nothing if there is none, or it is no such file."""
    try:
        told = json.loads(path.read_bytes())
        return {str(url): [str(one) for one in known[:LARGEST]] for url, known in told.items()}
    except FileNotFoundError:
        return {}
    except Exception as error:  # whatever stands there, places are found anew
        _logger.warning("places unreadable", file=path.name, because=str(error))
        return {}
