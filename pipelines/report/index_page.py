"""A batch as one page: every case with its preview, what was found, and a link to its files; works offline."""

import base64
import hashlib
import html
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from radseg.pipelines.report.atomic import write_whole
from radseg.pipelines.report.index_template import PAGE, SCRIPT, STYLE
from radseg.pipelines.report.results import Result, amount_columns, last_results

_LINKED = {
    "mask.nii.gz": "mask",
    "mask.png": "mask",
    "segmentation.dcm": "SEG",
    "rtstruct.dcm": "RTSTRUCT",
    "report.dcm": "SR",
    "statistics.json": "statistics",
}
_HEADS = {"volume_ml": "ml", "area_mm2": "mm²", "share_of_image": "share of image"}
_URGENCY = {"failed": 0, "refused": 1, "done": 3}


def write_index(
    output_dir: Path,
    rows: Iterable[Mapping[str, Any]],
    files_of: Callable[[str], Collection[str] | None] | None = None,
) -> None:
    """Writes `index.html`, a sortable table of all cases: failed first, then refused, then those with warnings.

    The page loads nothing but the previews beside it, each when it is scrolled to. It says what the manifest says, and
    no more about patients.

    Args:
        output_dir: folder of the batch.
        rows: lines of its manifest, oldest first.
        files_of: names of the files in a case's folder, None if there is no such folder; looked up in `output_dir` by
            default.

    Raises:
        OSError: the page can't be written; one that was there before stays.
    """
    results = sorted(last_results(rows), key=_urgency)
    write_whole(output_dir / "index.html", _page(results, files_of or _listed_in(output_dir)))


def _page(results: list[Result], files_of: Callable[[str], Collection[str] | None]) -> Iterator[str]:
    columns = amount_columns(results)
    counts = {status: sum(one.status == status for one in results) for status in ("done", "failed", "refused")}
    doubtful = sum(one.status == "done" and bool(one.warnings) for one in results)
    said = f"{counts['done']} done ({doubtful} with warnings), {counts['failed']} failed, {counts['refused']} refused"
    amounts = [_head(f"{label}, {_HEADS[known]}", ' class="number"') for label, known in columns]
    heads = [_head("Case"), _head("Status"), *amounts, _head("Warnings"), _head("Seconds", ' class="number"')]
    before, after = PAGE.split("$rows")
    values = {"style": STYLE, "script": SCRIPT, "style_hash": _csp_hash(STYLE), "script_hash": _csp_hash(SCRIPT)}
    yield Template(before).substitute(values, said=said, heads="".join(heads))
    for one in results:
        yield _row(one, columns, files_of(one.case) or () if one.status == "done" else ())
    yield Template(after).substitute(values)


def _row(one: Result, columns: list[tuple[str, str]], files: Collection[str]) -> str:
    """One line of the table; kept short, since there are thousands."""
    case, folder = html.escape(one.case), f"./{quote(one.case, safe='', errors='replace')}"
    preview = ""
    if "preview.png" in files:
        preview = (
            f'<a href="{folder}/preview.png"><img src="{folder}/preview.png" alt="Preview of {case}" '
            'loading="lazy" width="192" height="108"></a>'
        )
    links = " ".join(f'<a href="{folder}/{file}">{said}</a>' for file, said in _LINKED.items() if file in files)
    amounts = "".join(f"<td>{_amount(one.amounts.get(label, {}).get(known))}" for label, known in columns)
    warnings = "".join(f"<li>{html.escape(warning)}" for warning in one.warnings)
    reason = f"<p>{html.escape(one.reason)}</p>" if one.reason else ""
    seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
    return (
        f'<tr><td>{preview}<th scope="row">{case}<p>{links}</p><td class="{one.status}">{one.status}{reason}'
        f"{amounts}<td>{f'<ul>{warnings}</ul>' if warnings else ''}<td>{seconds}\n"
    )


def _head(text: str, kind: str = "") -> str:
    return f'<th scope="col"{kind}><button type="button">{html.escape(text)}</button>'


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _urgency(one: Result) -> tuple[int, str]:
    return (2 if one.status == "done" and one.warnings else _URGENCY[one.status]), one.case


def _listed_in(output_dir: Path) -> Callable[[str], Collection[str] | None]:
    def files_of(case: str) -> Collection[str] | None:
        folder = output_dir / case
        return {file.name for file in folder.iterdir()} if folder.is_dir() else None

    return files_of


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
