"""Whether the dated tariffs of a site follow one another, and leave the plain fees to none."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

from sites.faults import spot
from twin.errors import Fault
from twin.site import Site


def check_tariffs(site: Site) -> Iterator[Fault]:
    """Yield what is wrong with the tariffs of a site as a whole.

    Parameters
    ----------
    site
        The site.
    """
    in_order = sorted(site.tariffs.values(), key=lambda tariff: tariff.valid_from)
    for before, after in pairwise(in_order):
        if (before.valid_to or date.max) > after.valid_from:
            place = spot(f"tariffs.{before.name}", "valid_to")
            mend = f"two tariffs on one day: {after.name} holds from {after.valid_from} on"
            yield Fault(place=place, value=str(before.valid_to or ""), mend=mend)
        elif before.billing != after.billing:
            mend = (
                f"its peaks are of a {after.billing}, those of {before.name} of a {before.billing}"
            )
            yield Fault(place=f"[tariffs.{after.name}]", value="", mend=mend)
    for grid in (machine for machine in site.equipment.values() if machine.kind == "grid"):
        for key in ("import_fee", "peak_price"):
            if in_order and getattr(grid, key):
                place = spot(f"equipment.{grid.name}", key)
                mend = "the tariff says what the network charges: leave this out"
                yield Fault(place=place, value=f"{getattr(grid, key):g}", mend=mend)
