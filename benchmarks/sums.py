"""Trivial benches for the tests of the registry."""

from benchmarks.bench import Bench, Measured, cpu


def counted(place):
    (place.scratch / "mine").write_text("x")
    with cpu() as clock:
        total = sum(range(200_000))
    assert clock.seconds > 0.0
    if place.export:
        (place.export / "model.mps").write_text("NAME")
    return Measured(value=clock.seconds, figures={"total": float(total)}, cost=2.0)


def summed(_place):
    return Measured(value=8.0, figures={"total": 199_999.0 * 100_000.0}, cost=0.5)


def mistaken(_place):
    return Measured(value=8.0, figures={"total": 1.0})


BENCHES = (
    Bench(name="self.sum", unit="s", ours=counted, limit=summed, runs=2, note="a sum"),
    Bench(name="self.alone", unit="s", ours=counted, runs=1),
    Bench(name="self.wrong", unit="s", ours=counted, limit=mistaken, runs=1),
)
