"""What is wrong with a broker, with a mend that can be done."""

import socket

from telemetry.wire import troubles


def test_two_clients_of_one_name_are_told_what_can_be_done():
    """Proves: nobody is asked for a client id, which no command takes."""
    for trouble in (troubles.of_fight("gigatwin-small"), troubles.of_refusal("bad identifier")):
        assert "another client id" not in trouble.mend
    assert troubles.of_fight("gigatwin-small").mend.startswith("end the other one")


def test_a_name_server_that_is_away_blames_no_name():
    """Proves: whoever has named the broker right is not asked to correct it while DNS is down."""
    for number, reason in [
        (socket.EAI_AGAIN, "no name server answers"),
        (socket.EAI_NONAME, "there is no such host"),
    ]:
        assert troubles.of(socket.gaierror(number, "...")).reason == reason
