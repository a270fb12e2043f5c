"""How a site is laid out against failures: what stands by, how fast it starts, what holds heat."""

from typing import Annotated

from twin.equipment.declaration import Declared
from twin.equipment.loop import Loop
from twin.units import Quantity

_SECONDS = 3600.0  # in an hour


class Contingency(Declared):
    """What stands by when a machine fails, and what keeps temperatures from jumping.

    What names no source is an assumption of ours, made for a plant with one machine to spare; a
    site file says otherwise in its table ``[contingency]``.

    References
    ----------
    .. [1] P. Lin, S. Zhang, and J. VanGilder, "Data center temperature rise during a cooling system
       outage," Schneider Electric, White Paper 179. Chilled pumps and fans on the UPS; chillers
       come back minutes after their supply. (secondary)
    .. [2] K. Khankari, "Rate of heating analysis of data centers during power shutdown," ASHRAE
       Trans., vol. 117, no. 1, LV-11-C026, 2011. Racks hold more heat than the air of the hall.
    .. [3] The project's physics notes, section 2: plate 2 s, pump of a CDU 30 s, valve 120 s, steps
       of the facility flow 10 to 15 min.
    """

    # what is promised
    least_time: Annotated[
        float,
        Quantity(
            "s",
            "least time to a limit after one of several machines alike fails, at any moment of a "
            "schedule; by default that in which a chiller on standby starts",
            at_least=0,
        ),
    ] = 300.0
    # heat that is held
    plate_lag: Annotated[
        float, Quantity("s", "time constant of a cold plate at its rated flow [3]", above=0)
    ] = 2.0
    coolant_residence: Annotated[
        float, Quantity("s", "coolant of a CDU and its racks over its rated flow", above=0)
    ] = 30.0
    hall_volume: Annotated[float, Quantity("m3", "air of the hall for each rack", above=0)] = 17.0
    hall_mass_factor: Annotated[
        float, Quantity("1", "heat held by air and racks, beside the air alone [2]", at_least=1)
    ] = 4.0
    valve_lag: Annotated[
        float, Quantity("s", "lag of a plant's valves where its loop names none [3]", above=0)
    ] = 120.0
    flow_step: Annotated[
        float, Quantity("s", "time after which the facility flow takes its next step [3]", above=0)
    ] = 600.0
    throttle_margin: Annotated[
        float, Quantity("K", "distance to the case limit at which a chip slows down", at_least=0)
    ] = 2.0
    # coolant
    cdu_group: Annotated[
        int, Quantity("1", "CDUs on one manifold, which share the heat of its racks", at_least=1)
    ] = 8
    cdu_pump_flow: Annotated[
        float, Quantity("1", "flow of a CDU with one pump out", at_least=0, at_most=1)
    ] = 0.7
    cdu_ramp: Annotated[
        float, Quantity("s", "time in which the other pumps speed up [3]", at_least=0)
    ] = 30.0
    # plants
    pumps: Annotated[int, Quantity("1", "duty pumps of a circuit", at_least=1)] = 4
    standby_pumps: Annotated[int, Quantity("1", "pumps of a circuit that stand by", at_least=0)] = 1
    pump_start: Annotated[
        float, Quantity("s", "until a pump on standby gives its flow", at_least=0)
    ] = 30.0
    chiller_start: Annotated[
        float, Quantity("s", "until a chiller that stood still gives its cooling", at_least=0)
    ] = 300.0
    tank_start: Annotated[
        float, Quantity("s", "until a tank gives what the plant lacks", at_least=0)
    ] = 60.0
    # supply
    power_gap: Annotated[
        float, Quantity("s", "until plants have power again after their supply fails", at_least=0)
    ] = 30.0
    ride_through: Annotated[
        float,
        Quantity(
            "1",
            "share of the facility flow that stays meanwhile, by the UPS [1]",
            at_least=0,
            at_most=1,
        ),
    ] = 1.0
    chiller_stage: Annotated[
        float, Quantity("s", "between the starts of two chillers after that", at_least=0)
    ] = 60.0
    ups_block: Annotated[float, Quantity("MW", "rating of one block of the UPS", above=0)] = 2.5
    ups_autonomy: Annotated[
        float, Quantity("s", "for which the UPS carries its load alone", at_least=0)
    ] = 300.0

    def lag_of(self, loop: Loop) -> float:
        """Return the lag of the valves of a circuit: its loop's own, where it names one. [h]"""
        return (loop.valve_lag or self.valve_lag) / _SECONDS
