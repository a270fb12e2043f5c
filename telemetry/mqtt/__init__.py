"""One connection to a broker: bytes, acknowledgements, what waits, and what is wrong."""
