"""Tell by columns and content what a file holds."""

from pathlib import Path
from typing import Literal

from telemetry.sources.carbon import kinds
from telemetry.sources.jobs import WANTED
from telemetry.sources.market import is_answer, read_market
from telemetry.sources.prices import is_priced
from telemetry.sources.table import read_text

Kind = Literal["prices", "carbon", "weather", "jobs"]


def recognise(path: str | Path) -> Kind:
    """Return what a file holds, whatever its name is.

    Parameters
    ----------
    path
        Any file that one of the readers reads.

    Returns
    -------
    str
        ``prices`` (also for a file of prices and carbon), ``carbon``, ``weather`` or ``jobs``.

    Raises
    ------
    SeriesError
        If no reader would take it; names the columns found.
    """
    text = read_text(path).lstrip()
    if text.startswith(("LOCATION,", "#1")) or (text.startswith("{") and not is_answer(text)):
        return "weather"
    table = read_market(path)
    if set(WANTED) <= set(table.columns):
        return "jobs"
    if any(is_priced(name) for name in table.columns):
        return "prices"
    if kinds(table):
        return "carbon"
    mend = "these columns are those of no series; wanted is prices, carbon, weather or jobs"
    raise table.unfit(mend)
