"""`gigatwin sites`: show declared sites, check site files, and write the reference pages."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

import sites
from optimizer.cli.options import JsonFile
from optimizer.cli.output import console, table, write_json
from sites import catalogue
from twin.errors import SiteError, ValidationIssue

if TYPE_CHECKING:
    from twin.markets.reserve_products import ReserveProduct
    from twin.markets.tariffs import Tariff
    from twin.site import Site

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show declared sites and check site files."
)

REFERENCE_FOLDER: Final = Path("docs/reference")
TABLE_TITLES: Final[dict[catalogue.SitePurpose, str]] = {
    "decision": "Declared sites",
    "validation": "Existing plants of gigatwin validate, which have no schedules",
}
"""Purpose of sites -> title of their table."""

SITE_ARGUMENT: Final = typer.Argument(help="Name of a declared site, or path that ends in .toml.")


@app.command("list")
def list_sites(json_file: JsonFile = None) -> None:
    """List the declared sites, and the existing plants used for validation."""
    found, screen = [], console(json_file)
    for purpose, title in TABLE_TITLES.items():
        heads = [_site_row(name) | {"purpose": purpose} for name in sites.site_names(purpose)]
        shown = table(title, "name", "zone", "title")
        for head in heads:
            shown.add_row(head["name"], head["zone"], head["title"])
        screen.print(shown)
        found += heads
    write_json({"sites": found}, json_file)


@app.command()
def check(site: Annotated[str | None, SITE_ARGUMENT] = None, json_file: JsonFile = None) -> None:
    """Check a site file, or all declared sites; report every error and every implausible value.

    Implausible values, such as a store that empties in seconds, do not make the check fail.
    """
    names = (
        [site]
        if site
        else [name for home in catalogue.SITE_DIRS for name in sites.site_names(home)]
    )
    screen = console(json_file)
    issues: list[tuple[str, ValidationIssue]] = []
    doubts: list[tuple[str, ValidationIssue]] = []
    for name in names:
        try:
            loaded = sites.load_site(name)
        except SiteError as error:
            screen.print(str(error), soft_wrap=True, style="red")
            issues += [(name, issue) for issue in error.issues]
        else:
            screen.print(f"{name} is sound")
            for doubt in sites.implausible_values(loaded):
                screen.print(f"  doubtful: {doubt}", soft_wrap=True, style="yellow")
                doubts.append((name, doubt))
    write_json(
        {"sites": names, "faults": _issue_rows(issues), "doubts": _issue_rows(doubts)}, json_file
    )
    if issues:
        raise typer.Exit(1)


def _issue_rows(found: Iterable[tuple[str, ValidationIssue]]) -> list[dict[str, object]]:
    return [{"site": name, **issue.as_json()} for name, issue in found]


@app.command()
def describe(site: Annotated[str, SITE_ARGUMENT], json_file: JsonFile = None) -> None:
    """Show a site: machines, their loads with all racks at full power, and its work."""
    loaded = sites.load_site(site)
    screen = console(json_file)
    screen.print(f"{loaded.name}: {loaded.title}", style="bold")
    screen.print(
        f"zone {loaded.zone}, {loaded.latitude:g} N {loaded.longitude:g} E, "
        f"{loaded.elevation:g} m; {loaded.rack_count} racks, import up to "
        f"{loaded.grid_connection.import_limit:g} MW"
    )
    for line in _contract_lines(loaded):
        screen.print(line)
    for shown in (_machines(loaded), _conversion_table(loaded), _work(loaded)):
        screen.print(shown)
    write_json({"sites": [{"name": loaded.name, **sites.declared_values(loaded)}]}, json_file)


@app.command()
def reference(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the pages.")] = REFERENCE_FOLDER,
    json_file: JsonFile = None,
) -> None:
    """Write the reference pages of site files and standard machines from the code."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in sites.reference_pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        files.append(str(folder / name))
        console(json_file).print(f"wrote {folder / name}")
    write_json({"files": files}, json_file)


def _site_row(name: str) -> dict[str, str]:
    head = catalogue.read_toml(catalogue.find_site_file(name))
    return {"name": name} | {key: str(head.get(key, "")) for key in ("zone", "title")}


def _contract_lines(site: "Site") -> Iterator[str]:
    """Yield the tariffs and reserve products of a site with their validity."""
    for name, tariff in site.tariffs.items():
        yield f"tariff {name}: {tariff.status.replace('_', ' ')}, {_span(tariff)}"
    for name, product in site.reserves.items():
        yield f"reserve {name}: {product.direction}, {_span(product)}"


def _span(terms: "Tariff | ReserveProduct") -> str:
    """Return the validity of a tariff or product in words."""
    return f"from {terms.valid_from}" + (f" to {terms.valid_to}" if terms.valid_to else "")


def _machines(site: "Site") -> Table:
    shown = table("Machines", "name", "kind", "parameters")
    for name, machine in site.equipment.items():
        values = sites.declared_values(machine, only_set=True)
        parameters = {key: value for key, value in values.items() if key != "kind"}
        text = ", ".join(_parameter_texts(parameters))
        shown.add_row(name, machine.kind.replace("_", " "), text)
    return shown


def _parameter_texts(values: Mapping[str, object]) -> Iterator[str]:
    """Yield parameters as short texts; curves are only named."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{name} ({', '.join(_parameter_texts(value))})"
        elif not isinstance(value, tuple | NoneType):
            shown = f"{value:g}" if isinstance(value, float) else value
            yield f"{name.replace('_', ' ')} {shown}"


def _conversion_table(site: "Site") -> Table:
    numbers = ("all racks idle [MW]", "all racks at work [MW]", "rated [MW]")
    title = "From the racks to the grid, on a mild day"
    shown = table(title, "machine", "delivers", *numbers, numbers=numbers)
    full = sites.design_loads(site, busy_share=1.0)
    idle = sites.design_loads(site, busy_share=0.0)
    rated = sites.rated_outputs(site)
    for convert in site.conversions:
        row = idle[convert.output_carrier], full[convert.output_carrier], rated[convert.owner]
        shown.add_row(convert.owner, convert.output_carrier, *(f"{value:.1f}" for value in row))
    row = idle["grid"], full["grid"], site.grid_connection.import_limit
    shown.add_row(site.grid_connection.name, "grid", *(f"{value:.1f}" for value in row))
    return shown


def _work(site: "Site") -> Table:
    numbers = ("from [h]", "slack", "tolerance", "lowest cap")
    shown = table("Movable work", "kind", *numbers, numbers=numbers)
    for kind in site.work.values():
        row = f"{kind.longer_than:g}", f"{kind.slack:g}", f"{kind.tolerance:.0%}"
        shown.add_row(kind.name, *row, f"{kind.min_power_share:.0%}")
    return shown
