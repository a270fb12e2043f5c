"""`gigatwin tariff`: the bill of a network contract, and band load watched through the year."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

import sites
from optimizer.backtesting.folder_conversion import convert_run_folder
from optimizer.backtesting.results import PLANNER_ALIAS
from optimizer.backtesting.run_folder import check_run_site, read_trajectory
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, pluralise, table, write_json
from optimizer.reporting.operating_data import metered_import, read_meter
from twin.errors import ProblemError, ValidationIssue
from twin.markets.bill_lines import round_to_cents
from twin.markets.bills import NetworkBill, bills_by_year
from twin.markets.demand_charges import ConstantLoadStatus, constant_load_status
from twin.markets.tariffs import InstantArray, valid_tariffs, year_bounds
from twin.physics import FloatArray
from twin.site import Site
from twin.units import format_minute

app = typer.Typer(add_completion=False, help="Bill quarter-hours by the site's tariffs.")


@app.command()
def tariff(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    meter: Annotated[
        Path | None,
        typer.Option(help="CSV of quarter-hours: time_utc, and import_mw, _kw, _mwh or _kwh."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder that gigatwin backtest --out wrote.")
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(
            help="Bill by these tariffs instead: germany, spain, nordic, or a path of a file."
        ),
    ] = None,
    zone: ZoneOption = None,
    policy: Annotated[str, typer.Option(help="Whose run of the back-test.")] = PLANNER_ALIAS,
    seed: Annotated[int, typer.Option(min=0, help="Which plant of the back-test.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Print the bill line by line, every branch of the network charge, and the hours of use."""
    loaded, screen = sites.load_site(site), console(json_file)
    if rules is not None:
        loaded = loaded.with_tariffs(sites.load_tariffs(rules))
    if not loaded.tariffs:
        remedy = "declares no tariff: add a table [tariffs.<name>], or name a file with --rules"
        raise _refused(loaded.name, remedy)
    if meter is not None and run is None:
        starts, power = read_meter(meter, zone=zone or loaded.time_zone)
    elif run is not None and meter is None:
        check_run_site(run, loaded)
        for line in convert_run_folder(run, loaded):
            screen.print(line, markup=False)
        starts, power = metered_import(read_trajectory(run, policy=policy, seed=seed))
    else:
        remedy = "name one of them: a meter's file, or a back-test's folder"
        raise _refused("--meter, --run", remedy)
    notes = _beyond(loaded, starts, power)
    found = bills_by_year(loaded.tariffs, starts, power, time_zone=loaded.time_zone)
    for one in found:
        _show(screen, one)
    watched = _band_load_state(loaded, starts, power)
    if watched is not None:
        _print_band_load(screen, watched)
    total = sum((one.total for one in found), Decimal(0))
    screen.print(f"[bold]{total:,.2f} EUR[/]")
    for note in notes:
        screen.print(f"note: {note}", markup=False)
    write_json(
        {
            "site": loaded.name,
            "total_eur": float(total),
            "bills": [_as_json(one) for one in found],
            "band_load": None if watched is None else _band_load_json(watched),
            "notes": notes,
        },
        json_file,
    )


def _beyond(site: Site, starts: InstantArray, power: FloatArray) -> list[str]:
    """Return in words whether more was taken than the connection carries: a slip of units does."""
    is_beyond = power > site.grid.import_limit
    if not is_beyond.any():
        return []
    most = int(np.argmax(power))
    limit = f"the {site.grid.import_limit:g} MW of {site.grid.name}"
    count = pluralise(int(is_beyond.sum()), "quarter-hour")
    told = f"up to {power[most]:,.3f} MW, at {format_minute(starts[most])}"
    return [f"{count} beyond {limit}, {told}; look at the unit of the import"]


def _band_load_state(
    site: Site, starts: InstantArray, power: FloatArray
) -> ConstantLoadStatus | None:
    """Return where the band load of the last year in the file stands."""
    begin, _ = year_bounds(starts[-1], site.time_zone)
    year = starts >= begin
    last, here = list(valid_tariffs(site.tariffs, starts[year], site.time_zone))[-1]
    return constant_load_status(
        last, starts[year][here], power[year][here], time_zone=site.time_zone
    )


def _show(screen: Console, bill: NetworkBill) -> None:
    title = f"{bill.tariff}, {format_minute(bill.start)} to {format_minute(bill.end)}"
    columns = ("rule", "quantity", "price", "EUR")
    shown = table(escape(title), *columns, numbers=columns[1:])
    for line in bill.lines:
        quantity = f"{line.quantity:,} {line.unit}"
        shown.add_row(
            escape(line.rule),
            quantity,
            f"{line.price:,} {line.price_unit}",
            f"{round_to_cents(line.money):,}",
        )
    shown.add_section()
    shown.add_row("total", "", "", f"[bold]{bill.total:,}[/]")
    screen.print(shown)
    screen.print(
        f"{bill.energy:,.0f} MWh, peak {bill.peak:,.3f} MW, "
        f"{int(bill.utilisation_hours):,} hours of use a year"
    )
    for branch in bill.charge_options:
        mark = (
            "taken"
            if branch.name == bill.charge_option
            else "open"
            if branch.is_eligible
            else "closed"
        )
        money = f"{round_to_cents(branch.money):,} EUR"
        words = f"network charge {branch.name}: {money}, {mark} ({branch.note})"
        screen.print(f"- {words}", markup=False)
    for note in bill.notes:
        screen.print(f"- {note}", markup=False)


def _print_band_load(screen: Console, watched: ConstantLoadStatus) -> None:
    """Show where band load stands, a class a row."""
    columns = ("hours", "rest needs [MW]", "peak may be [MW]", "worth [EUR]")
    title = (
        f"Band load: {watched.utilisation_hours:,.0f} h so far, "
        f"{watched.expected_utilisation_hours:,.0f} h expected of a year, "
        f"{watched.remaining_hours:,.0f} h are left"
    )
    shown = table(title, *columns, numbers=columns)
    for hours, needed in watched.required_mean_import.items():
        reachable = f"{needed:,.2f}" if needed <= watched.peak else "more than the peak"
        reached = " *" if hours == watched.expected_class_hours else ""
        peak, worth = watched.max_peak[hours], watched.rebate_value[hours]
        shown.add_row(f"{hours:,.0f}{reached}", reachable, f"{peak:,.2f}", f"{worth:,.0f}")
    screen.print(shown)
    if watched.expected_class_hours:
        screen.print("- * is the class that the year is expected to reach")
    if watched.unmetered_hours:
        screen.print(
            f"- {watched.unmetered_hours:,.0f} h of the year before are taken to be as the mean"
        )
    if not watched.expected_class_hours:
        screen.print("- no class is expected to be reached")


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


def _band_load_json(watched: ConstantLoadStatus) -> dict[str, object]:
    return {
        "energy_mwh": watched.energy,
        "peak_mw": watched.peak,
        "hours": watched.utilisation_hours,
        "expected_hours": watched.expected_utilisation_hours,
        "left_h": watched.remaining_hours,
        "reached": watched.expected_class_hours,
        "charge_eur": watched.charge,
        "classes": [
            {
                "hours": hours,
                "needed_mw": needed if np.isfinite(needed) else None,
                "most_peak_mw": watched.max_peak[hours],
                "worth_eur": watched.rebate_value[hours],
            }
            for hours, needed in watched.required_mean_import.items()
        ],
    }


def _refused(place: str, remedy: str) -> ProblemError:
    return ProblemError("tariff", [ValidationIssue(location=place, found="", remedy=remedy)])
