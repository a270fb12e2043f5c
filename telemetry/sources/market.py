"""Prices and carbon in whatever form: separated text, or an answer of a service as it came."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from telemetry.sources.answers import parsed, unfit
from telemetry.sources.electricity_maps import Answer, intensity_table
from telemetry.sources.energy_charts import Prices, Production, carbon_table
from telemetry.sources.energy_charts import prices_table as energy_charts_prices
from telemetry.sources.entsoe import prices_table as entsoe_prices
from telemetry.sources.fetching import printable
from telemetry.sources.table import Table, read_table, read_text
from twin.errors import Fault, SeriesError

KEYS: Final = ("unix_seconds", "history", "forecast")
"""Keys of which each answer in JSON has one."""

WANTED: Final = (
    "is JSON, but no answer of Energy-Charts or Electricity Maps; wanted is one of these, or "
    "separated text with a header, as time_utc,price_eur_mwh"
)


def read_market(path: str | Path) -> Table:
    """Return the columns of a file of prices or carbon.

    Parameters
    ----------
    path
        Separated text, or what Energy-Charts (``/price``, ``/public_power``), Electricity Maps or
        ENTSO-E (A44) answered; told apart by content.

    Returns
    -------
    Table
        Its columns as texts, with units in their headers.

    Raises
    ------
    SeriesError
        If it is none of these, or cannot be read.
    """
    text, source = read_text(path), Path(path).name
    opening = text.lstrip()[:1]
    if opening == "<":
        return entsoe_prices(source, text)
    return answered(source, text) if opening == "{" else read_table(path)


def is_answer(text: str) -> bool:
    """Return whether a text in JSON looks like an answer about prices or carbon."""
    return any(f'"{key}"' in text for key in KEYS)


def answered(source: str, text: str) -> Table:
    """Return the columns of an answer in JSON.

    Raises
    ------
    SeriesError
        If it is no answer of a service that is known, or says why there is none.
    """
    answer = parsed(source, text)
    told = answer if isinstance(answer, dict) else {}
    keys = set(told)
    try:
        if {"unix_seconds", "price"} <= keys:
            return energy_charts_prices(source, Prices.model_validate(answer))
        if {"unix_seconds", "production_types"} <= keys:
            return carbon_table(source, Production.model_validate(answer))
        if "zone" in keys and keys & {"history", "forecast"}:
            return intensity_table(source, Answer.model_validate(answer))
    except ValidationError as error:
        raise unfit(source, error) from error
    said = keys & {"message", "detail", "reason"}
    value = ", ".join(str(told[key]) for key in sorted(said)) or ", ".join(sorted(keys))
    raise SeriesError(source, [Fault(place=source, value=printable(value), mend=WANTED)])
