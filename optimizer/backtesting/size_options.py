"""Options of a sizing study: the present site, and the same site with other sizes of machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from twin.equipment import ITHall
from twin.errors import IssueCode, ProblemError, SiteError, UnitError, ValidationIssue
from twin.site import Site
from twin.text import closest_match_hint
from twin.units import Quantity, declared_quantity, format_unit, parse_quantity


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A parameter of a machine with the sizes to be compared, in its canonical unit."""

    machine: str
    parameter: str
    sizes: tuple[float, ...]
    unit: str

    @property
    def place(self) -> str:
        """The parameter as people write it: ``tank_1.volume``."""
        return f"{self.machine}.{self.parameter}"

    def describe(self, size: float) -> str:
        """Return a size with its unit: ``tank_1.volume = 480 m3``."""
        unit = "" if self.unit == "1" else f" {format_unit(self.unit)}"
        return f"{self.place} = {size:g}{unit}"


def parse_variation(site: Site, text: str) -> Variation:
    """Return the variation of a text such as ``tank_1.volume=240,480 m3``.

    Without a unit, sizes are in the unit in which the parameter is declared.

    Raises
    ------
    ProblemError
        If the text has another form, names an unknown machine or parameter, has a unit that does
        not convert, or the same size twice.
    """
    place, equals, values = text.partition("=")
    machine, dot, parameter = place.strip().partition(".")
    if not (equals and dot and machine and parameter and values.strip()):
        raise _variation_error(
            text,
            IssueCode.INVALID_FORMAT,
            expected="MACHINE.PARAMETER=SIZE,SIZE UNIT",
            remedy="write it as 'tank_1.volume=240,480 m3', in quotes",
        )
    quantity = _declared(site, machine, parameter)
    words = [word.strip() for word in values.split(",")]
    unit = words[-1].lstrip("+-.0123456789eE").strip()
    try:
        sizes = tuple(_size(word, unit, quantity) for word in words)
    except UnitError as error:
        (issue, *_) = error.issues
        raise ProblemError("size", [replace(issue, location=f"--vary {place}")]) from error
    found = Variation(machine=machine, parameter=parameter, sizes=sizes, unit=quantity.unit)
    _refuse_repeated(found)
    return found


def _size(word: str, unit: str, quantity: Quantity) -> float:
    """Return a size in the canonical unit; one without a unit has that of the last, if any."""
    if word and word.lstrip("+-.0123456789eE") == "" and quantity.unit != "1":
        word = f"{word} {unit or format_unit(quantity.unit)}"
    return parse_quantity(word, quantity.unit)


def _declared(site: Site, machine: str, parameter: str) -> Quantity:
    """Return the declared quantity of a parameter."""
    if machine not in site.equipment:
        raise _variation_error(
            machine,
            IssueCode.UNKNOWN_NAME,
            expected=f"a machine of {site.name}: {', '.join(site.equipment)}",
            remedy="name one of them" + closest_match_hint(machine, list(site.equipment)),
        )
    if isinstance(site.equipment[machine], ITHall):
        raise _variation_error(
            f"{machine}.{parameter}",
            IssueCode.UNSUPPORTED,
            expected="a machine other than a hall: another hall does other work",
            remedy="compare such sites by their cost per unit of work, with gigatwin backtest",
        )
    fields = type(site.equipment[machine]).model_fields
    known = {
        name: quantity for name, field in fields.items() if (quantity := declared_quantity(field))
    }
    value = getattr(site.equipment[machine], parameter, None)
    if parameter not in known or not isinstance(value, int | float):
        raise _variation_error(
            f"{machine}.{parameter}",
            IssueCode.UNKNOWN_NAME,
            expected=f"a quantity of {machine}: {', '.join(known)}",
            remedy="name one of them" + closest_match_hint(parameter, list(known)),
        )
    return known[parameter]


def _refuse_repeated(variation: Variation) -> None:
    for number, size in enumerate(variation.sizes):
        if size in variation.sizes[:number]:
            raise _variation_error(
                variation.describe(size),
                IssueCode.DUPLICATE,
                expected="each size once",
                remedy="remove one of the two; the present size is always compared",
            )


def _variation_error(found: str, code: IssueCode, *, expected: str, remedy: str) -> ProblemError:
    return ProblemError.single(
        "size", code, "--vary", found=found, expected=expected, remedy=remedy
    )


@dataclass(frozen=True, kw_only=True)
class SizeOption:
    """A site with other sizes; ``sizes`` are by place, in the canonical ``units``."""

    site: Site
    sizes: Mapping[str, float]
    units: Mapping[str, str]
    label: str
    is_present: bool = False


def build_size_options(
    site: Site, variations: Sequence[Variation], *, together: bool = False
) -> tuple[SizeOption, ...]:
    """Return the present site, and then the sites with every other combination of sizes.

    With ``together`` the first sizes of all variations are one option, the second ones the next.

    Raises
    ------
    ProblemError
        If nothing is varied, a parameter is named twice, or ``together`` has unequal counts.
    SiteError
        If a size is out of the declared range, or too small for full halls.
    """
    _check_variations(variations, together=together)
    columns = [one.sizes for one in variations]
    rows = list(zip(*columns, strict=True)) if together else list(product(*columns))
    present = tuple(
        float(getattr(site.equipment[one.machine], one.parameter)) for one in variations
    )
    found: list[SizeOption] = []
    faults: list[ValidationIssue] = []
    for row in [present, *(row for row in rows if row != present)]:
        changed = site
        try:
            for one, size in zip(variations, row, strict=True):
                if row != present:
                    changed = changed.with_parameters(one.machine, **{one.parameter: size})
        except SiteError as error:
            faults += error.issues
            continue
        words = [one.describe(size) for one, size in zip(variations, row, strict=True)]
        found.append(
            SizeOption(
                site=changed,
                sizes={one.place: size for one, size in zip(variations, row, strict=True)},
                units={one.place: one.unit for one in variations},
                label=", ".join(words),
                is_present=row == present,
            )
        )
    SiteError.raise_if_any(site.name, faults)
    if len(found) == 1:
        raise _variation_error(
            found[0].label,
            IssueCode.MISSING,
            expected="a size beside the present one",
            remedy="name another size",
        )
    return tuple(found)


def _check_variations(variations: Sequence[Variation], *, together: bool) -> None:
    if not variations:
        raise _variation_error(
            "",
            IssueCode.MISSING,
            expected="a parameter to vary",
            remedy="name one, such as --vary 'tank_1.volume=240,480 m3'",
        )
    places = [one.place for one in variations]
    if repeated := [place for place in places if places.count(place) > 1]:
        raise _variation_error(
            repeated[0],
            IssueCode.DUPLICATE,
            expected="each parameter once",
            remedy="list all sizes of a parameter in one --vary",
        )
    counts = {len(one.sizes) for one in variations}
    if together and len(counts) > 1:
        raise _variation_error(
            ", ".join(f"{len(one.sizes)} of {one.place}" for one in variations),
            IssueCode.INCONSISTENT,
            expected="as many sizes of each parameter with --together",
            remedy="add the missing sizes, or omit --together for every combination",
        )
