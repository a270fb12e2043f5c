"""A small sample of the fuzzing; `./dev soak fuzz` is the whole of it."""

import tomllib

import pytest

from soak import fuzz, readers
from soak.ways_in import Reader
from twin.errors import MessageError


@pytest.mark.slow
def test_no_input_crashes_or_delays_a_reader():
    figures = fuzz.run(3000, seed=20_000, say=lambda _: None)
    assert figures["faults"] == []
    assert figures["count"] == 3000
    tried = figures["readers"]
    often = [one for one in readers.readers() if one.share > 5 and one.refusals]
    assert often
    assert all(tried[one.name]["refused"] > 0 for one in often)


def spoilt(monkeypatch, read, refusals=(MessageError,), count=50):
    one = Reader(name="mine", share=1.0, valid=[b"good"], read=read, refusals=refusals)
    monkeypatch.setattr(fuzz, "readers", lambda: (one,))
    return fuzz.run(count, seed=1, say=lambda _: None)


def test_crashing_reader_is_reported_with_its_seed(monkeypatch):
    def read(raw):
        if raw != b"good":
            raise KeyError(raw)

    figures = spoilt(monkeypatch, read)
    assert 0 < figures["broken"] == len(figures["seeds_of_broken"]) <= 50
    again = fuzz.run(1, seed=figures["seeds_of_broken"][0], say=lambda _: None)
    assert again["broken"] == 1
    assert "KeyError" in again["faults"][0]


@pytest.mark.slow
def test_slow_reader_is_reported(monkeypatch):
    def read(raw):
        if raw != b"good":
            tomllib.loads("\n".join(f"k{n} = {n}.5" for n in range(60_000)))

    figures = spoilt(monkeypatch, read, count=3)
    assert figures["broken"] == len(figures["faults"]) > 0
    assert "times what reading 100 kB of TOML takes" in figures["faults"][0]


def test_unprintable_refusal_is_reported(monkeypatch):
    class TongueTiedError(Exception):
        """Says what no log takes."""

    def read(raw):
        if raw != b"good":
            raise TongueTiedError("\ud800")

    figures = spoilt(monkeypatch, read, refusals=(TongueTiedError,))
    assert "no terminal" in figures["faults"][0]
