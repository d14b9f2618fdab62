"""What is wrong with a catalog file: every problem with its place, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One reason why a catalog is refused; ``line`` counts from 1."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class CatalogError(InvalidInput):
    """The catalog was refused whole; ``problems`` are in order of their lines, never empty."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))
