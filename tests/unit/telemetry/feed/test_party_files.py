"""Files with partners and codes of the site: issues are reported with their location."""

import json

import pytest

import sites
from telemetry.feed.partners import read_partners, read_sender
from tests.support.feeds import key
from twin.errors import ServiceError


@pytest.mark.parametrize("text", ['{"keys": [],}', "", "[]", "keys", "[" * 100_000])
def test_partner_file_without_json_is_refused_by_name(tmp_path, text):
    """Sensitivity: a comma too many was reported as a set without keys."""
    (tmp_path / "tso-1.json").write_text(text)
    with pytest.raises(ServiceError, match=r"tso-1\.json = .*give a JSON object"):
        read_partners(tmp_path)


@pytest.mark.parametrize("name", ["grid+co", "grid co", "netz-münchen", "-x", "n" * 33])
def test_invalid_partner_name_is_refused_with_its_file(tmp_path, name):
    """Sensitivity: the service ended at its first status: `'status' = None: $.partner: ...`."""
    (tmp_path / f"{name}.json").write_text(json.dumps({"keys": [key("tso-1").public]}))
    with pytest.raises(ServiceError, match="rename the file after its partner"):
        read_partners(tmp_path)


def test_valid_partner_file_is_read(tmp_path):
    (tmp_path / "tso-1.json").write_text(json.dumps({"keys": [key("tso-1").public]}))
    assert [partner.name for partner in read_partners(tmp_path)] == ["tso-1"]


def test_site_file_without_json_is_refused_by_name(tmp_path):
    (tmp_path / "site.json").write_text('{"party": {}')
    with pytest.raises(ServiceError, match=r"site\.json = .*line 1.*give a JSON object"):
        read_sender(tmp_path / "site.json", sites.load_site("small"))
