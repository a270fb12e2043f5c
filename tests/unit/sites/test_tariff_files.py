"""The tariff examples: complete, with marked sources, and billed."""

from typing import get_args, get_origin

import numpy as np
import pytest

import sites
from sites.catalogue import MAX_NESTING
from sites.loading import TARIFFS_DIR
from twin import time_axes
from twin.errors import SiteError
from twin.markets.bills import bills_by_year
from twin.markets.tariffs import Tariff
from twin.time_axes import QUARTER_HOUR
from twin.units import Declaration

NAMES = sorted(path.stem for path in TARIFFS_DIR.glob("*.toml"))
START = time_axes.to_utc("2022-12-31T23:00")
YEAR = START + np.arange(35_040) * QUARTER_HOUR
"""2023 in Berlin and Madrid."""


@pytest.mark.parametrize("name", NAMES)
def test_example_bills_a_year_and_marks_assumptions(name):
    """Proves: 150 MW all of 2023 have a bill of plausible size, and prices that are ours say so."""
    rules = sites.load_tariffs(name)
    assert rules
    assert all(
        tariff.status == "assumed" and "assumed" in tariff.source for tariff in rules.values()
    )
    (found,) = bills_by_year(rules, YEAR, np.full(len(YEAR), 150.0), time_zone="Europe/Berlin")
    assert 1e6 < float(found.total) < 1e8
    assert found.utilisation_hours == pytest.approx(8760.0)


def test_german_example_applies_the_cheapest_option():
    """Proves: 8,760 h of use pay a tenth of 150 x 90,000 + 1,314,000 x 4 = 18,756,000 EUR."""
    (found,) = bills_by_year(
        sites.load_tariffs("germany"), YEAR, np.full(len(YEAR), 150.0), time_zone="Europe/Berlin"
    )
    assert found.charge_option == "band_load"
    network = sum(float(line.money) for line in found.lines if line.group == "network")
    assert network == pytest.approx(1_875_600.0)


def test_spanish_contracted_powers_never_fall():
    (tariff,) = sites.load_tariffs("spain").values()
    powers = [contract.power for contract in tariff.contracted]
    assert powers == sorted(powers)


def test_span_over_a_year_end_is_billed_by_year():
    """Proves: of one tariff two bills, each with its own peak: an hour of 2022, an hour of 2023."""
    starts = START - 4 * QUARTER_HOUR + np.arange(8) * QUARTER_HOUR
    power = np.repeat([9.0, 3.0], 4)
    found = bills_by_year(sites.load_tariffs("germany"), starts, power, time_zone="Europe/Berlin")
    assert [one.peak for one in found] == [9.0, 3.0]


def test_unknown_tariff_file_is_refused(tmp_path):
    with pytest.raises(SiteError, match=r"germany, nordic, spain; .*did you mean spain\?"):
        sites.load_tariffs("spian")
    empty = tmp_path / "empty.toml"
    empty.write_text("tariffs = 3\n", encoding="utf-8")
    with pytest.raises(SiteError, match=r"add a table \[tariffs\.<name>\]"):
        sites.load_tariffs(empty)
    empty.write_text("[tariffs]\na = 3\n[tariffs.b]\nvalid_from = 2026-01-01\n", encoding="utf-8")
    with pytest.raises(SiteError, match=r"write a table \[tariffs\.a\](?s:.*)status: a value"):
        sites.load_tariffs(empty)


RULE = 'status = "assumed"\nsource = "assumed"\nstanding = [{ name = "fee", price = "9 EUR" }]\n'


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (
            f"[tariffs.a]\nvalid_from = 2022-01-01\n{RULE}"
            f"[tariffs.b]\nvalid_from = 2023-01-01\n{RULE}",
            r"\[tariffs\.a\] valid_to: at most 2023-01-01, the start of b",
        ),
        (
            f'[tariffs.a]\nname = "b"\nvalid_from = 2022-01-01\n{RULE}',
            r"\[tariffs\.a\] name = \"b\": no key name; remove the key",
        ),
        (f'[tariffs."a b"]\nvalid_from = 2022-01-01\n{RULE}', "letters, digits and _ only"),
        (
            f"[tariffs.a]\nvalid_from = 2022-01-01\n{RULE}"
            "[[tariffs.a.taxes]]\nname = 'v'\nshare = inf",
            r"\[tariffs\.a\.taxes\] share = Infinity: a number between",
        ),
        (
            f"[tariffs.a]\nvalid_from = 2022-01-01\n{RULE}".replace("9 EUR", "1e20 EUR"),
            r"\[tariffs\.a\.standing\] price = \"1e20 EUR\": must be at most 1e\+09 EUR",
        ),
    ],
    ids=["overlap", "names itself", "no name", "infinite", "too dear"],
)
def test_tariff_file_is_checked_like_a_site(tmp_path, text, pattern):
    """Proves: of two tariffs on one day none is silently passed over, as by the later one."""
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError, match=pattern) as caught:
        sites.load_tariffs(path)
    assert len(caught.value.issues) == 1


def test_nesting_limit_admits_every_tariff_table():
    """Proves: `hours` of the windows of peaks stand deepest, and the reader lets them pass."""

    def depth(kind):
        if isinstance(kind, type) and issubclass(kind, Declaration):
            return 1 + max(depth(field.annotation) for field in kind.model_fields.values())
        inner = max(map(depth, get_args(kind)), default=0)
        return inner + (get_origin(kind) is tuple)

    assert 2 + depth(Tariff) == MAX_NESTING  # below the file and [tariffs]


def test_peak_within_windows_is_billed_from_a_file(tmp_path):
    """Proves: 4 MW at 07:00 cost 1.2 EUR/kW, 9 MW at 03:00 nothing. Sensitivity: 10,800 EUR."""
    path = tmp_path / "windows.toml"
    path.write_text(
        '[tariffs.w]\nvalid_from = 2023-01-01\nstatus = "assumed"\nsource = "assumed"\n'
        '[[tariffs.w.peaks]]\nname = "power"\nprice = "1.2 EUR/kW"\nof = "month"\n'
        '[[tariffs.w.peaks.windows]]\nhours = ["6-22"]\n',
        encoding="utf-8",
    )
    day = START + np.arange(96) * QUARTER_HOUR  # from midnight in Berlin
    power = np.zeros(96)
    power[[12, 28]] = [9.0, 4.0]
    (found,) = bills_by_year(sites.load_tariffs(path), day, power, time_zone="Europe/Berlin")
    assert float(found.total) == pytest.approx(4_800.0)
