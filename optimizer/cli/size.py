"""`gigatwin size`: what other sizes of machines are worth a year, with intervals and NPV."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

import sites
from optimizer.backtesting.results import Economics
from optimizer.backtesting.size_options import SizeOption, build_size_options, parse_variation
from optimizer.backtesting.sizing import (
    DEFAULT_SEEDS,
    DEFAULT_WEEKS,
    SizingResults,
    StudyDesign,
    covered_years,
    study_sizes,
)
from optimizer.cli.backtest import (
    CarbonFile,
    JobFile,
    LoadScaleOption,
    PriceFile,
    WeatherFile,
    synthetic_notes,
    with_synthetic,
)
from optimizer.cli.conditions import ZoneOption
from optimizer.cli.options import JsonFile, SiteName, figure_option, output_option
from optimizer.cli.output import (
    ProgressBars,
    console,
    option_error,
    print_synthetic_series,
    table,
    write_json,
)
from optimizer.inputs.series_files import SeriesFiles
from optimizer.policies.policy import FORECAST_PLANNER
from twin.errors import IssueCode
from twin.plots import plot_sizing_curve
from twin.text import list_first

app = typer.Typer(add_completion=False, help="Value other sizes of machines over a year.")

WHOLE_YEAR: Final = "all"
"""Value of --weeks that runs whole years."""

COVERS_PLANTS: Final = "drawn weeks and hidden parameters of the plant within this one year"
COVERS_YEARS: Final = "years of weather, prices and jobs, drawn weeks and plants"


@app.command()
def size(  # noqa: PLR0913  (one parameter an option of the command line)
    site: SiteName,
    units: Annotated[
        list[str] | None,
        typer.Argument(help="Unit of each --vary, if it is not in quotes with it."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="MACHINE.PARAMETER=SIZE,SIZE UNIT; may be repeated."),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Change all parameters in step, not in every mix.")
    ] = False,
    prices: PriceFile = None,
    weather: WeatherFile = None,
    jobs: JobFile = None,
    carbon: CarbonFile = None,
    zone: ZoneOption = None,
    years: Annotated[
        str | None, typer.Option(help="Years, as 2022,2023; default: all that the prices cover.")
    ] = None,
    weeks: Annotated[
        str, typer.Option(help="Weeks a year with that of the peak, or all for whole years.")
    ] = str(DEFAULT_WEEKS),
    seeds: Annotated[int, typer.Option(min=1, help="Simulated plants.")] = DEFAULT_SEEDS,
    policy: Annotated[str, typer.Option(help="Policy that runs each size.")] = FORECAST_PLANNER,
    load_scale: LoadScaleOption = 0.6,
    unit_cost: Annotated[
        float | None, typer.Option(help="Investment per unit of the first --vary [EUR].")
    ] = None,
    investment: Annotated[
        str | None, typer.Option(help="Investment of each size beside the present one [EUR].")
    ] = None,
    life: Annotated[int | None, typer.Option(min=1, help="Life of the investment [a].")] = None,
    discount_rate: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Real discount rate a year [1].")
    ] = None,
    degradation: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the saving lost each year [1].")
    ] = 0.0,
    out: Annotated[
        Path | None, output_option("--out", "Folder that keeps finished runs.", is_folder=True)
    ] = None,
    picture: Annotated[Path | None, figure_option("PNG, SVG or PDF figure of the curve.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Run other sizes on the same weeks and plants as the present site; show what they save."""
    screen = console(json_file)
    loaded = sites.load_site(site)
    texts = _with_units(vary or [], units or [])
    options = build_size_options(
        loaded, [parse_variation(loaded, text) for text in texts], together=together
    )
    terms = _economics(
        options,
        unit_cost=unit_cost,
        investment=investment,
        life=life,
        discount_rate=discount_rate,
        degradation=degradation,
    )
    if picture is not None:
        _curve_sizes(options)
    given = {"prices": prices, "weather": weather, "jobs": jobs}
    files = _files(given, carbon=carbon, zone=zone)
    print_synthetic_series(screen, given)
    design = StudyDesign(
        years=_numbers("--years", years) if years else covered_years(files),
        weeks=None if weeks == WHOLE_YEAR else _week_count(weeks),
        seeds=seeds,
        policy=policy,
        load_scale=load_scale,
    )
    found = _study(screen, files, options, design=design, out=out)
    found = replace(found, economics=terms, notes=(*found.notes, *synthetic_notes(given)))
    _show(screen, found)
    if picture is not None:
        _draw(screen, found, picture)
    write_json(found.as_json(), json_file)


def _with_units(vary: Sequence[str], units: Sequence[str]) -> list[str]:
    """Return each variation with its unit, where that is a word of its own."""
    if units and len(units) != len(vary):
        raise option_error(
            "size",
            " ".join(units),
            expected="one unit for each --vary, or none",
            remedy="write each unit in quotes with its sizes: --vary 'tank_1.volume=240,480 m3'",
        )
    if not units:
        return list(vary)
    return [f"{text} {unit}" for text, unit in zip(vary, units, strict=True)]


def _files(given: dict[str, Path | None], *, carbon: Path | None, zone: str | None) -> SeriesFiles:
    """Return the files of a study, with synthetic ones for those that are not given."""
    found = with_synthetic(given)
    return SeriesFiles(
        prices=found["prices"],
        weather=found["weather"],
        jobs=found["jobs"],
        carbon=carbon,
        zone=zone,
    )


def _week_count(text: str) -> int:
    """Return the number of weeks of a replicate."""
    numbers = _numbers("--weeks", text)
    if len(numbers) != 1:
        raise option_error(
            "--weeks",
            text,
            expected=f"one number of weeks a year, or {WHOLE_YEAR}",
            remedy="give one number: the weeks are drawn, and none can be named",
            code=IssueCode.INVALID_FORMAT,
        )
    return numbers[0]


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of an option."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise option_error(
            option,
            text,
            expected="whole numbers",
            remedy="write it as in --years 2022,2023 --weeks 5",
            code=IssueCode.INVALID_FORMAT,
        ) from error


def _economics(
    options: Sequence[SizeOption],
    *,
    unit_cost: float | None,
    investment: str | None,
    life: int | None,
    discount_rate: float | None,
    degradation: float,
) -> Economics | None:
    """Return the terms of the investment; None if none is stated."""
    if unit_cost is None and investment is None:
        if life is not None or discount_rate is not None or degradation:
            raise option_error(
                "--unit-cost",
                "",
                expected="an investment with --life, --discount-rate and --degradation",
                remedy="give --unit-cost EUR or --investment EUR,EUR",
                code=IssueCode.MISSING,
            )
        return None
    if unit_cost is not None and investment is not None:
        raise option_error(
            "--investment",
            investment,
            expected="one of --unit-cost and --investment",
            remedy="omit one of them",
        )
    if life is None or discount_rate is None:
        raise option_error(
            "--life" if life is None else "--discount-rate",
            "",
            expected="life and discount rate of the investment",
            remedy="give --life YEARS and --discount-rate SHARE",
            code=IssueCode.MISSING,
        )
    return Economics(
        investment=_investments(options, unit_cost, investment),
        life=life,
        discount_rate=discount_rate,
        degradation=degradation,
    )


def _investments(
    options: Sequence[SizeOption], unit_cost: float | None, investment: str | None
) -> tuple[float, ...]:
    """Return the investment of each option beside the present site, whose own is 0. [EUR]"""
    if unit_cost is not None:
        first = [next(iter(option.sizes.values())) for option in options]
        return tuple(unit_cost * max(one - first[0], 0.0) for one in first)
    try:
        found = tuple(float(word) for word in str(investment).split(","))
    except ValueError:
        found = ()
    if len(found) != len(options) - 1:
        raise option_error(
            "--investment",
            str(investment),
            expected=f"{len(options) - 1} numbers, for {'; '.join(o.label for o in options[1:])}",
            remedy="state what each costs beside the present site, as 90000,180000",
            code=IssueCode.INVALID_FORMAT,
        )
    return (0.0, *found)


def _study(
    screen: Console,
    files: SeriesFiles,
    options: Sequence[SizeOption],
    *,
    design: StudyDesign,
    out: Path | None,
) -> SizingResults:
    """Run the study with a bar for each run on a terminal, else a line for each run."""
    with ProgressBars(screen) as bars:

        def show(done: int, count: int, steps: int, total: int) -> None:
            if total and screen.is_terminal:
                bars.update(f"run {done + 1} of {count}", steps, total)
            elif not total and not screen.is_terminal:
                screen.print(f"{done} of {count} runs are done")

        return study_sizes(
            options[0].site, files, options, design=design, folder=out, on_progress=show
        )


def _show(screen: Console, found: SizingResults) -> None:
    """Print the table, and what its interval covers."""
    has_terms = found.economics is not None
    heads = ["saves [EUR/a]", "95 % interval", "carbon [t/a]", "late [h/a]"]
    heads += ["NPV [EUR]", "95 % interval of NPV"] if has_terms else []
    shown = table(f"{found.site}, {found.policy}", "size", *heads, "verdict", numbers=heads)
    content = found.as_json()
    rows = content["options"]
    assert isinstance(rows, list)  # noqa: S101  (for mypy)
    present = rows[0]
    for row in rows:
        cells = [
            f"{row['saving_eur_a']:+,.0f}",
            _interval(row["low_eur_a"], row["high_eur_a"]),
            f"{(row['carbon_kg_a'] - present['carbon_kg_a']) / 1e3:+,.1f}",
            f"{row['lateness_h_a'] - present['lateness_h_a']:+,.1f}",
        ]
        if has_terms:
            cells += [f"{row['npv_eur']:+,.0f}", _interval(row["npv_low_eur"], row["npv_high_eur"])]
        shown.add_row(
            row["label"], *(["-"] * len(cells) if row["is_present"] else cells), row["verdict"]
        )
    screen.print(shown)
    for line in _explanation(found, content):
        screen.print(line)
    if broken := [row["label"] for row in rows if row["violations"]]:
        screen.print(f"limits were violated by {', '.join(broken)}: see the JSON", style="red")
    for text in (*found.gaps, *found.notes):
        screen.print(f"note: {text}")


def _interval(low: float | None, high: float | None) -> str:
    return "none" if low is None or high is None else f"{low:+,.0f} to {high:+,.0f}"


def _explanation(found: SizingResults, content: dict[str, object]) -> list[str]:
    """Return sentences on the method, the interval and the best option."""
    pairs, pair = content["pairs"], content["pair"]
    lines = [
        f"verdicts are beside the present size; each size runs the same "
        f"{len(found.sample)} periods with {len(found.replicates)} replicates"
    ]
    if pairs == 1:
        lines.append("one year with one seed has no interval: name more with --seeds or --years")
    else:
        covered = COVERS_YEARS if found.has_several_years else COVERS_PLANTS
        lines.append(f"interval: Student's t over {pairs} paired {pair}s; it covers {covered}")
    if len(found.best) > 1:
        words = list_first(found.best, 4, separator="; ")
        lines.append(f"no single best size is shown among: {words}")
    else:
        lines.append(f"best: {found.best[0]}")
    return lines


def _curve_sizes(options: Sequence[SizeOption]) -> list[float]:
    """Return the size of each option on the axis of the curve, that of the first parameter."""
    found = [next(iter(option.sizes.values())) for option in options]
    if len(set(found)) < len(found):
        raise option_error(
            "--picture",
            "several options of one size",
            expected="one option for each size of the first --vary",
            remedy="use --together, vary one parameter, or omit --picture",
        )
    return found


def _draw(screen: Console, found: SizingResults, picture: Path) -> None:
    """Draw the savings beside the present size, which is the first."""
    place = next(iter(found.options[0].sizes))
    worth = [found.paired(number) for number in range(len(found.options))]
    values = [-one.mean for one in worth]
    half = [one.half_width or 0.0 for one in worth]
    plot_sizing_curve(
        _curve_sizes(found.options),
        values,
        low=[value - width for value, width in zip(values, half, strict=True)],
        high=[value + width for value, width in zip(values, half, strict=True)],
        unit=found.options[0].units[place],
        title=f"{found.site}: saving by {place} beside {found.options[0].sizes[place]:g}",
    ).savefig(picture)
    screen.print(f"wrote {picture}")
