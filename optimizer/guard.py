"""Within a quarter-hour: hold the meter's mean below the peak with what batteries still can do.

The meter averages over the quarter-hour that runs. What sun, wind or jobs did not bring in its
first minutes can be made good in its last ones, before the peak of the billing period is raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from optimizer.dispatch import Orders
from optimizer.shave import LEAST, shave
from twin.site import Site

WHOLE: Final = 15
"""Minutes over which the connection's meter averages. [min]"""


@dataclass
class Guard:
    """Watches one quarter-hour.

    Attributes
    ----------
    site
        The site.
    planned
        What the plan orders, before anything is shaved.
    peak
        Mean import that raises no peak. [MW]
    spare
        Battery -> most by which it may be moved, where it holds something for others. [MW]
    least
        What is shaved from the start on, whatever the meter shows. [MW]
    cut
        What is shaved now, that included. [MW]
    saved
        Mean of what is shaved beyond it over the quarter-hour, if it is kept to its end. [MW]
    """

    site: Site
    planned: Orders
    peak: float
    spare: Mapping[str, float] = field(default_factory=dict)
    least: float = 0.0
    cut: float = field(init=False)
    saved: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Begin with what is shaved already."""
        self.cut = self.least

    def look(self, *, minutes: float, mean: float, latest: float) -> Orders | None:
        """Return other orders for the rest of the quarter-hour, if others are called for.

        Parameters
        ----------
        minutes
            Minutes that are over. [min]
        mean
            Mean net import in them. [MW]
        latest
            Net import now. [MW]

        Returns
        -------
        Orders or None
            With batteries that charge less or give more, or, where there is room again, as they
            were ordered at first; nothing if the orders stand.

        Notes
        -----
        With a peak :math:`P`, a mean :math:`m` over :math:`n` minutes and a meter that averages
        over :math:`N`, the rest of the quarter-hour may import :math:`(N P - n m)/(N - n)`.
        """
        left = WHOLE - minutes
        if left <= 0.0:
            return None
        allowed = (WHOLE * self.peak - minutes * mean) / left
        wanted = max(self.cut + latest - allowed, self.least)
        if abs(wanted - self.cut) <= LEAST:
            return None
        orders, cut = shave(self.planned, self.site, wanted, spare=self.spare)
        if abs(cut - self.cut) <= LEAST:
            return None
        self.saved += (cut - self.cut) * left / WHOLE
        self.cut = cut
        return orders
