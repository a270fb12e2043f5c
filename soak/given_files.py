"""Readers of files that people provide: series, sites, thresholds."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from sites import catalogue, loading
from soak.mutating import Spoil
from soak.ways_in import MESSAGE, TABLE, Reader
from telemetry.points import plausible_ranges
from telemetry.series import read_positions, read_reserves, recognise_series_kind
from telemetry.series.bundle import read as read_bundle
from telemetry.series.workload import read_load
from twin.errors import SeriesError, SiteError


def files() -> list[Reader]:
    """Return the readers of files that a person gives."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def in_file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
        path = folder / name

        def from_bytes(raw: bytes) -> object:
            path.write_bytes(raw)
            return read(path)

        return from_bytes

    series = in_file(
        lambda path: (recognise_series_kind(path), read_bundle(path, year=2026)), "series"
    )
    load = in_file(read_load, "load")
    bought, held = in_file(read_positions, "position"), in_file(read_reserves, "reserves")
    site = (catalogue.SITE_DIRS["decision"] / "small.toml").read_bytes()
    limits_ = json.dumps({"facility_flow/warm_plant": {"high": 900, "flat_for": 60.5}}).encode()
    table = json.dumps(catalogue.read_toml(catalogue.SITE_DIRS["decision"] / "small.toml")).encode()
    files = [
        *((name, text, series, SeriesError, spoils) for name, text, spoils in _series()),
        ("load", _load(), load, SeriesError, TABLE),
        ("position", _market("position_mw,imbalance_eur_mwh", 1), bought, SeriesError, TABLE),
        ("reserves", _market("fcr_mw,fcr_eur_mw_h", 4), held, SeriesError, TABLE),
        ("site file", site, in_file(loading.load_site, "site.toml"), SiteError, TABLE),
        ("site", table, _build, SiteError, MESSAGE),
        (
            "limits",
            limits_,
            in_file(plausible_ranges.read_site_limits, "limits.json"),
            SiteError,
            MESSAGE,
        ),
    ]
    return [
        Reader(
            name=name,
            share=0.15,
            valid=[text],
            read=read,
            refusals=(refusal,),
            spoils=spoils,
            is_message=False,
        )
        for name, text, read, refusal, spoils in files
    ]


def _build(raw: bytes) -> None:
    """Build a site from the table that a document holds, if TOML could hold it."""
    try:
        table = json.loads(raw)
        raw.decode()
        json.dumps(table, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return
    if isinstance(table, dict) and raw.count(b"[") + raw.count(b"{") < 500:  # as deep as it gets
        loading.build_site(table, "small", source="small.toml")


def _market(columns: str, step: int) -> bytes:
    """Return a day of what was bought or sold, so many hours a row."""
    rows = [f"2026-06-01T{hour:02d}:00Z,{hour / 8},18.5" for hour in range(0, 24, step)]
    return "\n".join([f"time_utc,{columns}", *rows]).encode()


def _series() -> list[tuple[str, bytes, tuple[tuple[Spoil, float], ...]]]:
    """Return short files of all series, each with how it is spoilt."""
    hours = [f"2026-06-01T{hour:02d}:00" for hour in range(24)]
    prices = "\n".join(
        [
            "time_utc,price_eur_mwh,ci_direct,ci_lca",
            *(f"{hour}Z,89.36,377.4,422.4" for hour in hours),
        ]
    )
    carbon = "\n".join(
        [
            "Datetime (UTC),Carbon Intensity gCO₂eq/kWh (direct)",
            *(f"{hour.replace('T', ' ')}:00,377.4" for hour in hours),
        ]
    )
    jobs = "\n".join(["arrival_time,length,cpus", *(f"{n}.25,3.5,{n + 1}" for n in range(20))])
    units = {
        "time": "iso8601",
        "temperature_2m": "°C",
        "relative_humidity_2m": "%",
        "cloud_cover": "%",
    }
    hourly = {"time": hours} | {name: [20.0] * 24 for name in list(units)[1:]}
    place = {"latitude": 50.1, "longitude": 8.6, "elevation": 111.0}
    meteo = place | {"utc_offset_seconds": 0, "hourly_units": units, "hourly": hourly}
    rows = [
        {"time(UTC)": f"20230601:{hour:02d}00", "T2m": 20.0, "RH": 50.0, "G(h)": 10.0, "SP": 1e5}
        for hour in range(24)
    ]
    pvgis = {"inputs": {"location": place}, "outputs": {"tmy_hourly": rows}}
    epw = "\n".join(
        [
            "LOCATION,TOWN,-,DEU,IWEC Data,000000,50.0,8.0,1.0,100.0",
            "DATA PERIODS,1,1,Data",
            *(
                f"1990,1,1,{hour},60,flags,{hour},0,50,100000,0,0,0,10,0,0,0,0,0,0,0,3.0,5,5,9,9"
                for hour in range(1, 25)
            ),
        ]
    )
    mos = "\n".join(
        [
            "#1",
            "double tab1(24,30)",
            "#LOCATION,T,-,F,I,0,45.0,-0.7,1.0,61.0",
            *(
                "\t".join([str(3600 * n), "20", "0", "50", "100000", *["0"] * 25])
                for n in range(24)
            ),
        ]
    )
    texts = {"prices": prices, "carbon": carbon, "jobs": jobs, "epw": epw, "mos": mos}
    trees = {"open-meteo": meteo, "pvgis": pvgis}
    return [
        *((name, text.encode(), TABLE) for name, text in texts.items()),
        *((name, json.dumps(tree).encode(), MESSAGE) for name, tree in trees.items()),
    ]


def _load() -> bytes:
    return "\n".join(
        ["time_utc,hall_power_mw", *(f"2026-06-01T{n:02d}:00Z,5.5" for n in range(24))]
    ).encode()
