"""Reserve capacity in a few steps: who holds it, its energy, and its opportunity cost.

All begin four hours before midnight, in a block whose gate has closed, so nothing is sold in it;
the day after is open. A MW of load lets a MW be given without export.
"""

import numpy as np
import pytest

from optimizer.model.components import storage_reserve
from tests.support.hand import battery, grid, kind, machine, site, solved, through
from tests.support.reserve_sites import ahead, held_by, offered, product
from twin import variables


@pytest.fixture(autouse=True)
def _full_to_the_end(monkeypatch):
    """Do not let power fade near the limits of a battery, so that numbers stay round."""
    monkeypatch.setattr(storage_reserve, "TAPER_TIME_H", 0.0)


def test_battery_sells_its_power():
    """Proves: 1 MW for 4 h at 10 EUR/MW/h are 40, in the open block only.

    8 MWh of load at 50 cost 400; of the 2 MWh in the battery 0.25 stay behind the MW, 1.75 save
    87.5. Sensitivity: 260 without energy behind, 232.5 if the closed block were sold too.
    """
    where = held_by(battery(), product())
    plan = solved(where, ahead([50.0] * 8, service=1.0), level=0.5)
    assert offered(plan) == pytest.approx([0.0] * 4 + [1.0] * 4)
    assert plan.accounts["reserves"].sum() == pytest.approx(-40.0)
    assert plan.values["battery.level"][4:] == pytest.approx(0.25)
    assert plan.objective == pytest.approx(400.0 - 40.0 - 87.5)


def test_power_fades_near_the_limits_of_a_battery(monkeypatch):
    """Proves: a controller that lets power fade over 0.2 h keeps 0.2 MWh more behind the MW: 0.45.

    Of 2 MWh 1.55 are sold at 50: 400 - 40 - 77.5. Sensitivity: 272.5 with 0.25 MWh behind it.
    """
    monkeypatch.setattr(storage_reserve, "TAPER_TIME_H", 0.2)
    plan = solved(held_by(battery(), product()), ahead([50.0] * 8, service=1.0), level=0.5)
    assert plan.objective == pytest.approx(282.5)


def test_upward_reserve_needs_no_headroom(monkeypatch):
    """Proves: the battery fills up at full power for the hour at 10 while 1 MW upwards is sold.

    0.45 MWh of 1.45 stay behind it, 1 MWh is bought at 10, and all is sold at 50: 400 + 30 + 50 +
    77.5. Sensitivity: 564.17 if charging had to last 0.2 h longer, as for what goes downwards.
    """
    monkeypatch.setattr(storage_reserve, "TAPER_TIME_H", 0.2)
    where = held_by(battery(capacity=1.45), product(direction="up", block=1.0))
    held = [0.0] * 4 + [1.0, 0.0, 0.0]
    look = ahead([50.0] * 4 + [10.0, 50.0, 50.0], service=2.0, held=held, paid=[0.0] * 7)
    plan = solved(where, look, level=0.45 / 1.45)
    assert plan.values["fcr_reserve.shortfall"] == pytest.approx(0.0)
    assert plan.objective == pytest.approx(557.5)


@pytest.mark.parametrize(("paid", "expected"), [(10.0, 160.0), (100.0, 5.0)])
def test_capacity_competes_with_trade(paid, expected):
    """Proves: bought at 20, 4 MWh save 320 at 80, so load and battery cost 400 + 80 - 320 = 160.

    A MW held meanwhile cannot be traded: 400 + 0.25 MWh at 20 - 40 = 365 at 10 EUR/MW/h, and 5 at
    100. Sensitivity: -240 if the same MW were sold twice.
    """
    where = held_by(battery(), product(price=paid))
    plan = solved(where, ahead([20.0] * 4 + [80.0] * 4, service=1.0))
    assert plan.objective == pytest.approx(expected)


def test_energy_limits_capacity():
    """Proves: an hour both ways behind each MW leaves 0.5 MW to a battery of 1 MWh: 20 for 4 h.

    Energy is free. Sensitivity: 40 if power alone counted, 30 if one direction did.
    """
    where = held_by(battery(capacity=1.0), product(duration=1.0))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=1.0)
    assert offered(plan)[4:] == pytest.approx(0.5)
    assert plan.objective == pytest.approx(-20.0)


def test_reserve_energy_includes_losses():
    """Proves: at .8 a MW for an hour takes 1.25 MWh both ways: of 1 MWh, 0.4 MW are sold, for 16.

    Sensitivity: 20 if losses were left out.
    """
    where = held_by(battery(capacity=1.0, efficiency=0.8), product(duration=1.0))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=1.0)
    assert plan.objective == pytest.approx(-16.0)


def test_limited_storage_keeps_more_power():
    """Proves: with 134 % of power behind it (FCR-N), 1 MW holds 0.7 MW in steps of 0.1: 28.

    Sensitivity: 40 at 100 %; 29.85 without steps.
    """
    where = held_by(battery(), product(power_share=1.34, duration=1.0))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=0.5)
    assert offered(plan)[4:] == pytest.approx(0.7)
    assert plan.objective == pytest.approx(-28.0)


def test_full_idle_battery_holds_upward_reserve():
    """Proves: upwards alone, 1 MW for 20 min (FCR-D) needs no room above: 40 for 4 h.

    Wear keeps it full, so it cannot charge. Sensitivity: 0 if downward room were required.
    """
    up = product(direction="up", duration=1 / 3, opposite_share=0.2)
    where = held_by(battery(wear_price=20.0), up)
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=1.0)
    assert plan.objective == pytest.approx(-40.0)


def test_charging_can_be_stopped_upwards():
    """Proves: a battery that charges c can sell s <= 1 + c upwards, and keeps 0.2 s downwards.

    Power is paid for at -40, capacity at 10: 40 c + 10 s is greatest at s = 1.6 (of 1.67), where
    c = 1 - 0.2 s = 0.68. With 3 MW of load, 4 h earn 40 * 3.68 + 16 each. Sensitivity: s = 2, c = 1
    if nothing were kept downwards; s = 1 if charging could not be stopped.
    """
    up = product(direction="up", duration=0.25, opposite_share=0.2)
    where = held_by(battery(capacity=100.0), up)
    plan = solved(where, ahead([0.0] * 4 + [-40.0] * 4, service=3.0), level=0.5)
    assert offered(plan)[4:] == pytest.approx(1.6)
    assert plan.objective == pytest.approx(-4 * (40.0 * 3.68 + 16.0))


def test_capacity_is_constant_over_a_block():
    """Proves: what the last hour leaves is sold for all four: 0.7 MW for 28, hour by hour 37.

    Load of 1, 1, 1 and 0.5 MW; nothing may be exported. In the last hour the battery charges 0.3
    MW, which is 0.8 MW of import to be given, and leaves 0.7 MW of charge to be taken.
    """
    where = held_by(battery(), product())
    load = [1.0] * 7 + [0.5]
    plan = solved(where, ahead([0.0] * 8, service=load), level=0.5)
    assert plan.objective == pytest.approx(-28.0)
    hourly = held_by(battery(), product(block=1.0))
    assert solved(hourly, ahead([0.0] * 8, service=load), level=0.5).objective == pytest.approx(
        -37.0
    )


def test_connection_limits_the_reserve():
    """Proves: under 1.4 MW of import and 1 MW of load, 0.7 MW are sold: 28.

    The battery gives 0.3 MW, so that 0.7 MW more may be imported, and 0.7 MW more be given: 1.2
    of its 2 MWh. Sensitivity: 40 without the connection limit, 16 if the battery rested.
    """
    where = held_by(battery(), product(), connection=grid(import_limit=1.4))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=0.5)
    assert plan.objective == pytest.approx(-28.0)


def test_feeder_limits_the_reserve():
    """Proves: the same with a line of 1.3 MW: 0.4 MW given and 0.6 MW sold for 24 (of 0.65)."""
    line = machine("line", "medium_voltage", draws={"grid": through}, limit=1.3)
    where = held_by(battery(), product(), line=line)
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=0.5)
    assert plan.objective == pytest.approx(-24.0)


def test_feeder_limits_the_reserve_backwards():
    """Proves: through a line of 1.3 MW, 1.3 taken turn into 1.3 given: 2.6 MW are sold, 104.

    Sensitivity: 132 with the 3.3 MW of the battery, and 2 MW backwards through the line.
    """
    line = machine("line", "medium_voltage", draws={"grid": through}, limit=1.3)
    big, up = battery(capacity=8.0, power=3.0), product(direction="up")
    where = held_by(big, up, line=line, connection=grid(export_limit=10.0))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=0.5)
    assert plan.objective == pytest.approx(-104.0)


def test_bids_are_integer():
    """Proves: of 1.6 MW one MW is sold, and 0.6 MW trade: 4 h at 0.6 MW and 50 save 120, less 40.

    9.6 MWh are there. Sensitivity: -64 and no trade with 1.6 MW sold.
    """
    big = battery(capacity=20.0, power=1.6)
    where = held_by(big, product(least_bid=1.0, bid_step=1.0, price=60.0))
    plan = solved(where, ahead([0.0] * 4 + [50.0] * 4, service=2.0), level=0.5)
    assert offered(plan)[4:] == pytest.approx(1.0)
    assert plan.objective == pytest.approx(4 * 2 * 50.0 - 4 * 60.0 - 0.6 * 4 * 50.0)


def test_no_capacity_without_a_controller():
    """Proves: a battery controlled only by the service holds no FCR, but may hold mFRR: 40."""
    where = site(battery()).model_copy(update={"reserves": {"fcr": product()}})
    assert solved(where, ahead([0.0] * 8, service=1.0), level=0.5).objective == pytest.approx(0.0)
    slow = product(needs_controller=False, full_activation=12.5)
    where = site(battery()).model_copy(update={"reserves": {"fcr": slow}})
    assert solved(where, ahead([0.0] * 8, service=1.0), level=0.5).objective == pytest.approx(-40.0)


def test_sold_reserve_is_held_though_trade_pays_more():
    """Proves: 1 MW sold is held at 0.25 MWh, though the battery would save 320 in that time.

    It fills up before at 20 and saves nothing at 80: 400 + 0.25 * 20 - 40 = 365 instead of 160.
    Sensitivity: 160 - 40 if the promise were not kept, and 560 with the penalty paid.
    """
    where = held_by(battery(), product())
    held = [0.0] * 4 + [1.0] * 4
    plan = solved(where, ahead([20.0] * 4 + [80.0] * 4, service=1.0, held=held))
    assert plan.values["fcr_reserve.shortfall"] == pytest.approx(0.0)
    assert plan.objective == pytest.approx(365.0)


def test_missing_reserve_is_priced_and_reported():
    """Proves: an empty battery holds nothing for the first hour of 4 sold: 30 earned, and a price.

    The penalty of 100 and the price of a broken promise, 10,000. Sensitivity: no plan at all if it
    were hard; 40 earned if it were free. It takes 0.25 MWh for
    nothing and holds from then on; before, at the start of an interval, nothing is behind.
    """
    where = held_by(battery(), product())
    plan = solved(where, ahead([0.0] * 8, service=1.0, held=[1.0] * 4 + [0.0] * 4, paid=[10.0] * 8))
    short = plan.values["fcr_reserve.shortfall"]
    assert short == pytest.approx([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert plan.accounts["reserve_shortfall"].sum() == pytest.approx(10100.0)
    assert plan.accounts["reserves"].sum() == pytest.approx(-30.0 - 40.0)


def test_block_prices_override_the_declared_one():
    """Proves: a series of 25 EUR/MW/h pays 100 for 4 h. Sensitivity: 40 as declared."""
    where = held_by(battery(), product())
    plan = solved(where, ahead([0.0] * 8, service=1.0, paid=[25.0] * 8), level=0.5)
    assert plan.objective == pytest.approx(-100.0)


def test_activation_may_begin_at_the_end_of_its_block():
    """Proves: of two consecutive hourly products, the first needs energy beyond its end.

    Quarter-hours; 1 MW is sold in the hour from 00:00 and none after. A full hour that ends at
    01:00 takes 1 MWh, so the battery may sell its last MWh at 100 only from then on: at that
    moment 1 MWh is left, which saves 100. Sensitivity: 200 if energy were counted at the start of
    the hour only.
    """
    where = held_by(battery(capacity=2.0, power=2.0), product(duration=1.0, block=1.0))
    prices = [0.0] * 16 + [100.0] * 8
    held = [0.0] * 16 + [1.0] * 4 + [0.0] * 4
    look = ahead(prices, hours=0.25, service=1.0, held=held, paid=[0.0] * 24)
    plan = solved(where, look, level=1.0)
    level = plan.values["battery.level"]
    assert level[16:21].min() >= 1.0 - 1e-9
    assert level[16:21].max() <= 1.0 + 1e-9
    assert plan.objective == pytest.approx(200.0 - 100.0)


def test_activations_may_end_inside_an_hour():
    """Proves: 1.4 MW for an hour until 01:00 and r MW for a quarter from then on share 1.5 MWh.

    At 01:15 the one has taken 0.75 h of its power, so 1.05 + 0.25 r <= 1.5 and r = 1.8, for 18.
    Sensitivity: 20, all of the power, if energy were looked at between hours only.
    """
    long = product("long", direction="up", duration=1.0, block=1.0)
    short = product(direction="up", duration=0.25, block=1.0)
    where = held_by(battery(capacity=1.5, power=2.0), short, long)
    look = ahead([0.0] * 6, service=2.0).assign_coords(product=["fcr", "long"])
    rows = {"reserve_held": np.zeros((6, 2)), "reserve_price": np.zeros((6, 2))}
    rows["reserve_held"][4, 1], rows["reserve_price"][5, 0] = 1.4, 10.0
    quantities = {word: (("time", "product"), values) for word, values in rows.items()}
    plan = solved(where, variables.tag_dataset(look.assign(quantities)), level=1.0)
    assert offered(plan)[5] == pytest.approx(1.8)
    assert plan.objective == pytest.approx(-18.0)


def test_expected_activation_is_priced():
    """Proves: a fifth of 1 MW is expected upwards at 90 and bought back at 50: 0.2 * 40 earned.

    For 4 h: 32 beside 40 of capacity, and 1 of wear for each MWh, 0.8. Sensitivity: 40 alone.
    """
    up = product(direction="up", activation_up=0.2, activation_up_price=90.0)
    where = held_by(battery(wear_price=1.0), up)
    plan = solved(where, ahead([50.0] * 8, service=1.0), level=0.0625)
    assert plan.accounts["activation"].sum() == pytest.approx(-0.2 * 4 * (90.0 - 50.0 - 1.0))
    assert plan.objective == pytest.approx(400.0 - 40.0 - 31.2)


def test_activation_changes_the_fees_paid():
    """Proves: a fifth of 1 MW upwards at 90, at 50 and a fee of 30: 90 + 30 - 80 = 40 a MWh.

    So for work that puts it off, and downwards at 20: 80 saved for 20 + 30. Sensitivity: the fee
    in what is bought back only: 10 and 60.
    """
    dear = grid().model_copy(update={"import_fee": 30.0})
    look = ahead([50.0] * 8, service=1.0)
    for own, earned in (
        ({"direction": "up", "activation_up": 0.2, "activation_up_price": 90.0}, 40.0),
        ({"direction": "down", "activation_down": 0.2, "activation_down_price": 20.0}, 30.0),
    ):
        where = held_by(battery(wear_price=0.0), product(price=50.0, **own), connection=dear)
        plan = solved(where, look, level=0.0625)
        used = 0.2 * offered(plan).sum()
        assert used > 0.0
        assert plan.accounts["activation"].sum() == pytest.approx(-earned * used)
    batch = kind().model_copy(update={"pause_time": 10.0})
    slow = product(
        direction="up", needs_controller=False, full_activation=12.5, duration=1.0, block=1.0,
        activation_up=0.1, activation_up_price=90.0,
    )  # fmt: skip
    where = site(work=[batch], connection=dear).model_copy(update={"reserves": {"fcr": slow}})
    jobs = [("batch", [0.0] * 7 + [8.0], [0.0] * 4 + [8.0] * 4, 4.0)]
    plan = solved(where, ahead([50.0] * 8, jobs=jobs))
    assert offered(plan).sum() == pytest.approx(8.0)
    assert plan.accounts["activation"].sum() == pytest.approx(-0.1 * 8.0 * 40.0)


def test_work_that_may_pause_holds_mfrr():
    """Proves: work holds what it can put off: 8 MWh, due by 03:00, at most 4 MW, hours from 22:00.

    At 10, and 2 in the last hour, where it cannot be put off: 4 MWh there, 4 MWh from 00:00 on at
    10 that earn 5 for each MW held: 8 + 40 - 20 = 28. Sensitivity: 8 if what must be done held
    reserves too, 48 if none did.
    """
    batch = kind().model_copy(update={"pause_time": 10.0})
    slow = product(
        "mfrr", direction="up", needs_controller=False, full_activation=12.5, duration=1.0,
        block=1.0, price=5.0,
    )  # fmt: skip
    where = site(work=[batch]).model_copy(update={"reserves": {"mfrr": slow}})
    jobs = [("batch", [0.0] * 6 + [8.0], [8.0] * 7, 4.0)]
    look = ahead([10.0] * 6 + [2.0], jobs=jobs)
    plan = solved(where, look)
    assert plan.objective == pytest.approx(28.0)
    assert offered(plan, "mfrr").sum() == pytest.approx(4.0)
    quick = slow.model_copy(update={"full_activation": 5.0})
    where = where.model_copy(update={"reserves": {"mfrr": quick}})
    assert solved(where, look).objective == pytest.approx(48.0)


def test_pause_loss_reduces_the_reserve():
    """Proves: with half an hour lost by a pause, each MW held needs 1.5 MWh ahead of the deadline.

    6 MWh, 3 of them due an hour before the end, done at 00:00 in one hour at 6 MW: 3 MWh are ahead
    there, so 2 MW are held. Sensitivity: 3 MW without the loss.
    """
    batch = kind().model_copy(update={"pause_time": 10.0, "pause_loss": 0.5})
    slow = product(
        "mfrr", direction="up", needs_controller=False, full_activation=12.5, duration=1.0,
        block=1.0, price=5.0,
    )  # fmt: skip
    where = site(work=[batch]).model_copy(update={"reserves": {"mfrr": slow}})
    jobs = [("batch", [0.0] * 4 + [3.0, 6.0], [0.0] * 4 + [6.0, 6.0], 6.0)]
    plan = solved(where, ahead([10.0] * 6, jobs=jobs))
    assert offered(plan, "mfrr") == pytest.approx([0.0] * 4 + [2.0, 0.0])


def test_site_without_products_has_an_unchanged_model():
    """Proves: no additional row, column or account. Sensitivity: empty blocks shift every basis."""
    with_none = solved(site(battery()), ahead([20.0] * 8, service=1.0))
    assert not [name for name in with_none.values if "reserve" in name]
    assert not {"reserves", "activation", "reserve_shortfall"} & set(with_none.accounts)
