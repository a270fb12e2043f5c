"""What the reserves of a site must keep to: somebody holds each, and work can make up for it."""

from collections.abc import Iterator

from sites.faults import spot
from twin.errors import Fault
from twin.reserved.backing import holders, pauses
from twin.site import Site
from twin.workloads.envelope import RESERVE


def check_reserves(site: Site) -> Iterator[Fault]:
    """Yield products that nobody may hold, and work that would be late for having held one.

    Parameters
    ----------
    site
        A site of sound machines.
    """
    for name, product in site.reserves.items():
        place = f"reserves.{name}"
        kinds = [kind for kind in site.work.values() if pauses(product, kind)]
        if not holders(site, product) and not kinds:
            mend = (
                "nobody may hold it; give a battery local_controller = true"
                if product.needs_controller
                else "nobody may hold it; give a battery, or for a product upwards a kind of work "
                f"with a pause_time of at most {product.full_activation:g} min"
            )
            yield Fault(place=f"[{place}]", value=name, mend=mend)
        for kind in kinds:
            lost = product.duration + kind.pause_loss
            if lost > RESERVE:
                mend = (
                    f"with the pause_loss of {kind.name} a call puts off {lost:g} h of work, and "
                    f"plans keep {RESERVE:g} h in hand; leave its pause_time out"
                )
                yield Fault(
                    place=spot(place, "duration"), value=f"{product.duration:g} h", mend=mend
                )
