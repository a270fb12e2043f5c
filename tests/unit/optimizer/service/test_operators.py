"""Operators: tokens, uids, and the file that names them."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service.operators import (
    OPERATORS_FILE,
    UNMAPPED_UID,
    Author,
    Requester,
    Role,
    add_operator,
    identify_author,
    identify_operator,
    read_operators,
    require_operator,
)
from twin.errors import IssueCode, ServiceError


def by_token(token):
    return Requester(channel="page", token=token)


def who(folder, requester):
    """Return the name of the person who sends an order, or nothing."""
    person = identify_operator(folder, requester)
    return person.name if person else ""


def by_uid(uid):
    return Requester(channel="command", uid=uid)


def test_operator_is_identified_by_token(tmp_path):
    tokens = {name: add_operator(tmp_path, name) for name in ("ana", "bo")}
    assert {who(tmp_path, by_token(one)) for one in tokens.values()} == set(tokens)
    for wrong in ("", "ana", tokens["ana"][:-1], f"{tokens['ana']}x", "\ud800", "ü"):
        assert who(tmp_path, by_token(wrong)) == ""


def test_file_stores_no_token(tmp_path):
    """Proves: a person who reads the file or a backup of it cannot end a HOLD."""
    token = add_operator(tmp_path, "ana")
    path = tmp_path / OPERATORS_FILE
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (ana,) = read_operators(tmp_path)
    assert who(tmp_path, by_token(ana.token_hash)) == ""


def test_operator_is_identified_by_own_uid(tmp_path):
    token = add_operator(tmp_path, "ana", uids=(1001, 1002))
    add_operator(tmp_path, "bo")
    assert [who(tmp_path, by_uid(uid)) for uid in (1001, 1002)] == ["ana", "ana"]
    assert who(tmp_path, by_uid(1003)) == ""
    wrong = Requester(channel="command", uid=1001, token=f"{token}x")
    assert who(tmp_path, wrong) == ""  # a stated token has precedence


@pytest.mark.parametrize("account", ["root", "service", "unmapped", "other"])
def test_shared_uid_identifies_nobody(tmp_path, account):
    """Proves: `sudo -u gigatwin` signs nobody in, as all operators may use it."""
    add_operator(tmp_path, "ana", uids=(1001,))
    owner = tmp_path.stat().st_uid
    uid = {"root": 0, "service": owner, "unmapped": UNMAPPED_UID, "other": 1001}[account]
    with pytest.raises(ServiceError) as caught:
        add_operator(tmp_path, "bo", uids=(uid,))
    assert caught.value.code is IssueCode.INCONSISTENT
    assert [one.name for one in read_operators(tmp_path)] == ["ana"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("uid", [0, 1234, UNMAPPED_UID])
def test_shared_uid_in_a_file_written_by_hand_identifies_nobody(tmp_path, uid):
    """Sensitivity: every administrator was the operator of a table with uid 0."""
    os.chown(tmp_path, 1234, 1235)
    token = add_operator(tmp_path, "ana")
    path = tmp_path / OPERATORS_FILE
    path.write_text(f"{path.read_text()}uids = [{uid}, 1001]\n")
    assert who(tmp_path, by_uid(uid)) == ""
    assert who(tmp_path, by_uid(1001)) == "ana"
    assert who(tmp_path, by_token(token)) == "ana"


@pytest.mark.parametrize("name", ["", "a b", "a.b", "-a", "ana, not signed in", "x" * 33])
def test_invalid_name_is_refused(tmp_path, name):
    with pytest.raises(ServiceError) as caught:
        add_operator(tmp_path, name)
    assert caught.value.code is IssueCode.INVALID_FORMAT


def test_operator_is_added_once(tmp_path):
    add_operator(tmp_path, "ana")
    with pytest.raises(ServiceError) as caught:
        add_operator(tmp_path, "ana")
    assert caught.value.code is IssueCode.DUPLICATE


def test_further_keys_and_comments_are_kept(tmp_path):
    """Proves: other programs may store keys of theirs in the same file."""
    token = add_operator(tmp_path, "ana")
    path = tmp_path / OPERATORS_FILE
    path.write_text(f"# day shift\n{path.read_text()}shifts = ['day']\n")
    add_operator(tmp_path, "bo")
    assert "# day shift" in path.read_text()
    assert "shifts" in path.read_text()
    assert who(tmp_path, by_token(token)) == "ana"


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "ana = 7",
        "[ana]",
        '[ana]\nsalt = 1\ntoken_sha256 = ""',
        '[ana]\nsalt = "s"\nuids = 1',
        '[ana]\nsalt = "s"\ntoken_sha256 = ""\nrole = "chief"',
        '[ana]\nsalt = "s"\ntoken_sha256 = ""\nrole = ["viewer"]',
    ],
)
def test_damaged_file_identifies_nobody(tmp_path, text):
    path = tmp_path / OPERATORS_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ServiceError, match=OPERATORS_FILE):
        require_operator(tmp_path, by_token("x"), order="releasing HOLD 1")


@pytest.mark.parametrize(
    ("role", "may_release"),
    [(Role.VIEWER, False), (Role.OPERATOR, True), (Role.ENGINEER, True), (None, True)],
)
def test_role_decides_who_may_release_a_hold(tmp_path, role, may_release):
    """Proves: a viewer's HOLD has a name, but a viewer ends none; without role it is an operator.

    Sensitivity: each person of the file could release every HOLD.
    """
    token = add_operator(tmp_path, "ana", role=role or Role.OPERATOR)
    path = tmp_path / OPERATORS_FILE
    if role is None:
        path.write_text(path.read_text().replace('role = "operator"\n', ""))
    assert ("role" in path.read_text()) == (role is not None)
    assert identify_author(tmp_path, by_token(token), "") == Author("ana", is_signed_in=True)
    if may_release:
        assert require_operator(tmp_path, by_token(token), order="releasing HOLD 1") == "ana"
        return
    with pytest.raises(ServiceError) as caught:
        require_operator(tmp_path, by_token(token), order="releasing HOLD 1")
    assert caught.value.code is IssueCode.UNAUTHORISED
    assert "ana, who is a viewer" in str(caught.value)


def test_file_that_others_may_change_identifies_nobody(tmp_path):
    token = add_operator(tmp_path, "ana")
    (tmp_path / OPERATORS_FILE).chmod(0o620)
    with pytest.raises(ServiceError) as caught:
        who(tmp_path, by_token(token))
    assert caught.value.code is IssueCode.INVALID_KEY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_identifies_nobody(tmp_path):
    """Sensitivity: a user who replaced the file was any operator."""
    token = add_operator(tmp_path, "ana")
    os.chown(tmp_path / OPERATORS_FILE, 1234, 1235)
    with pytest.raises(ServiceError, match="owner 1234"):
        who(tmp_path, by_token(token))


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_file_in_a_folder_that_others_may_change_identifies_nobody(tmp_path, mode):
    token = add_operator(tmp_path, "ana")
    tmp_path.chmod(mode)
    with pytest.raises(ServiceError, match="chmod 700"):
        who(tmp_path, by_token(token))


@pytest.mark.parametrize("mode", [0o750, 0o705])
def test_release_needs_a_private_state_folder(tmp_path, mode):
    """Proves: others who may read the state cannot release, and placing is not refused for it."""
    requester = by_token(add_operator(tmp_path, "ana"))
    tmp_path.chmod(mode)
    with pytest.raises(ServiceError, match="chmod 700"):
        require_operator(tmp_path, requester, order="releasing HOLD 1")
    assert identify_author(tmp_path, requester, "").name == "ana"
    tmp_path.chmod(0o700)
    assert require_operator(tmp_path, requester, order="releasing HOLD 1") == "ana"


def test_folder_that_others_may_change_prevents_no_hold(tmp_path):
    requester = by_token(add_operator(tmp_path, "ana"))
    tmp_path.chmod(0o777)
    assert identify_author(tmp_path, requester, "ana").name == "ana, not signed in (page)"


def test_long_name_keeps_that_its_author_is_not_signed_in(tmp_path):
    assert identify_author(tmp_path, by_uid(7), "x" * 5000).name.endswith(
        "not signed in (command, uid 7)"
    )


def test_operators_added_at_once_are_all_kept(tmp_path):
    """Sensitivity: two processes read the same file, and the second write lost the first."""
    names = [f"person{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: add_operator(tmp_path, name), names))
    assert {one.name for one in read_operators(tmp_path)} == set(names)


def test_written_token_is_private(tmp_path):
    """Sensitivity: every user of the machine could read the file with the token."""
    file = tmp_path / "token.json"
    words = ["operators", "add", "ana", "--state", str(tmp_path), "--json", str(file)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_command_prints_the_token_once(tmp_path):
    place = ["--state", str(tmp_path)]
    added = CliRunner().invoke(app, ["operators", "add", "ana", "--uid", "1001", *place])
    assert added.exit_code == 0, added.output
    tokens = added.output.split()
    assert "ana" in {who(tmp_path, by_token(word)) for word in tokens}
    assert who(tmp_path, by_uid(1001)) == "ana"


def test_command_needs_a_folder(monkeypatch):
    monkeypatch.delenv("GIGATWIN_STATE", raising=False)
    refused = CliRunner().invoke(app, ["operators", "add", "ana"])
    assert refused.exit_code == 1
    assert "--state" in refused.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_file_written_by_root_belongs_to_the_service(tmp_path):
    os.chown(tmp_path, 1234, 1235)
    add_operator(tmp_path, "ana")
    found = (tmp_path / OPERATORS_FILE).stat()
    assert (found.st_uid, found.st_gid) == (1234, 1235)
