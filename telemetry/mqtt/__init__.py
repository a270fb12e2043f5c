"""A client of an MQTT broker, and an embedded broker for the demo and the tests."""
