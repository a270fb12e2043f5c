"""Who the site and its partners are in the market, as an operator lays it beside the keys."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from telemetry import market_zones
from telemetry.feed.partners import Partner, market_party
from telemetry.feed.signing import keys_by_thumbprint, read_key_file
from telemetry.messages.feed_documents import CodedText, EicArea, MarketParty
from twin.errors import MessageError, SecurityError, ServiceError, ValidationIssue
from twin.site import Site
from twin.text import NAME_RULE, is_valid_name

SENDER: Final = "site.json"
"""File of the site's own codes, beside its keys."""

PROVIDER: Final = CodedText(code="A27", text="Resource provider")

_OF: Final[Mapping[str, tuple[str, str]]] = {
    "party": ("X", "EIC of whoever operates the site, of type X"),
    "connection_point": ("Z", "EIC of the metering point, of type Z"),
}
"""Part of the file -> type of its code, and what it is."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends, where it is metered, and in which zone.

    Attributes
    ----------
    party, connection_point, bidding_zone
        With their Energy Identification Codes.
    """

    party: MarketParty
    connection_point: EicArea
    bidding_zone: EicArea

    @classmethod
    def demonstration(cls, site: Site) -> Self:
        """Return codes for a site that has none: well formed, and marked as demonstration."""
        return cls.of(
            site,
            party=(market_zones.demonstration_eic(site.name), f"{site.title} (demonstration)"),
            connection_point=(
                market_zones.demonstration_eic(site.name, "Z"),
                f"{site.grid.name} (demonstration)",
            ),
        )

    @classmethod
    def of(cls, site: Site, *, party: tuple[str, str], connection_point: tuple[str, str]) -> Self:
        """Return a sender by codes and names of its party and its metering point."""
        code, name = party
        point, place = connection_point
        return cls(
            party=MarketParty(eic=code, name=name, role=PROVIDER),
            connection_point=EicArea(eic=point, name=place),
            bidding_zone=EicArea(eic=market_zones.eic_of_zone(site.zone), name=site.zone),
        )


def read_sender(path: Path, site: Site) -> Sender:
    """Return who a site is in the market.

    Parameters
    ----------
    path
        Holds ``party`` and ``connection_point``, each with its EIC as ``code`` and a ``name``; if
        it does not exist, codes of a demonstration stand in.
    site
        The site.

    Raises
    ------
    ServiceError
        If the file is none of this.
    """
    if not path.exists():
        return Sender.demonstration(site)
    try:
        content = read_key_file(path)
    except SecurityError as error:
        raise ServiceError("site", [_unreadable(path, error)]) from error
    found, faults = {}, []
    for name, (kind, what) in _OF.items():
        match content.get(name):
            case {"code": str(code), "name": str(title)} if _is_of(code, kind) and title:
                found[name] = (code, title)
            case told:
                mend = f'give "code" ({what}; see its last letter) and "name"'
                value = "" if told is None else repr(told)[:80]
                faults.append(ValidationIssue(place=f"{path}, {name}", value=value, mend=mend))
    if faults:
        source = "site"
        raise ServiceError(source, faults)
    return Sender.of(site, **found)


def _unreadable(path: Path, error: SecurityError) -> ValidationIssue:
    """Return that a file which a person wrote is no JSON, and where it goes wrong."""
    return ValidationIssue(
        place=str(path), value="", mend=f"{error.reason}; give an object of JSON"
    )


def _is_of(code: str, kind: str) -> bool:
    return market_zones.is_valid_eic(code) and code[2] == kind


def read_partners(folder: Path) -> list[Partner]:
    """Return the partners whose public keys lie in a folder, ``<name>.json`` each.

    Parameters
    ----------
    folder
        A file holds a JWK set, ``{"keys": [...]}``, and may hold a ``party`` with its EIC as
        ``code``, ``name`` and ``role``; without one, codes of a demonstration stand in.

    Raises
    ------
    ServiceError
        If a file is none of this.
    """
    found, faults = [], []
    for path in sorted(folder.glob("*.json")):
        if not is_valid_name(path.stem):
            mend = f"rename the file: it is named after its partner, whose name has {NAME_RULE}"
            faults.append(ValidationIssue(place=str(path), value="", mend=mend))
        try:
            content = read_key_file(path)
        except SecurityError as error:
            faults.append(_unreadable(path, error))
            continue
        partner = Partner.demonstration(path.stem, {"keys": content.get("keys")})
        try:
            keys_by_thumbprint(partner.keys)
        except (SecurityError, MessageError) as error:
            faults.append(ValidationIssue(place=str(path), value="", mend=str(error)))
        party = content.get("party")
        try:
            if isinstance(party, dict):
                partner = replace(partner, party=market_party(**party))
        except (MessageError, TypeError) as error:
            mend = f'{error}; give "code" (an EIC), "name" and "role"'
            faults.append(ValidationIssue(place=f"{path}, party", value="", mend=mend))
        found.append(partner)
    if faults:
        source = "partners"
        raise ServiceError(source, faults)
    return found
