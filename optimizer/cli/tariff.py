"""`gigatwin tariff`: the bill of a network contract, and the status of band load."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console

import sites
from optimizer.backtesting.run_folder import check_run_site, convert_run_folder, read_trajectory
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, pluralise, table, write_json
from optimizer.inputs.meter_files import read_meter
from optimizer.policies.policy import PLANNER_ALIAS
from optimizer.reporting.operating_data import metered_import
from twin.errors import IssueCode, ProblemError
from twin.markets.bill_lines import round_to_cents
from twin.markets.bills import NetworkBill, bills_by_year
from twin.markets.planned_billing import ConstantLoadStatus, constant_load_status
from twin.markets.tariffs import InstantArray, expired_tariff_warnings, valid_tariffs, year_bounds
from twin.physics import FloatArray
from twin.site import Site
from twin.units import format_minute

app = typer.Typer(
    add_completion=False, help="Compute the network bill of quarter-hours by the site's tariffs."
)

MAX_UTC_YEAR_OVERHANG: Final = np.timedelta64(3, "h")
"""Largest part of a year of UTC that lies in the next local year in Europe."""


@app.command()
def tariff(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    meter: Annotated[
        Path | None,
        typer.Option(help="CSV of quarter-hours: time_utc and import_mw, _kw, _mwh or _kwh."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of gigatwin backtest --out.")] = None,
    rules: Annotated[
        str | None, typer.Option(help="Other tariffs: germany, spain, nordic, or path of a file.")
    ] = None,
    zone: ZoneOption = None,
    policy: Annotated[str, typer.Option(help="Policy of the back-test.")] = PLANNER_ALIAS,
    seed: Annotated[int, typer.Option(min=0, help="Plant of the back-test.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Print the bill line by line, every option of the network charge, and the hours of use."""
    loaded, screen = sites.load_site(site), console(json_file)
    if rules is not None:
        loaded = loaded.with_tariffs(sites.load_tariffs(rules))
    if not loaded.tariffs:
        expected = "a site with a tariff"
        remedy = "add a table [tariffs.<name>], or name a file with --rules"
        raise _tariff_error(loaded.name, expected=expected, remedy=remedy)
    if meter is not None and run is None:
        starts, power = read_meter(meter, zone=zone)
    elif run is not None and meter is None:
        check_run_site(run, loaded)
        for line in convert_run_folder(run, loaded):
            screen.print(line)
        starts, power = metered_import(read_trajectory(run, policy=policy, seed=seed))
    else:
        expected, remedy = "one of them", "name the file of a meter, or the folder of a back-test"
        raise _tariff_error("--meter, --run", expected=expected, remedy=remedy)
    notes = [
        *_beyond(loaded, starts, power),
        *expired_tariff_warnings(loaded.tariffs, starts, loaded.time_zone),
    ]
    found = bills_by_year(loaded.tariffs, starts, power, time_zone=loaded.time_zone)
    for one in found:
        _show(screen, one)
    band_load = _band_load_state(loaded, starts, power)
    if band_load is not None:
        _print_band_load(screen, band_load)
    total = sum((one.total for one in found), Decimal(0))
    screen.print(f"{total:,.2f} EUR", style="bold")
    for note in notes:
        screen.print(f"note: {note}")
    write_json(
        {
            "site": loaded.name,
            "total_eur": float(total),
            "bills": [_as_json(one) for one in found],
            "band_load": None if band_load is None else _band_load_json(band_load),
            "notes": notes,
        },
        json_file,
    )


def _beyond(site: Site, starts: InstantArray, power: FloatArray) -> list[str]:
    """Return a note if the import exceeds the connection's limit, for example by a wrong unit."""
    is_beyond = power > site.grid_connection.import_limit
    if not is_beyond.any():
        return []
    largest = int(np.argmax(power))
    limit = f"the {site.grid_connection.import_limit:g} MW of {site.grid_connection.name}"
    count = pluralise(int(is_beyond.sum()), "quarter-hour")
    peak = f"up to {power[largest]:,.3f} MW, at {format_minute(starts[largest])}"
    return [f"{count} above {limit}, {peak}; check the unit of the import"]


def _band_load_state(
    site: Site, starts: InstantArray, power: FloatArray
) -> ConstantLoadStatus | None:
    """Return the band load status of the last year in the file.

    A year of UTC ends in the first local hours of the next year; it shows the year before.
    """
    begin, end = year_bounds(max(starts[-1] - MAX_UTC_YEAR_OVERHANG, starts[0]), site.time_zone)
    year = (starts >= begin) & (starts < end)
    last, is_valid = list(valid_tariffs(site.tariffs, starts[year], site.time_zone))[-1]
    return constant_load_status(
        last, starts[year][is_valid], power[year][is_valid], time_zone=site.time_zone
    )


def _show(screen: Console, bill: NetworkBill) -> None:
    title = f"{bill.tariff}, {format_minute(bill.start)} to {format_minute(bill.end)}"
    columns = ("rule", "quantity", "price", "EUR")
    shown = table(title, *columns, numbers=columns[1:])
    for line in bill.lines:
        quantity = f"{line.quantity:,} {line.unit}"
        shown.add_row(
            line.rule,
            quantity,
            f"{line.price:,} {line.price_unit}",
            f"{round_to_cents(line.money):,}",
        )
    shown.add_section()
    shown.add_row("total", "", "", f"{bill.total:,}", style="bold")
    screen.print(shown)
    screen.print(
        f"{bill.energy:,.0f} MWh, peak {bill.peak:,.3f} MW, "
        f"{int(bill.utilisation_hours):,} hours of use a year"
    )
    for branch in bill.charge_options:
        if branch.name == bill.charge_option:
            mark = "applied"
        else:
            mark = "eligible" if branch.is_eligible else "not eligible"
        money = f"{round_to_cents(branch.money):,} EUR"
        text = f"network charge {branch.name}: {money}, {mark} ({branch.note})"
        screen.print(f"- {text}")
    for note in bill.notes:
        screen.print(f"- {note}")


def _print_band_load(screen: Console, band_load: ConstantLoadStatus) -> None:
    """Show the band load status, one class a row."""
    columns = ("hours", "required mean [MW]", "largest peak [MW]", "rebate [EUR]")
    title = (
        f"Band load: {band_load.utilisation_hours:,.0f} h so far, "
        f"{band_load.expected_utilisation_hours:,.0f} h expected of a year, "
        f"{band_load.remaining_hours:,.0f} h remain"
    )
    shown = table(title, *columns, numbers=columns)
    for hours, needed in band_load.required_mean_import.items():
        reachable = f"{needed:,.2f}" if needed <= band_load.peak else "more than the peak"
        reached = " *" if hours == band_load.expected_class_hours else ""
        peak, worth = band_load.max_peak[hours], band_load.rebate_value[hours]
        shown.add_row(f"{hours:,.0f}{reached}", reachable, f"{peak:,.2f}", f"{worth:,.0f}")
    screen.print(shown)
    if band_load.expected_class_hours:
        screen.print("- * marks the class that the year is expected to reach")
    if band_load.unmetered_hours:
        screen.print(
            f"- {band_load.unmetered_hours:,.0f} h earlier in the year are assumed at the mean"
        )
    if not band_load.expected_class_hours:
        screen.print("- the year is expected to reach no class")


def _as_json(bill: NetworkBill) -> dict[str, object]:
    return {
        "tariff": bill.tariff,
        "start": format_minute(bill.start),
        "end": format_minute(bill.end),
        "total_eur": float(bill.total),
        "energy_mwh": bill.energy,
        "peak_mw": bill.peak,
        "hours_of_use": bill.utilisation_hours,
        "branch": bill.charge_option,
        "branches": {
            branch.name: {
                "eur": float(round_to_cents(branch.money)),
                "open": branch.is_eligible,
                "note": branch.note,
            }
            for branch in bill.charge_options
        },
        "lines": [
            {
                "rule": line.rule,
                "group": line.group,
                "quantity": float(line.quantity),
                "unit": line.unit,
                "price": float(line.price),
                "eur": float(round_to_cents(line.money)),
            }
            for line in bill.lines
        ],
        "notes": list(bill.notes),
    }


def _band_load_json(band_load: ConstantLoadStatus) -> dict[str, object]:
    return {
        "energy_mwh": band_load.energy,
        "peak_mw": band_load.peak,
        "hours": band_load.utilisation_hours,
        "expected_hours": band_load.expected_utilisation_hours,
        "left_h": band_load.remaining_hours,
        "reached": band_load.expected_class_hours,
        "charge_eur": band_load.charge,
        "classes": [
            {
                "hours": hours,
                "needed_mw": needed if np.isfinite(needed) else None,
                "most_peak_mw": band_load.max_peak[hours],
                "worth_eur": band_load.rebate_value[hours],
            }
            for hours, needed in band_load.required_mean_import.items()
        ],
    }


def _tariff_error(location: str, *, expected: str, remedy: str) -> ProblemError:
    return ProblemError.single(
        "tariff", IssueCode.MISSING, location, expected=expected, remedy=remedy
    )
