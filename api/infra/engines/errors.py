"""What can go wrong with an embedded engine, told so that an operator knows what to do."""

from api.domain.errors import Unavailable


class EngineError(Unavailable):
    """An embedded engine cannot run here; the message says why and what to do."""
