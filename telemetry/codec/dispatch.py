"""Which codec reads which topic, and which writes which sample."""

from telemetry.samples import Sample


def decode(topic: str, payload: bytes) -> Sample:
    """Return what a message says.

    Parameters
    ----------
    topic
        Where it came from.
    payload
        Its bytes.

    Returns
    -------
    Sample
        A point's value stays in the point's own unit: only its metadata tells which; see
        :class:`telemetry.binding.Binder`.

    Raises
    ------
    WireError
        If the topic is not ours, is one of signed documents (``feed/``, see
        :mod:`telemetry.security`), or the payload is not what the topic promises.
    """
    raise NotImplementedError


def encode(sample: Sample) -> tuple[str, bytes]:
    """Return the topic and the payload of a sample; a rack batch is written in binary.

    Raises
    ------
    WireError
        If a name may not stand in a topic, or a number is not finite.
    """
    raise NotImplementedError
