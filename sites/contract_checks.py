"""Faults between contracts of a site, and between them and its connection."""

from collections.abc import Iterator

from sites.faults import spot
from twin.equipment import DayAhead, Grid, HourlyMatching, LoadTargetContract
from twin.errors import Fault
from twin.site import Site


def check_contracts(site: Site) -> Iterator[Fault]:
    """Yield contracts that cannot stand side by side, or ask for more than the connection has.

    Parameters
    ----------
    site
        The site.
    """
    if not site.of(Grid):  # told elsewhere
        return
    for kind in (DayAhead, HourlyMatching):
        for other in site.of(kind)[1:]:
            mend = f"a site has one {kind.kind} at most; remove it"
            yield Fault(place=spot(f"equipment.{other.name}", "kind"), value="", mend=mend)
    is_matched = bool(site.of(HourlyMatching))
    if is_matched != (site.grid.carbon == "matched"):
        place = spot(f"equipment.{site.grid.name}", "carbon")
        mend = 'an hourly_matching goes with carbon = "matched" here, and "matched" with it'
        yield Fault(place=place, value=f'"{site.grid.carbon}"', mend=mend)
    issuers: set[str] = set()
    for contract in site.of(LoadTargetContract):
        if contract.least > site.grid.import_limit:
            place = spot(f"equipment.{contract.name}", "least")
            mend = f"the connection has {site.grid.import_limit:g} MW only"
            yield Fault(place=place, value=f"{contract.least:g} MW", mend=mend)
        if contract.issuer in issuers:
            place = spot(f"equipment.{contract.name}", "partner")
            mend = "another contract has the same partner, whose targets cannot be told apart"
            yield Fault(place=place, value=f'"{contract.issuer}"', mend=mend)
        issuers.add(contract.issuer)
        yield from _calls(site, contract)


def _calls(site: Site, contract: LoadTargetContract) -> Iterator[Fault]:
    """Yield what a contract cannot call: only what waits for an order, and lowers import."""
    place = spot(f"equipment.{contract.name}", "activates")
    for name in contract.activates:
        product = site.reserves.get(name)
        if product is None:
            known = ", ".join(site.reserves) or "none"
            yield Fault(place=place, value=f'"{name}"', mend=f"the site sells: {known}")
        elif product.needs_controller or not product.goes_up:
            mend = "a limit of import calls what goes up and needs no controller; remove it"
            yield Fault(place=place, value=f'"{name}"', mend=mend)
    if contract.activates and contract.effect == "curtailment":
        mend = 'what is sold is called by a target; make the effect "priced" or "hard"'
        place = spot(f"equipment.{contract.name}", "effect")
        yield Fault(place=place, value='"curtailment"', mend=mend)
