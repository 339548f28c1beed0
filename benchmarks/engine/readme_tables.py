"""Tables in benchmarks/README.md: as Markdown, and put between the two markers of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_between(start: str, end: str, text: str, readme: Path = README) -> None:
    """Replaces what stands between two markers.

    Raises:
        ValueError: the markers aren't there.
    """
    before, marker, rest = readme.read_text().partition(start)
    _, end_marker, after = rest.partition(end)
    if not marker or not end_marker:
        raise ValueError(f"{readme}: the markers {start} and {end} aren't there")
    readme.write_text(f"{before}{start}\n{text}\n{end}{after}")
