"""Broker problems have feasible remedies."""

import socket

from telemetry.mqtt import broker


def test_client_id_conflict_has_a_feasible_remedy():
    """Proves: the remedy asks for no client id, since no command has such an option."""
    for trouble in (
        broker.CLIENT_ID_CONFLICT_PROBLEM.with_details("gigatwin-small"),
        broker.refusal_problem("bad identifier"),
    ):
        assert "another client id" not in trouble.remedy
    assert broker.CLIENT_ID_CONFLICT_PROBLEM.with_details("gigatwin-small").remedy.startswith(
        "stop the other one"
    )


def test_absent_name_server_does_not_blame_the_name():
    """Proves: while DNS is down, the remedy does not ask to correct a correct host name."""
    for number, reason in [
        (socket.EAI_AGAIN, "no name server answers"),
        (socket.EAI_NONAME, "the host does not exist"),
    ]:
        assert broker.network_problem(socket.gaierror(number, "...")).reason == reason
