"""Routes of a fleet: which work may move from where to where, how fast, and what its data costs."""

from typing import Annotated

from twin.equipment.declaration import Declared
from twin.units import Quantity


class Route(Declared):
    """Work of one kind that may move between sites.

    What may cross which border is law, not economics: a route names the sites that work may leave,
    and those that may take it in. Work may have several routes.

    Attributes
    ----------
    kind
        Kind of work, as the sites call it.
    origins, hosts
        Sites that it may leave, and that may take it in; all that know the kind if left out.
    """

    kind: str
    origins: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    transfer_time: Annotated[
        float, Quantity("h", "time from leaving one site to being ready at another", at_least=0)
    ] = 1.0
    window: Annotated[
        float, Quantity("h", "time after arrival within which moved work is done", above=0)
    ] = 6.0
    job_length: Annotated[
        float, Quantity("h", "length of a job, uncapped: a job runs on its own racks", above=0)
    ] = 1.0
    cost: Annotated[
        float, Quantity("EUR MWh-1", "cost of moving a MWh of work, data apart", at_least=0)
    ] = 0.0
    data: Annotated[
        float, Quantity("GB MWh-1", "data that moves with a MWh of work", at_least=0)
    ] = 0.0
    data_price: Annotated[float, Quantity("EUR GB-1", "price of moving data", at_least=0)] = 0.0

    @property
    def move_cost(self) -> float:
        """Cost of moving a MWh of work with its data. [EUR MWh-1]"""
        return self.cost + self.data * self.data_price
