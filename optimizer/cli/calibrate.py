"""`gigatwin calibrate`: fit parameters to telemetry, show their drift, and test the calibration.

The test (`--trial`) calibrates simulated plants with known parameters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
import xarray as xr
from numpy.typing import NDArray
from rich.progress import Progress

import sites
import telemetry
from optimizer.backtesting.case import synthetic_case
from optimizer.cli.options import JsonFile, figure_option
from optimizer.cli.output import console, table, write_json
from optimizer.reporting.run_files import SITE_ATTRIBUTE
from optimizer.service.weekly_calibration import (
    CALIBRATIONS_FILE,
    is_calibration_due,
    read_calibrations,
    store_calibration,
)
from telemetry.durable_files import default_state_folder, write_atomic
from telemetry.simulator import calibration_trial
from telemetry.simulator.calibration_trial import (
    BOUND_COVERAGE,
    MAX_ACCEPTED_ERRORS,
    TRIAL_PERIOD_DAYS,
    AcceptanceResult,
)
from twin import time_axes
from twin.calibration.calibrate import (
    CalibrationResult,
    Identifiability,
    ParameterEstimate,
    calibrate,
)
from twin.calibration.drift import (
    RECENT_CALIBRATION_COUNT,
    REFERENCE_CALIBRATION_COUNT,
    CalibrationSummary,
    parameter_drifts,
)
from twin.errors import IssueCode, StateError
from twin.site import Site
from twin.units import QUARTER_HOURS_PER_DAY, format_minute, format_unit

app = typer.Typer(add_completion=False, help="Fit a site's parameters to its telemetry.")

DEFAULT_HISTORY_LENGTH: Final = np.timedelta64(7, "D")
"""Length of the history if no start is given."""

NUMBER_COLUMNS: Final = ("value", "site file", "error", "change")

ACCEPTANCE_COLUMNS: Final = (
    "CV-RMSE",
    "NMBE",
    "supply RMSE [K]",
    "worst identified",
    "inside bounds",
)


@app.command("calibrate")
def calibrate_site(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    file: Annotated[
        Path | None,
        typer.Option("--telemetry", help="NetCDF file of telemetry; default: the site's archive."),
    ] = None,
    state: Annotated[Path | None, typer.Option(help="State folder of the service.")] = None,
    start: Annotated[str | None, typer.Option(help="Start; default: the newest week.")] = None,
    end: Annotated[str | None, typer.Option(help="End, exclusive.")] = None,
    out: Annotated[Path | None, typer.Option(help="TOML file of changed parameters.")] = None,
    picture: Annotated[Path | None, figure_option("PNG, SVG or PDF of all parameters.")] = None,
    is_kept: Annotated[bool, typer.Option("--keep", help="Store it once a week.")] = False,
    only_drift: Annotated[bool, typer.Option("--drift", help="Show the drift so far.")] = False,
    trial: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Test the calibration on this many simulated plants."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Fit parameters to telemetry, with standard errors, and name those it cannot identify."""
    loaded = sites.load_site(site)
    path = Path(state or default_state_folder(loaded.name)) / CALIBRATIONS_FILE
    if trial is not None:
        run_acceptance(loaded, trial, json_file)
    elif only_drift:
        _print_drift(loaded, path, json_file)
    else:
        history = _history(loaded, file, root=state, span=(start, end))
        if is_kept and not is_calibration_due(path, _last(history)):
            console(json_file).print(f"no week has passed since the last one in {path}")
            return
        found = calibrate(loaded, history)
        calibration = replace(
            found, data_quality=(*_other_site_note(history, loaded), *found.data_quality)
        )
        if is_kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            store_calibration(path, CalibrationSummary.from_calibration(calibration))
        _show(calibration, out=out, picture=picture, json_file=json_file)


def _history(
    site: Site, file: Path | None, *, root: Path | None, span: tuple[str | None, str | None]
) -> xr.Dataset:
    """Return the telemetry of a file or of the archive."""
    start, end = (time_axes.to_utc(moment) if moment else None for moment in span)
    if file is None:
        history = telemetry.open(site, start=start, end=end, root=root)
    else:
        history = _read(file)
        times = history["time"].to_numpy()
        is_included = np.ones(len(times), dtype=bool)
        is_included &= times >= start if start is not None else True
        is_included &= times < end if end is not None else True
        history = _cut(history, is_included)
    if start is None and history.sizes["time"]:
        history = _cut(
            history, history["time"].to_numpy() > _last(history) - DEFAULT_HISTORY_LENGTH
        )
    return history


def _other_site_note(history: xr.Dataset, site: Site) -> Iterator[str]:
    """Yield a note if the telemetry belongs to another site."""
    source = history.attrs.get(SITE_ATTRIBUTE, site.name)
    if source != site.name:
        yield f"the telemetry is of {source}; it applies to {site.name} where machines are equal"


def _cut(history: xr.Dataset, is_included: NDArray[np.bool_]) -> xr.Dataset:
    """Return some intervals of a history, with their edges if it has edges."""
    cut = history.isel(time=is_included)
    (where,) = np.nonzero(is_included)
    has_edges = history.sizes.get("instant") == history.sizes["time"] + 1
    if not has_edges or not len(where) or np.ptp(where) != len(where) - 1:
        return cut.drop_dims("instant", errors="ignore")
    return cut.isel(instant=slice(where[0], where[-1] + 2))


def _last(history: xr.Dataset) -> np.datetime64:
    """Return the time of the last reading."""
    times = history["time"].to_numpy()
    return np.datetime64(times[-1], "us") if len(times) else np.datetime64(0, "us")


def _read(file: Path) -> xr.Dataset:
    try:
        with xr.open_dataset(file, engine="h5netcdf", decode_timedelta=False) as opened:
            read = opened.load()
    except (OSError, ValueError) as error:
        expected = f"NetCDF, but the file cannot be read as NetCDF: {error}"
        remedy = "give a NetCDF file of telemetry"
        raise StateError.single(
            str(file), IssueCode.FILE_ERROR, "file", expected=expected, remedy=remedy
        ) from error
    if "time" not in read.coords:
        expected, remedy = "telemetry has a coordinate time", "add it"
        raise StateError.single(
            str(file), IssueCode.MISSING, "time", expected=expected, remedy=remedy
        )
    return read


def _show(
    calibration: CalibrationResult, *, out: Path | None, picture: Path | None, json_file: str | None
) -> None:
    """Show a calibration in every requested form."""
    screen = console(json_file)
    span = f"{format_minute(calibration.start)} to {format_minute(calibration.end)}"
    shown = table(
        f"{calibration.site.name}, {span}",
        "parameter",
        *NUMBER_COLUMNS,
        "unit",
        "grade",
        numbers=NUMBER_COLUMNS,
    )
    for e in calibration.estimates:
        p = e.parameter
        change = "" if p.is_offset or not p.prior else f"{e.value / p.prior - 1.0:+.1%}"
        bound = ", at its bound" if e.is_at_bound else ""
        numbers = (f"{e.value:.4g}", f"{p.prior:.4g}", f"{e.standard_error:.2g}", change)
        shown.add_row(p.name, *numbers, p.unit, f"{e.identifiability}{bound}")
    screen.print(shown)
    for one, other, correlation in calibration.correlated_pairs:
        screen.print(f"{one} and {other} have similar effects (correlation {correlation:+.2f})")
    for text in calibration.data_quality:
        screen.print(text)
    if calibration.unidentified:
        screen.print(
            f"not identifiable from this history, unchanged: {', '.join(calibration.unidentified)}"
        )
    if out is not None:
        write_atomic(out, proposed_site_file(calibration))
        screen.print(f"wrote {out}")
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        title = f"{calibration.site.name}: parameters by telemetry, {span}"
        plots.plot_calibration(calibration.report(), title=title).savefig(picture)
        screen.print(f"wrote {picture}")
    write_json(_content(calibration), json_file)


def _content(calibration: CalibrationResult) -> dict[str, object]:
    return {
        "site": calibration.site.name,
        "start": format_minute(calibration.start),
        "end": format_minute(calibration.end),
        "parameters": {
            e.parameter.name: {
                "value": e.value,
                "error": e.standard_error,
                "site_file": e.parameter.prior,
                "low": e.parameter.lower_bound,
                "high": e.parameter.upper_bound,
                "unit": e.parameter.unit,
                "grade": e.identifiability.value,
                "is_at_bound": e.is_at_bound,
            }
            for e in calibration.estimates
        },
        "alike": [list(pair) for pair in calibration.correlated_pairs],
        "said": list(calibration.data_quality),
    }


def proposed_site_file(calibration: CalibrationResult) -> str:
    """Return the changed parameters as tables of a site file, to be checked and copied.

    Weakly identified parameters and sensor offsets are comments.
    """
    span = f"{format_minute(calibration.start)} to {format_minute(calibration.end)}"
    lines = [
        f"# {calibration.site.name}: parameters by telemetry, {span}.",
        "# A proposal: check it, then copy it into the site file.",
    ]
    tables: dict[str, list[str]] = {}
    for e in calibration.estimates:
        if e.identifiability is not Identifiability.UNKNOWN:
            p = e.parameter
            path = p.path[:-1] if not p.is_offset else ()
            tables.setdefault(".".join(("equipment", p.machine, *path)), []).append(_line(e))
    for heading, rows in tables.items():
        lines += ["", f"[{heading}]", *rows]
    return "\n".join(lines) + "\n"


def _line(e: ParameterEstimate) -> str:
    """Return a parameter as a line of a site file, or as a comment if it should not be copied."""
    p = e.parameter
    comment = f"site file {p.prior:.6g}, error {e.standard_error:.2g}, {e.identifiability}"
    if p.is_offset:
        return f"# the sensor of {p.path[-1]} shows {e.value:+.3g} K too much ({comment})"
    value = f"{e.value:.6g}" if p.unit == "1" else f'"{e.value:.6g} {format_unit(p.unit)}"'
    if e.identifiability is Identifiability.IDENTIFIED and not e.is_at_bound:
        return f"{p.path[-1]} = {value}  # {comment}"
    bound = ", at its bound" if e.is_at_bound else ""
    return f"# {p.path[-1]} = {value}  # {comment}{bound}"


def _print_drift(site: Site, path: Path, json_file: str | None) -> None:
    """Print significant changes between stored calibrations."""
    weeks = read_calibrations(path)
    found = parameter_drifts(weeks)
    screen = console(json_file)
    screen.print(f"{site.name}: {len(weeks)} calibrations stored in {path}")
    for change in found:
        screen.print(f"{change.text} ({abs(change.significance):.0f} standard errors)")
    if len(weeks) < REFERENCE_CALIBRATION_COUNT + RECENT_CALIBRATION_COUNT:
        required = REFERENCE_CALIBRATION_COUNT + RECENT_CALIBRATION_COUNT
        screen.print(f"too few calibrations to detect a change: {required} are required")
    elif not found:
        screen.print("no significant change")
    rows = [
        {
            "parameter": change.parameter,
            "before": change.reference_value,
            "now": change.recent_value,
            "significance": change.significance,
            "since": format_minute(change.since),
            "loss": change.loss,
            "text": change.text,
        }
        for change in found
    ]
    write_json({"site": site.name, "calibrations": len(weeks), "changes": rows}, json_file)


def run_acceptance(site: Site, seeds: int, json_file: str | None) -> None:
    """Test calibration and state estimation on simulated plants, and show the errors."""
    screen = console(json_file)
    surroundings = synthetic_case(
        site, steps=2 * TRIAL_PERIOD_DAYS * QUARTER_HOURS_PER_DAY
    ).boundary_conditions
    results = []
    shown = table(
        f"{site.name}: calibrated on {TRIAL_PERIOD_DAYS} days",
        "seed",
        *ACCEPTANCE_COLUMNS,
        numbers=ACCEPTANCE_COLUMNS,
    )
    with Progress(console=screen, transient=True) as progress:
        for seed in progress.track(range(seeds), description="plants"):
            result = calibration_trial.run_acceptance(site, surroundings, seed=seed)
            results.append(result)
            shown.add_row(str(seed), *_row(result))
    worst = _worst(results)
    shown.add_section()
    shown.add_row(
        "all", *(f"{worst[name]:.3%}" for name in ("cv_rmse", "nmbe")), *_temperature_cells(worst)
    )
    limits = [
        f"{MAX_ACCEPTED_ERRORS['cv_rmse']:.1%}",
        f"{MAX_ACCEPTED_ERRORS['nmbe']:.1%}",
        f"{MAX_ACCEPTED_ERRORS['temperature_rmse']:g}",
    ]
    low, high = BOUND_COVERAGE
    shown.add_row(
        "allowed", *limits, f"{MAX_ACCEPTED_ERRORS['identified']:.1%}", f"{low:.0%} to {high:.0%}"
    )
    screen.print(shown)
    is_passed = all(worst[name] <= limit for name, limit in MAX_ACCEPTED_ERRORS.items())
    is_passed &= low <= worst["coverage"] <= high
    screen.print("passed" if is_passed else "FAILED")
    content = {
        "site": site.name,
        "is_passed": is_passed,
        "worst": worst,
        "allowed": MAX_ACCEPTED_ERRORS,
    }
    rows = [result.as_json() for result in results]
    write_json({**content, "coverage_allowed": list(BOUND_COVERAGE), "seeds": rows}, json_file)
    if not is_passed:
        raise typer.Exit(1)


def _row(result: AcceptanceResult) -> tuple[str, ...]:
    return (
        f"{result.calibrated_score.cv_rmse:.3%}",
        f"{result.calibrated_score.nmbe:+.3%}",
        f"{result.calibrated_score.temperature_rmse:.3f}",
        f"{result.worst_identified_error:.2%} of {result.identified_count}: "
        f"{result.worst_parameter}",
        f"{result.samples_within_bounds / result.sample_count:.1%}",
    )


def _temperature_cells(worst: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{worst['temperature_rmse']:.3f}",
        f"{worst['identified']:.2%}",
        f"{worst['coverage']:.1%}",
    )


def _worst(results: Sequence[AcceptanceResult]) -> dict[str, float]:
    """Return the worst of each figure; for the bounds, the coverage of all samples."""
    return {
        "cv_rmse": max(result.calibrated_score.cv_rmse for result in results),
        "nmbe": max(abs(result.calibrated_score.nmbe) for result in results),
        "temperature_rmse": max(result.calibrated_score.temperature_rmse for result in results),
        "identified": max(result.worst_identified_error for result in results),
        "coverage": sum(r.samples_within_bounds for r in results)
        / sum(r.sample_count for r in results),
    }
