"""Answers of Electricity Maps: the carbon intensity of a zone, past and to come, as a table."""

from typing import Final

from pydantic import BaseModel, Field

from telemetry.sources.answers import table_of
from telemetry.sources.table import Table
from twin.errors import Fault, SeriesError

HEADERS: Final = {
    "lifecycle": "Carbon intensity gCO2eq/kWh (Life cycle)",
    "direct": "Carbon intensity gCO2eq/kWh (direct)",
}
"""Header of each kind of intensity, as the service's own files have it."""


class Intensity(BaseModel):
    """One hour."""

    time: str = Field(alias="datetime")
    value: float | None = Field(alias="carbonIntensity")
    kind: str = Field(default="", alias="emissionFactorType")


class Answer(BaseModel):
    """An answer of ``/carbon-intensity/history`` or ``/forecast``, or several of them as one."""

    zone: str
    history: list[Intensity] = []
    forecast: list[Intensity] = []


def intensity_table(source: str, answer: Answer) -> Table:
    """Return intensities by time, blank where the answer has null; of two the later one told.

    Raises
    ------
    SeriesError
        If it holds none, or those of two kinds.

    Notes
    -----
    A forecast names no kind; it is of that of the history beside it, and of a life cycle alone,
    which is what the service gives unless it is asked for another.
    """
    hours = [*answer.history, *answer.forecast]
    kinds = sorted({one.kind for one in hours if one.kind})
    if len(kinds) > 1 or not hours:
        mend = "ask for hours of one kind" if kinds else "ask again later, or for another zone"
        value = ", ".join(kinds) or "none"
        raise SeriesError(source, [Fault(place=f"{source}, intensities", value=value, mend=mend)])
    (kind,) = kinds or ["lifecycle"]
    if kind not in HEADERS:
        mend = f"known are {' and '.join(HEADERS)}"
        fault = Fault(place=f"{source}, emissionFactorType", value=kind, mend=mend)
        raise SeriesError(source, [fault])
    told = {one.time: one.value for one in hours}
    texts = ["" if value is None else str(value) for value in told.values()]
    zones = [answer.zone] * len(told)
    columns = {"datetime_utc": list(told), HEADERS[kind]: texts, "Zone id": zones}
    return table_of(source, columns)
