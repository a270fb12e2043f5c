"""A failure followed in small steps by code of its own: the rules of docs.

Shared with the twin are the physics of single machines: exchangers, cold plates, coolers, chillers.
Stores, valve, tank, pumps, restarts, and what the plant takes at the temperature that the water
has, are written here once more; nothing is linear that is not so in the machine.
"""

import numpy as np

from tests.support.full_plant import GRID, LEAST, Taking
from twin.contingency.contingencies import FailedPart
from twin.equipment import CduBank, ChilledWaterTank, CoolingPlant, CrahBank, HeatReuse, ITHall
from twin.physics.heat_exchangers import cold_plate_resistance, part_load_approach
from twin.simulation import setpoints
from twin.simulation.simulate import simulate
from twin.weather import Weather

HOUR = 3600.0


class Full:
    """One failure of one circuit in the first interval of an operation."""

    def __init__(self, site, start, operation, trip, *, serves):
        self.site, self.trip, self.plan = site, trip, site.contingency
        self.part, self.serves = trip.failed_part, serves
        self.result = simulate(site, start, operation).isel(time=0)
        self.plant = next(p for p in site.machines_of(CoolingPlant) if p.serves == serves)
        self.target = self.plant.supply_temperature
        if setpoints.SUPPLY_SET_POINT_VARIABLE in operation:
            points = operation[setpoints.SUPPLY_SET_POINT_VARIABLE].isel(time=0)
            self.target = float(points.sel(circuit=self.plant.name))
        self.lag = self.plant.loop.valve_lag or self.plan.valve_lag
        self.water_now = self.plan_water(0.0)
        self.load = self.of("cooling_load", circuit=self.plant.name)
        weather = Weather.from_dataset(operation).select(np.zeros(GRID, dtype=np.int64))
        self.taking = Taking(
            self.result, self.plant, self.plan, part=self.part, weather=weather, target=self.target
        )
        self.output, self.flow = self.taking.output, self.taking.flow
        self.begun = self.taking.begun
        self.lay_out()

    def of(self, name, **label):
        return float(self.result[name].sel(label)) if name in self.result else 0.0

    # what is pumped

    def plan_water(self, t):
        """Return the facility flow over that before, without the later step."""
        plan, part = self.plan, self.part
        if part is FailedPart.TRANSFORMER or (part is FailedPart.POWER and t < plan.power_gap):
            return plan.ride_through
        if part is FailedPart.PUMP:
            left = (plan.pumps - 1) / plan.pumps
            if plan.standby_pumps:
                return left if t < plan.pump_start else 1.0
            return left if t < plan.cdu_ramp else min(1.0, left / max(self.flow, LEAST))
        return 1.0

    def water(self, t):
        now = self.plan_water(t)
        if t < self.plan.flow_step:
            return now
        lost = self.part is FailedPart.PUMP and not self.plan.standby_pumps
        most = (1.0 - 1.0 / self.plan.pumps if lost else 1.0) / max(self.flow, LEAST)
        if most <= now:
            return now
        short = self.taking.most(self.target, now, t)
        better = self.taking.most(self.target, most, t)
        return most if short < self.load and better > short else now

    def coolant(self, t):
        """Return the flow of the coolant through the manifold touched, over its rated one."""
        if self.part not in {FailedPart.CDU, FailedPart.CDU_PUMP}:
            return self.asked
        lost = 1.0 if self.part is FailedPart.CDU else 1.0 - self.plan.cdu_pump_flow
        left = (self.group - lost) / self.group
        return self.asked * left if t < self.plan.cdu_ramp else min(self.asked, left)

    # where heat is kept

    def lay_out(self):
        site, plan = self.site, self.plan
        self.tank = 0.0, 0.0, 0.0
        loop = self.plant.loop.heat_capacity
        if self.serves == "chilled":
            air = site.machines_of(CrahBank)[0]
            fans = self.of("hall_air_fan_power", hall_air=air.name)
            heat = self.of("hall_air_output", hall_air=air.name) + fans
            self.lay_tank()
            beside = self.load - heat - self.charge + self.tank[1] + self.lost
            mass = (
                site.rack_count * plan.hall_volume * plan.hall_mass_factor * 1.2 * 1.006e-3 / HOUR
            )
            self.capacity, self.heat = [mass, loop], [heat, beside]
            self.rated = air.rated_heat, air.approach, (air.air_range, air.water_range)
            self.least, self.fouling = air.minimum_flow, air.fouling
            self.own = max(heat / air.rated_heat, air.minimum_flow)
            self.state = [self.begun + heat / self.exchanger(0.0, 1.0), self.begun]
            return
        cdu, halls = site.machines_of(CduBank)[0], site.machines_of(ITHall)
        into, pump = (self.of(f"cdu_{n}", cdu=cdu.name) for n in ("output", "pump_power"))
        self.group = min(plan.cdu_group, cdu.count)
        share = (
            self.group / cdu.count if self.part in {FailedPart.CDU, FailedPart.CDU_PUMP} else 1.0
        )
        bank = cdu.count * cdu.rated_heat
        self.asked = max((into + pump) / bank, cdu.minimum_flow)
        through = min(max(into / bank, cdu.minimum_flow), 1.0)
        self.rises = [
            float(h.chip_temperature(np.array(h.rack_power), 0.0, flow_share=through))
            for h in halls
        ]
        rows = zip(halls, self.rises, strict=True)
        self.plates = share * sum(h.liquid_share * h.full_power / rise for h, rise in rows)
        self.litres = halls[0].chip_flow * 1000.0 / 60.0 * through
        coolant = share * bank / cdu.technology_range * plan.coolant_residence / HOUR
        unsold = 0.0
        if self.part is FailedPart.HEAT_PUMP:
            unsold = self.of("heat_reuse_source_heat", heat_reuse=self.trip.failed_machine)
        if self.trip.is_total_supply_loss:
            pumps = site.machines_of(HeatReuse)
            unsold = sum(self.of("heat_reuse_source_heat", heat_reuse=p.name) for p in pumps)
        self.capacity = [self.plates * plan.plate_lag / HOUR, coolant, loop]
        beside = self.load - share * (into + pump) + unsold
        self.heat = [share * into, share * pump, beside]
        self.rated = share * bank, cdu.approach, (cdu.technology_range, cdu.facility_range)
        self.least, self.fouling = cdu.minimum_flow, cdu.fouling
        warm = self.begun + share * (into + pump) / self.exchanger(None, 1.0)
        self.state = [warm + share * into / self.plates, warm, self.begun]

    def lay_tank(self):
        self.charge = self.lost = 0.0
        for tank in self.site.machines_of(ChilledWaterTank):
            store = next(s for s in self.site.stores if s.owner == tank.name)
            self.charge += self.of("tank_charge", tank=tank.name)
            given = self.of("tank_discharge", tank=tank.name)
            if self.trip.failed_machine == tank.name:
                self.lost = given
                continue
            level = float(self.result["tank_level"].sel(tank=tank.name)[0])
            kept = max(level - store.min_level, 0.0) * store.discharge_efficiency
            more = store.discharge_limit, given, kept
            self.tank = tuple(a + b for a, b in zip(self.tank, more, strict=True))

    def exchanger(self, t, water):
        """Return heat for each kelvin between air or coolant and water; before it with None."""
        heat, approach, ranges = self.rated
        if self.serves == "chilled":
            left, shares = 1.0, (self.own, max(self.own * water, LEAST))
        else:
            units = (
                (self.group - 1) / self.group
                if self.part is FailedPart.CDU and t is not None
                else 1
            )
            left = max(units, LEAST)
            coolant = self.asked if t is None else self.coolant(t)
            drawn = min(max(self.asked * water / left, LEAST), max(self.asked, 1.0))
            shares = max(coolant / left, LEAST), drawn
        above = part_load_approach(
            np.array(1.0),
            rated_heat=left * heat,
            rated_approach=approach,
            ranges=ranges,
            minimum_flow=self.least,
            fouling=self.fouling,
            flow_shares=tuple(np.array(share) for share in shares),
        )
        return 1.0 / float(above)

    # the march

    def bounds(self):
        """Return places in the state, limits, and names."""
        name = self.plant.name
        last = len(self.state) - 1
        found = [(last, self.plant.supply_limit, f"supply limit of {name}")]
        halls = self.site.machines_of(ITHall)
        if self.serves == "chilled":
            high = min(hall.inlet_temperature_limit for hall in halls)
            return [*found, (0, high, f"inlet limit of {self.site.machines_of(CrahBank)[0].name}")]
        for place, hall in enumerate(halls):
            high = hall.chip_temperature_limit - self.plan.throttle_margin
            found.append((3 + place, high, f"throttling in {hall.name}"))
        return found

    def first(self, horizon, step, *, slack=0.0):
        """Return when the first limit is reached, or what lies above it [min], and its name."""
        bounds, t = [(place, high + slack, name) for place, high, name in self.bounds()], 0.0
        x = [*self.state, *(self.state[-2] + rise for rise in self.rises_or_none)]
        y, given, level = self.output, self.tank[1], self.tank[2]
        moments = self.moments()
        while t <= horizon:
            for place, high, name in bounds:
                if x[place] >= high:
                    return t / 60.0, name
            if moments and t >= moments[0]:
                moments.pop(0)
                water = self.water(t)
                links = self.links(t, water)
                resistance = self.resistance(t)
                ceiling = self.taking.ceiling(water, t)
                if t >= self.plan.tank_start:
                    lacks = sum(self.heat) - ceiling(self.target)
                    given = min(max(lacks, 0.0), self.tank[0])
            given = given if level > given * step / HOUR else 0.0
            level -= given * step / HOUR
            x, y = self.step(x, y, (links, resistance, ceiling, given), step)
            t += step
        return np.inf, ""

    def moments(self):
        """Return when anything may change, in order."""
        plan, bank = self.plan, self.plant.chillers
        restart = plan.power_gap + plan.chiller_start
        units = bank.count if bank else 0
        return sorted(
            {0.0, plan.cdu_ramp, plan.pump_start, plan.power_gap, plan.flow_step}
            | {plan.tank_start, plan.chiller_start}
            | {restart + unit * plan.chiller_stage for unit in range(units)}
        )

    @property
    def rises_or_none(self):
        return self.rises if self.serves == "warm" else []

    def links(self, t, water):
        """Return the heat between neighbours for each kelvin."""
        exchanger = self.exchanger(t, water)
        return (
            [exchanger]
            if self.serves == "chilled"
            else [self.plates / self.resistance(t), exchanger]
        )

    def resistance(self, t):
        """Return that of the cold plates over that before."""
        if self.serves == "chilled":
            return 1.0
        through = min(self.coolant(t) / self.asked, 1.0)
        now, before = (cold_plate_resistance(self.litres * s) for s in (through, 1.0))
        return float(now / before)

    def step(self, x, y, now, step):
        """Go a small step straight ahead."""
        links, resistance, ceiling, given = now
        last, h = len(self.state) - 1, step / HOUR
        into = [*self.heat[:-1], self.heat[-1] - given]
        for place, link in enumerate(links):
            moved = link * (x[place] - x[place + 1])
            into[place] -= moved
            into[place + 1] += moved
        pull = self.capacity[last] * (x[last] - self.target) / (4.0 * self.lag / HOUR)
        y += step / self.lag * (into[last] + pull - y)
        y = min(max(y, 0.0), ceiling(x[last]))
        into[last] -= y
        new = [a + h * q / c for a, q, c in zip(x[: last + 1], into, self.capacity, strict=True)]
        pace = step / (self.plan.plate_lag * resistance)
        for chip, rise in zip(x[last + 1 :], self.rises_or_none, strict=True):
            new.append(chip + pace * (x[last - 1] + rise * resistance - chip))
        return new, y
