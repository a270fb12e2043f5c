"""Keys: made once, kept from others, and refused where they are none."""

import base64
import errno
import json
import stat

import pytest
import structlog
from joserfc.jwk import ECKey

from telemetry.feed import signing
from tests.support.feeds import key
from twin.errors import IssueCode, SecurityError


def test_keys_are_made_once_and_for_their_owner_only(tmp_path):
    first = signing.load_or_create_key(tmp_path / "keys")
    path = tmp_path / "keys" / "feed.private.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.load_or_create_key(tmp_path / "keys").kid == first.kid
    public = (tmp_path / "keys" / "feed.jwks.json").read_text()
    assert '"d"' not in public
    assert json.loads(public) == signing.public_jwk_set(first)
    assert first.private["d"] not in repr(first)


def test_state_folder_made_for_keys_is_private(tmp_path):
    """Proves: HOLDs can be released in a folder that began with its keys.

    Sensitivity: it had mode 755, which the service refuses for a release.
    """
    signing.load_or_create_key(tmp_path / "state" / "keys")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_key_that_was_published_counts_beside_the_new_one(tmp_path):
    """Proves: with the next key in the place of the first the set holds both, the new one first.

    Sensitivity: one key, overwritten at each start; what the first had signed counted no more.
    """
    first, following = (
        signing.load_or_create_key(tmp_path),
        signing.load_or_create_key(tmp_path, "next"),
    )
    (tmp_path / "next.private.json").replace(tmp_path / "feed.private.json")
    for _ in range(2):
        now = signing.load_or_create_key(tmp_path)
        published = json.loads((tmp_path / "feed.jwks.json").read_text())
        assert (
            published == signing.public_jwk_set(now) == {"keys": [following.public, first.public]}
        )
    (tmp_path / "feed.jwks.json").write_text(json.dumps({"keys": [following.public]}))
    assert signing.load_or_create_key(tmp_path).other_public_keys == ()


def test_added_public_key_stays_published(tmp_path):
    first, later = signing.load_or_create_key(tmp_path), signing.generate_key()
    public = tmp_path / "feed.jwks.json"
    public.write_text(json.dumps({"keys": [first.public, later.private]}))
    assert signing.load_or_create_key(tmp_path).other_public_keys == (later.public,)
    assert later.private["d"] not in public.read_text()


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"keys": []}', '{"keys": [{"kty": "EC"}]}'])
def test_invalid_published_set_is_moved_aside(tmp_path, junk):
    first = signing.load_or_create_key(tmp_path)
    public = tmp_path / "feed.jwks.json"
    public.write_text(junk)
    assert signing.load_or_create_key(tmp_path) == first
    assert json.loads(public.read_text()) == signing.public_jwk_set(first)
    assert public.with_suffix(".broken").read_text() == junk


def test_a_key_that_others_can_read_is_refused(tmp_path):
    signing.load_or_create_key(tmp_path)
    path = tmp_path / "feed.private.json"
    path.chmod(0o644)
    with pytest.raises(SecurityError, match=r"chmod 600 feed\.private\.json"):
        signing.load_or_create_key(tmp_path)


@pytest.mark.parametrize("junk", ["", "null", "[]", "{}", '{"kty":"EC"}', "{"])
def test_a_file_that_is_no_key_is_refused(tmp_path, junk):
    path = tmp_path / "feed.private.json"
    path.write_text(junk)
    path.chmod(0o600)
    with pytest.raises(SecurityError, match=r"feed\.private\.json"):
        signing.load_or_create_key(tmp_path)


def test_unreadable_key_is_not_replaced(tmp_path, monkeypatch):
    """Proves: a key without read permission gives an error and is not replaced."""
    signing.load_or_create_key(tmp_path)

    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(signing.Path, "read_bytes", refuse)
    with pytest.raises(SecurityError) as error:
        signing.load_or_create_key(tmp_path)
    assert error.value.code is IssueCode.FILE_ERROR
    assert error.value.location.endswith("private.json")


def test_missing_private_key_is_replaced_with_warning(tmp_path):
    """Proves: a warning is logged, as partners with the earlier set cannot verify the new key."""
    old = signing.load_or_create_key(tmp_path)
    (tmp_path / "feed.private.json").unlink()
    with structlog.testing.capture_logs() as logs:
        assert signing.load_or_create_key(tmp_path).kid != old.kid
    assert logs[0]["remedy"]
    with structlog.testing.capture_logs() as logs:
        signing.load_or_create_key(tmp_path)
    assert logs == []


def test_only_private_keys_of_the_curve_sign():
    for jwk in (key("site").public, ECKey.generate_key("P-384").as_dict(private=True)):
        with pytest.raises(SecurityError, match="P-256"):
            signing.private_key_from_jwk(jwk)


@pytest.mark.parametrize("junk", [{}, {"keys": []}, {"keys": [{}]}, {"keys": 1}, {"keys": [1]}])
def test_what_is_no_set_of_keys_is_refused(junk):
    with pytest.raises(SecurityError):
        signing.keys_by_thumbprint(junk)


@pytest.mark.parametrize("bits", [1024, signing.MIN_RSA_BITS - 8, signing.MAX_RSA_BITS + 8])
def test_rsa_keys_too_short_or_too_long_are_refused(bits):
    modulus = (1 << (bits - 1) | 1).to_bytes(bits // 8)
    text = base64.urlsafe_b64encode(modulus).rstrip(b"=").decode()
    with pytest.raises(SecurityError, match=f"{bits} bits.*2048 to 8192"):
        signing.keys_by_thumbprint({"keys": [{"kty": "RSA", "n": text, "e": "AQAB"}]})


def test_a_partner_file_holds_its_private_and_our_public_key(tmp_path):
    path = tmp_path / "tso-1.json"
    first = signing.create_partner_keys(path, partner="tso-1", site=key("site"))
    again = signing.create_partner_keys(path, partner="tso-1", site=key("other"))
    assert first == again
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = json.loads(path.read_text())
    assert kept["site"] == signing.public_jwk_set(key("other"))
    assert signing.public_jwk_set(signing.private_key_from_jwk(kept["key"])) == first
