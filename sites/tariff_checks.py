"""Whether the dated tariffs of a site follow one another, and leave the plain fees to none."""

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise

from sites.declarations import parameters
from sites.faults import spot
from twin.equipment import Grid
from twin.errors import Fault
from twin.site import Site
from twin.tariffs.declaration import Tariff


def check_tariffs(site: Site) -> Iterator[Fault]:
    """Yield what is wrong with the tariffs of a site as a whole.

    Parameters
    ----------
    site
        The site.
    """
    yield from check_dates(site.tariffs)
    for grid in site.of(Grid):
        for key in ("import_fee", "peak_price"):
            if site.tariffs and getattr(grid, key):
                place = spot(f"equipment.{grid.name}", key)
                mend = "the tariff says what the network charges: leave this out"
                yield Fault(place=place, value=str(parameters(grid)[key]), mend=mend)


def check_dates(tariffs: Mapping[str, Tariff]) -> Iterator[Fault]:
    """Yield tariffs that do not follow one another.

    Parameters
    ----------
    tariffs
        Name -> tariff of one site.
    """
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    for before, after in pairwise(in_order):
        if (before.valid_to or date.max) > after.valid_from:
            place = spot(f"tariffs.{before.name}", "valid_to")
            mend = f"two tariffs on one day: {after.name} holds from {after.valid_from} on"
            yield Fault(place=place, value=str(before.valid_to or ""), mend=mend)
        elif (before.valid_to or date.max) > after.valid_from.replace(day=1) and (
            _charges_months(before) and _charges_months(after)
        ):
            place = spot(f"tariffs.{after.name}", "valid_from")
            mend = (
                f"{before.name} holds in this month too, whose peak both would charge: let it hold "
                "from the first of a month on"
            )
            yield Fault(place=place, value=str(after.valid_from), mend=mend)
    for before, after in pairwise(tariff for tariff in in_order if tariff.billing):
        if before.billing != after.billing:
            mend = (
                f"its peaks are of a {after.billing}, those of {before.name} of a {before.billing}"
            )
            yield Fault(place=f"[tariffs.{after.name}]", value="", mend=mend)


def _charges_months(tariff: Tariff) -> bool:
    """Return whether a tariff charges for something greatest of a month."""
    has_peak = any(peak.of == "month" and peak.price for peak in tariff.peaks)
    return has_peak or any(contract.excess_price for contract in tariff.contracted)
