"""What every declared thing of a site has in common: frozen parameters, and relations."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from twin.relations import Relation


class Declared(BaseModel):
    """A frozen set of parameters, each declared once with unit, meaning and bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Equipment(Declared):
    """A machine, plant or contract of a site.

    Attributes
    ----------
    kind
        Word under which site files know it.
    is_machine
        Whether it stands somewhere, with points of its own; a contract does not.
    name
        Id in the site file.
    """

    kind: ClassVar[str] = ""
    is_machine: ClassVar[bool] = True
    name: str

    def relations(self) -> tuple[Relation, ...]:
        """Return what this machine may do to which carriers."""
        raise NotImplementedError

    def changed(self, **values: object) -> "Equipment":
        """Return a copy with some parameters set, in canonical units, checked as in a file."""
        data = self.model_dump() | values
        return type(self).model_validate(data, context={"canonical": True})


KINDS: dict[str, type[Equipment]] = {}
"""Every registered kind of equipment."""


def register[T: type[Equipment]](cls: T) -> T:
    """Enter a kind of equipment in the register; used as a decorator."""
    KINDS[cls.kind] = cls
    return cls
