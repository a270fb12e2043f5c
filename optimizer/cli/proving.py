"""`gigatwin calibrate --trial`: the acceptance of calibration and observer, on known plants."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import typer
from rich.progress import Progress

from optimizer.cli.show import console, table, write_json
from optimizer.service.plant import setting_of
from telemetry.simulator.acceptance import (
    BOUND_COVERAGE,
    MAX_ERRORS,
    PERIOD_DAYS,
    AcceptanceResult,
    run_acceptance,
)
from twin.site import Site

QUARTERS: Final = 96
"""Quarter-hours of a day. [1]"""

COLUMNS: Final = ("CV-RMSE", "NMBE", "supply RMSE [K]", "worst identified", "inside bounds")


def prove_all(site: Site, seeds: int, json_file: str | None) -> None:
    """Try calibration and observer on known plants, and show what came of them.

    Parameters
    ----------
    site
        The site.
    seeds
        How many plants. [1]
    json_file
        Where the figures go too.
    """
    screen = console(json_file)
    surroundings = setting_of(site, steps=2 * PERIOD_DAYS * QUARTERS).surroundings
    results = []
    shown = table(
        f"{site.name}: calibrated on {PERIOD_DAYS} days", "seed", *COLUMNS, numbers=COLUMNS
    )
    with Progress(console=screen, transient=True) as progress:
        for seed in progress.track(range(seeds), description="plants"):
            result = run_acceptance(site, surroundings, seed=seed)
            results.append(result)
            shown.add_row(str(seed), *_row(result))
    worst = _worst(results)
    shown.add_section()
    shown.add_row("all", *(f"{worst[name]:.3%}" for name in ("cv_rmse", "nmbe")), *_rest(worst))
    limits = [
        f"{MAX_ERRORS['cv_rmse']:.1%}",
        f"{MAX_ERRORS['nmbe']:.1%}",
        f"{MAX_ERRORS['temperature_rmse']:g}",
    ]
    low, high = BOUND_COVERAGE
    shown.add_row("allowed", *limits, f"{MAX_ERRORS['identified']:.1%}", f"{low:.0%} to {high:.0%}")
    screen.print(shown)
    is_passed = all(worst[name] <= most for name, most in MAX_ERRORS.items())
    is_passed &= low <= worst["coverage"] <= high
    screen.print("passed" if is_passed else "FAILED")
    content = {"site": site.name, "is_passed": is_passed, "worst": worst, "allowed": MAX_ERRORS}
    rows = [asdict(result) for result in results]
    write_json({**content, "coverage_allowed": list(BOUND_COVERAGE), "seeds": rows}, json_file)
    if not is_passed:
        raise typer.Exit(1)


def _row(result: AcceptanceResult) -> tuple[str, ...]:
    return (
        f"{result.score.cv_rmse:.3%}",
        f"{result.score.nmbe:+.3%}",
        f"{result.score.temperature_rmse:.3f}",
        f"{result.identified:.2%} of {result.count}: {result.which}",
        f"{result.inside / result.samples:.1%}",
    )


def _rest(worst: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{worst['temperature_rmse']:.3f}",
        f"{worst['identified']:.2%}",
        f"{worst['coverage']:.1%}",
    )


def _worst(results: Sequence[AcceptanceResult]) -> dict[str, float]:
    """Return the worst of each figure; of the bounds, the share of all samples."""
    return {
        "cv_rmse": max(result.score.cv_rmse for result in results),
        "nmbe": max(abs(result.score.nmbe) for result in results),
        "temperature_rmse": max(result.score.temperature_rmse for result in results),
        "identified": max(result.identified for result in results),
        "coverage": sum(r.inside for r in results) / sum(r.samples for r in results),
    }
