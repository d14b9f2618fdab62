"""The schema in the language that clients are generated from: ``python -m api.schema.sdl``.

The file is committed, so that a change of the schema is seen where changes are read.
"""

from __future__ import annotations

from pathlib import Path

from api.schema.build import build_schema

FILE = Path(__file__).parent / "schema.graphql"


def sdl() -> str:
    """Return the schema's text."""
    return build_schema().as_str().rstrip() + "\n"


if __name__ == "__main__":
    FILE.write_text(sdl(), encoding="utf-8")
