"""The processes below another, as Linux lists them; one may end after it was listed."""

from pathlib import Path


def below(pid: int) -> list[int]:
    """Return every process that this one began, or one of them did."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [p for child in map(int, children) for p in (child, *below(child))]


def runs(pid: int, module: str) -> bool:
    """Tell whether a process is ``python -m module``."""
    try:
        return f"-m\0{module}\0" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
