"""Site-hours: whole days and what is left, each with the seed that runs it again."""

from soak import __main__ as command
from soak import kills, site_hours


def test_hours_are_split_into_days_with_own_seeds(monkeypatch):
    """Proves: 50 h are days of 24, 24 and 2 h; the seed reported as broken is that of its day."""
    heard = []

    def run(count, *, seed, hours, **_):
        heard.append((count, seed, hours))
        is_broken = seed == 5
        return {"count": count, "broken": 2 * is_broken, "seeds_of_broken": [seed] * is_broken}

    monkeypatch.setattr(kills, "run", run)
    found = site_hours.run(50, seed=4, broker=None, say=lambda _: None)
    assert heard == [(12, 4, 24), (12, 5, 24), (1, 6, 2)]
    assert (found["count"], found["broken"], found["seeds_of_broken"]) == (50, 2, [5])


def test_soaks_used_by_scripts_exist():
    """Sensitivity: `./dev soak service` was refused; it had another name."""
    assert {"kills", "fuzz", "service", "replay"} <= command.SOAKS.keys()
