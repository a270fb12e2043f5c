"""`gigatwin explain`: why a decision is as it is."""

from pathlib import Path
from typing import Annotated

import typer

import sites
from optimizer.cli.show import JsonFile, console, table, write_json
from optimizer.service.archive import SHOWN, check_site, read_course, read_decision
from twin import axes, vocabulary

app = typer.Typer(add_completion=False, help="Tell the reasons of a decision.")


@app.command()
def explain(
    site: Annotated[str, typer.Argument(help="Name of a declared site.")],
    run: Annotated[Path, typer.Option(help="Folder that gigatwin backtest --out wrote.")],
    at: Annotated[str | None, typer.Option(help="A moment of the run, UTC.")] = None,
    last: Annotated[bool, typer.Option("--last", help="The last decision (the default).")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which plant.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Tell the money by account, what binds and at what price, what changed, what is degraded."""
    loaded = sites.load(site)
    check_site(run, loaded)
    told = read_decision(run, None if last else at, seed=seed)
    moment = told["start"] if last or at is None else at
    screen = console(json_file)
    screen.print(f"[bold]{loaded.name}[/]: decision of {told['start']}")
    step = read_course(run, seed=seed).sel(time=axes.utc(moment), method="pad")
    for name in SHOWN:
        word = vocabulary.term(name)
        screen.print(f"  {word.meaning}: {float(step[name]):.1f} {word.unit}", markup=False)
    accounts = table("Over the horizon", "account", "EUR", numbers=["EUR"])
    for account, money in told["accounts"].items():
        accounts.add_row(account, f"{money:,.0f}")
    screen.print(accounts)
    columns = ("limit", "between", "intervals", "EUR a unit")
    binding = table("What binds", *columns, numbers=columns[2:])
    for limit in told["binding"]:
        between = f"{_short(limit['from'])} and {_short(limit['to'])}"
        row = limit["limit"], between, limit["intervals"], limit["price_eur"]
        binding.add_row(*map(str, row))
    screen.print(binding)
    for change in told["changes"] or ["nothing of size moved since the decision before"]:
        screen.print(f"- {change}", markup=False)
    if told["degraded"]:
        screen.print(f"degraded: {told['degraded']}", style="red", markup=False)
    write_json(told, json_file)


def _short(stamp: object) -> str:
    """Return a moment without its year: the run stands above."""
    return str(stamp)[5:].replace("T", " ")
