"""HOLD: how it is asked for, kept, carried out, and kept for a service that is down."""
