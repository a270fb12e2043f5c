"""Maximum cooling of a plant after a failure, by water temperature."""

import numpy as np

from twin.contingency.contingencies import FailedPart

LEAST = 1e-3
GRID = 40


class Taking:
    """One plant under a failure, from what it did in the interval before."""

    def __init__(self, result, plant, plan, *, part, weather, target):
        self.result, self.plant, self.plan, self.part = result, plant, plan, part
        self.weather, self.target = weather, target
        self.output = self.of("cooling_plant_output")
        self.flow = self.of("cooling_plant_flow") / plant.rated_flow
        water = result["facility_supply_temperature"].sel(circuit=plant.name)
        self.begun = float(water[0])
        self.tables = {}

    def of(self, name):
        return float(self.result[name].sel(circuit=self.plant.name)) if name in self.result else 0.0

    def machines(self, t):
        """Return electricity, coolers out, and chillers that may run."""
        plan, bank = self.plan, self.plant.chillers
        if self.part in {FailedPart.PLANT, FailedPart.TRANSFORMER}:
            return False, 0, 0
        count = bank.count if bank else 0
        if self.part is FailedPart.POWER:
            started = (t - plan.power_gap - plan.chiller_start) // plan.chiller_stage + 1
            return t >= plan.power_gap, 0, min(max(int(started), 0), count)
        lost = 1 if self.part is FailedPart.CHILLER else 0
        running = round(self.of("cooling_plant_units_on"))
        units = count - lost if t >= plan.chiller_start else max(running - lost, 0)
        return True, 1 if self.part is FailedPart.REJECTION else 0, min(units, count - lost)

    def most(self, water, share, t):
        """Return what the plant takes at most with its water at a temperature."""
        return self.ceiling(share, t)(water)

    def ceiling(self, share, t):
        """Return what the plant takes at most, over the temperature of its water."""
        has_power, out, units = self.machines(t)
        if not has_power:
            return lambda _: 0.0
        key = share, out, units
        if key not in self.tables:
            self.tables[key] = self.table(share, out, units)
        grid, heats = (row.tolist() for row in self.tables[key])
        width = (grid[-1] - grid[0]) / (GRID - 1)

        def most(water):
            place = min(max((water - grid[0]) / width, 0.0), GRID - 1.001)
            below = int(place)
            return heats[below] + (place - below) * (heats[below + 1] - heats[below])

        return most

    def table(self, share, out, units):
        plant, bank = self.plant, self.plant.chillers
        high = max(plant.supply_limit, self.begun) + 1.0
        grid = np.linspace(min(self.target, self.begun) - 1.0, high, GRID)
        if bank is None:
            rate = max(self.flow * share, LEAST) * plant.rated_cooling / plant.temperature_range
            return grid, self.leaves(grid, rate, out)
        free = self.output * self.of("cooling_plant_free_share")
        left = 1.0 - out / plant.rejection.count
        whole = 0.0
        if left:
            whole = float(self.less(out).capacity(self.weather, plant.supply_temperature)[0])
        on = max(self.of("cooling_plant_units_on"), 1.0)
        each = max(whole / bank.count, (self.output - free) / on)
        compressed = min(free * left + units * each, max(whole, self.output * left))
        if plant.economiser_approach is None:
            return grid, np.full(GRID, compressed)
        rate = bank.rated_rejection / bank.condenser_range
        alone = self.leaves(grid - plant.economiser_approach, rate, out)
        return grid, np.maximum(compressed, alone)

    def less(self, out):
        rejection = self.plant.rejection
        fewer = rejection.model_copy(update={"count": max(rejection.count - out, 1)})
        return self.plant.model_copy(update={"rejection": fewer})

    def leaves(self, temperature, rate, out):
        """Return the heat that coolers at full take from water that leaves them like this."""
        if out >= self.plant.rejection.count:
            return np.zeros(GRID)
        coolers = self.less(out).rejection
        low, high = np.zeros(GRID), np.full(GRID, 5.0 * self.plant.rated_cooling)
        for _ in range(40):
            middle = (low + high) / 2.0
            left = coolers.leaving_temperature(
                middle,
                capacity_rate=np.full(GRID, rate),
                weather=self.weather,
                speed=np.ones(GRID),
            )
            low = np.where(left <= temperature, middle, low)
            high = np.where(left <= temperature, high, middle)
        return np.maximum(low - self.plant.pump_power, 0.0)
