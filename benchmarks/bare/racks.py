"""Every rack, coolant unit and chip of a site, on bare compiled arrays: no names, units or checks.

The equations are those of twin/racks/kernels.py, chip_kernel.py and twin/racks/rack_series.py,
written again for speed: machine code may reorder sums, and results are packed as they are stored.
"""

import numba
import numpy as np

SHORTEST, LONGEST, SPREAD = 8, 96, 0.8
ONE = np.uint64(1)


@numba.njit(cache=True)
def mixed(state, key):
    state = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@numba.njit(cache=True)
def even(state):
    return np.float64(state >> np.uint64(11)) * 2.0**-53


@numba.njit(cache=True)
def draw(spell, hall, seed, deviation):
    """Fill how much busier each rack is than its hall."""
    sums, counts = np.zeros(hall[-1] + 1), np.zeros(hall[-1] + 1)
    root = mixed(np.uint64(0), np.uint64(seed))
    for r in range(len(hall)):
        rack = np.uint64(r)
        length = SHORTEST + np.int64(even(mixed(mixed(root, ONE), rack)) * (LONGEST - SHORTEST + 1))
        phase = np.int64(even(mixed(mixed(root, np.uint64(2)), rack)) * length)
        job = np.uint64((spell + phase) // length)
        work = 2.0 * even(mixed(mixed(mixed(root, np.uint64(3)), rack), job)) - 1.0
        deviation[r] = work
        sums[hall[r]] += work
        counts[hall[r]] += 1.0
    for r in range(len(hall)):
        deviation[r] = 0.5 * SPREAD * (deviation[r] - sums[hall[r]] / counts[hall[r]])


@numba.njit(cache=True, fastmath=True)
def step(table, outside, state, power, row):
    """Let racks and units make a step; `row` holds heat, pump, passed, kept, error and place."""
    first, hall, idle, span, liquid, knots, pumps, rates, passings, lag, slow, _ = table
    share, water, deviation = outside
    racks, units = state
    last_piece = len(pumps) - 2
    for r in range(len(hall)):
        work = share[hall[r]]
        room = max(min(work, 1.0 - work), 0.0)
        power[r] = idle[r] + span[r] * (work + room * deviation[r])
    for c in range(len(units)):
        begin, end = np.uint64(first[c]), np.uint64(first[c + 1])
        brought, warmth = 0.0, 0.0
        for r in range(begin, end):
            brought += liquid[r] * power[r]
            warmth += racks[r]
        place = brought * knots
        k = np.uint64(min(int(place), last_piece))
        w = place - k
        pump = pumps[k] + w * (pumps[k + ONE] - pumps[k])
        rate = rates[k] + w * (rates[k + ONE] - rates[k])
        passing = passings[k] + w * (passings[k + ONE] - passings[k])
        many = np.float64(end - begin)
        each = rate / many
        blend = 1.0 / (lag + each)
        mean, taken = blend * (lag * warmth + brought) / many, each * blend
        cold = slow * units[c] + (rate - passing) * mean
        cold += pump * (1.0 - passing / rate) + passing * water
        cold /= slow + rate * (1.0 - taken) + passing * taken
        gone = passing * (mean + taken * cold + pump / rate - water)
        stays = slow * (cold - units[c])
        units[c] = cold
        kept = 0.0
        for r in range(begin, end):
            back = blend * (lag * racks[r] + liquid[r] * power[r] + each * cold)
            kept += back - racks[r]
            racks[r] = back
        stays += lag * kept
        row[0, c], row[1, c], row[2, c], row[3, c] = brought, pump, gone, stays
        row[4, c] = abs(brought + pump - gone - stays) / max(brought + pump, 1e-3)
        row[5, c], row[6, c] = k, w


@numba.njit(cache=True, fastmath=True)
def plate(resistance, h, row, c):
    """Return the resistance of the plates of a hall behind a unit beside that at their flow."""
    k, w = np.uint64(row[5, c]), row[6, c]
    return resistance[h, k] + w * (resistance[h, k + ONE] - resistance[h, k])


@numba.njit(cache=True, fastmath=True)
def follow(table, chips, outside, state, found):
    """Follow all racks and units through a block of steps, and pack what they did."""
    knots, rise, serving = chips
    share, water, spell, seed = outside
    racks, units = state
    powers, backs, hottest, heat, pump, passed, kept, supply, error = found
    hall = table[1]
    count, last_piece = len(hall), rise.shape[1] - 2
    deviation, power, row = np.empty(count), np.empty(count), np.empty((7, len(units)))
    drawn = np.int64(-1)
    for t in range(len(water)):
        if spell[t] != drawn:
            drawn = spell[t]
            draw(drawn, hall, seed, deviation)
        step(table, (share[t], water[t], deviation), (racks, units), power, row)
        worst = 0.0
        for c in range(len(units)):
            heat[t, c], pump[t, c], passed[t, c], kept[t, c] = (
                row[0, c],
                row[1, c],
                row[2, c],
                row[3, c],
            )
            supply[t, c] = np.int16(np.floor(units[c] * 100.0 + 0.5))
            worst = max(worst, row[4, c])
        error[t] = worst
        for r in range(count):
            place = power[r] * knots[r]
            k = np.uint64(min(int(place), last_piece))
            h = np.uint64(hall[r])
            low = rise[h, k]
            above = low + (place - k) * (rise[h, k + ONE] - low)
            above *= plate(table[11], h, row, serving[r])
            powers[t, r] = power[r]
            backs[t, r] = np.int16(np.floor(racks[r] * 100.0 + 0.5))
            hottest[t, r] = np.int16(np.floor((above + units[serving[r]]) * 100.0 + 0.5))


@numba.njit(cache=True, fastmath=True)
def follow_chips(table, chips, outside, state, found):
    """Follow all racks, units and chips through a block of steps."""
    knots, mean_power, rises, serving, factor, stays = chips
    share, water, spell, seed = outside
    racks, units, cases = state
    powers, temperatures = found
    hall = table[1]
    count, last_piece = len(hall), mean_power.shape[1] - 2
    deviation, power, row = np.empty(count), np.empty(count), np.empty((7, len(units)))
    drawn = np.int64(-1)
    for t in range(len(water)):
        if spell[t] != drawn:
            drawn = spell[t]
            draw(drawn, hall, seed, deviation)
        step(table, (share[t], water[t], deviation), (racks, units), power, row)
        for r in range(count):
            h = hall[r]
            place = power[r] * knots[r]
            k = min(int(place), last_piece)
            low = mean_power[h, k]
            mean = low + (place - k) * (mean_power[h, k + 1] - low)
            low = rises[h, k]
            above = low + (place - k) * (rises[h, k + 1] - low)
            above *= plate(table[11], np.uint64(h), row, serving[r])
            coolant, rise = np.float32(units[serving[r]]), np.float32(above)
            megawatts = np.float32(1e-6 * mean)
            for c in range(factor.shape[1]):
                end = coolant + rise * factor[r, c]
                now = end + (cases[r, c] - end) * stays
                cases[r, c] = now
                powers[t, r, c] = megawatts * factor[r, c]
                temperatures[t, r, c] = now
