"""The only place where objects are built: from settings to parts that work together."""

from api.wiring.foundation import Core, core

__all__ = ["Core", "core"]
