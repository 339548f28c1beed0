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
    "report.html": "page",
    "mask.nii.gz": "mask",
    "mask.png": "mask",
    "uncertainty.nii.gz": "uncertainty",
    "uncertainty.png": "uncertainty",
    "segmentation.dcm": "SEG",
    "rtstruct.dcm": "RTSTRUCT",
    "report.dcm": "SR",
    "statistics.json": "statistics",
}
_PLOTS = {"bland_altman.png": "Sizes against the truth (Bland–Altman)"}
"""What a verb may have left beside the page, and what it shows."""
_HEADS = {"volume_ml": "ml", "area_mm2": "mm²", "share_of_image": "share of image"}
_NUMBER = ' class="number"'


def write_index(
    output_dir: Path,
    rows: Iterable[Mapping[str, Any]],
    files_of: Callable[[str], Collection[str] | None] | None = None,
) -> None:
    """Writes `index.html`, a table of all cases that sorts by any column and filters by words.

    Flagged cases come first, then those that failed, those with warnings, refused inputs, and the rest; without
    JavaScript the page shows that order. It loads nothing but the previews beside it, each when it is scrolled to:
    inside the page the small pictures of thousands of cases would weigh tens of megabytes. It says what the manifest
    says, and no more about patients.

    Args:
        output_dir: folder of the batch.
        rows: lines of its manifest, oldest first.
        files_of: names of the files in a case's folder, None if there is no such folder; looked up in `output_dir` by
            default.

    Raises:
        OSError: the page can't be written; one that was there before stays.
    """
    results = sorted(last_results(rows), key=_urgency)
    plots = [file for file in _PLOTS if (output_dir / file).is_file()]
    write_whole(output_dir / "index.html", _page(results, files_of or _listed_in(output_dir), plots))


def _page(
    results: list[Result], files_of: Callable[[str], Collection[str] | None], plots: Iterable[str]
) -> Iterator[str]:
    columns = amount_columns(results)
    amounts = [_head(f"{label}, {_HEADS[known]}", _NUMBER) for label, known in columns]
    heads = [_head("Case"), _head("Status"), *amounts, _head("Warnings"), _head("Seconds", _NUMBER)]
    before, after = PAGE.split("$rows")
    values = {"style": STYLE, "script": SCRIPT, "style_hash": _csp_hash(STYLE), "script_hash": _csp_hash(SCRIPT)}
    links = "".join(f'<p><a href="./{file}">{_PLOTS[file]}</a></p>\n' for file in plots)
    yield Template(before).substitute(values, said=_said(results), heads="".join(heads), plots=links)
    for one in results:
        yield _row(one, columns, files_of(one.case) or () if one.status == "done" else ())
    yield Template(after).substitute(values)


def _said(results: list[Result]) -> str:
    """How the batch ended, in a line."""
    done = [one for one in results if one.status == "done"]
    flagged, doubtful = sum(bool(one.flags) for one in done), sum(bool(one.warnings) for one in done)
    failed, refused = (sum(one.status == status for one in results) for status in ("failed", "refused"))
    return f"{len(done)} done ({flagged} flagged, {doubtful} with warnings), {failed} failed, {refused} refused"


def _row(one: Result, columns: list[tuple[str, str]], files: Collection[str]) -> str:
    """One line of the table; kept short, since there are thousands."""
    case, folder = html.escape(one.case), f"./{quote(one.case, safe='', errors='replace')}"
    preview = ""
    if "preview.png" in files:
        page = "report.html" if "report.html" in files else "preview.png"
        preview = (
            f'<a href="{folder}/{page}"><img src="{folder}/preview.png" alt="Preview of {case}" '
            'loading="lazy" decoding="async" width="192" height="108"></a>'
        )
    links = " ".join(f'<a href="{folder}/{file}">{said}</a>' for file, said in _LINKED.items() if file in files)
    amounts = "".join(f"<td>{_amount(one.amounts.get(label, {}).get(known))}" for label, known in columns)
    warnings = "".join(_warning(warning, warning in one.flags) for warning in one.warnings)
    reason = f"<p>{html.escape(one.reason)}</p>" if one.reason else ""
    status = f'{one.status}, <b class="flagged">flagged</b>' if one.flags else one.status
    seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
    return (
        f'<tr><td>{preview}<th scope="row">{case}<p>{links}</p><td class="{one.status}">{status}{reason}'
        f"{amounts}<td>{f'<ul>{warnings}</ul>' if warnings else ''}<td>{seconds}\n"
    )


def _warning(text: str, flag: bool) -> str:
    return f'<li class="flagged">{html.escape(text)}' if flag else f"<li>{html.escape(text)}"


def _head(text: str, kind: str = "") -> str:
    return f'<th scope="col"{kind}>{html.escape(text)}'


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _urgency(one: Result) -> tuple[int, str]:
    """Flagged, failed, with warnings, refused, done: a batch may have more refused inputs than cases."""
    if one.flags:
        return 0, one.case
    return {"failed": 1, "refused": 3, "done": 2 if one.warnings else 4}[one.status], one.case


def _listed_in(output_dir: Path) -> Callable[[str], Collection[str] | None]:
    def files_of(case: str) -> Collection[str] | None:
        folder = output_dir / case
        return {file.name for file in folder.iterdir()} if folder.is_dir() else None

    return files_of


def _csp_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
