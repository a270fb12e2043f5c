"""What is wrong with a broker, with a remedy that can be done."""

import socket

from telemetry.mqtt import errors


def test_two_clients_of_one_name_are_told_what_can_be_done():
    """Proves: nobody is asked for a client id, which no command takes."""
    for trouble in (
        errors.client_id_conflict("gigatwin-small"),
        errors.connection_refused("bad identifier"),
    ):
        assert "another client id" not in trouble.remedy
    assert errors.client_id_conflict("gigatwin-small").remedy.startswith("stop the other one")


def test_a_name_server_that_is_away_blames_no_name():
    """Proves: whoever has named the broker right is not asked to correct it while DNS is down."""
    for number, reason in [
        (socket.EAI_AGAIN, "no name server answers"),
        (socket.EAI_NONAME, "the host does not exist"),
    ]:
        assert errors.network_error(socket.gaierror(number, "...")).reason == reason
