"""The words and tables of a case's page, as HTML with everything escaped that came from elsewhere."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_UNITS = {"1": "", "[hnsf'U]": "HU", "cm2": "cm²", "mm2": "mm²", "cm3": "cm³", "mm3": "mm³", "deg": "°"}
_AMOUNTS = {"volume_ml": ("volume", "ml"), "area_mm2": ("area", "mm2"), "share_of_image": ("share of the image", "1")}
_STAGES = {"read": "read", "preprocess": "prepare", "locate": "locate", "network": "network", "restore": "restore"}


def measurements_table(statistics: Mapping[str, Any]) -> str:
    """What was measured, a line each; without measurements how much of each label there is."""
    rows = statistics.get("measurements") or _amounts(statistics.get("labels") or {})
    if not rows:
        return "<p>Nothing was measured.</p>"
    heads = ("Region", "Measurement", "Value", "Method", "Warning")
    shown = [
        [one.get("of") or "all", one.get("name", ""), _value(one), one.get("method", ""), one.get("warning") or ""]
        for one in rows
    ]
    return _table("Table of measurements", heads, shown, {"Value": "number", "Warning": "warning"})


def regions_table(statistics: Mapping[str, Any]) -> str:
    """How sure each region of the mask is, a line each, and what isn't in the lines.

    Args:
        statistics: with what `radseg.pipelines.confidence.doubtful_regions` says, if it says anything.
    """
    regions = statistics.get("regions")
    if regions is None:
        return "<p>Not known: nothing was kept of how sure the network was.</p>"
    if not regions:
        return "<p>Nothing was labelled, so there is no region.</p>"
    heads = ("Region", "Size", "Mean probability", "Mean entropy", "Mean disagreement", "Answers differ in", "Centre")
    is_picture = "centre_pixel" in regions[0]
    counts: dict[str, int] = {}
    shown = []
    for one in regions:
        counts[one["label"]] = counts.get(one["label"], 0) + 1
        means = [_mean(one.get(f"mean_{what}")) for what in ("probability", "entropy", "disagreement")]
        differ = _amount(one["disagreement"], is_picture) if "disagreement" in one else ""
        name = f"{one['label']}, region {counts[one['label']]}"
        said = [name, _amount(one, is_picture), *means, differ, _centre(one)]
        shown.append([*said, "doubtful" if one.get("doubtful") else ""])
    kinds = dict.fromkeys(heads[1:], "number") | {"Warning": "warning"}
    beside = "".join(f"<p>{text(one)}</p>" for one in _beside(statistics, is_picture))
    return _table("Table of regions", (*heads, "Warning"), shown, kinds) + beside


def warnings_of(statistics: Mapping[str, Any]) -> list[str]:
    """All that the page warns of, wherever on it: of the case, of single measurements and of doubtful regions.

    Args:
        statistics: as in statistics.json.
    """
    told = [str(one) for one in statistics.get("warnings") or ()]
    names: dict[tuple[str, str], list[str]] = {}
    for row in statistics.get("measurements") or ():
        if row.get("warning") and not any(row["warning"] in one for one in told):
            names.setdefault((row.get("of", ""), row["warning"]), []).append(row["name"])
    of_rows = [
        ": ".join(part for part in (of, ", ".join(said), warning) if part) for (of, warning), said in names.items()
    ]
    regions = statistics.get("regions") or ()
    doubtful = sum(bool(one.get("doubtful")) for one in regions)
    doubt = f"{doubtful} of {len(regions)} regions {'is' if doubtful == 1 else 'are'} doubtful, see how sure each is"
    return [*told, *of_rows, *([doubt] if doubtful else [])]


def label_rows(labels: Sequence[Mapping[str, Any]]) -> str:
    """Colour and name of each label, to be shown or hidden."""
    return "".join(
        f'<label><input type="checkbox" class="label" value="{one["value"]}" checked>'
        f'<svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" '
        f'fill="rgb({",".join(str(part) for part in one["color"])})"/></svg> {text(one["name"])}</label>'
        for one in labels
    )


def sentences(said: Iterable[Any], css_class: str) -> str:
    """A list of sentences; nothing when there are none."""
    items = "".join(f"<li>{text(one)}</li>" for one in said)
    return f'<ul class="{css_class}">{items}</ul>' if items else ""


def pairs(said: Mapping[str, Any]) -> str:
    """What each thing is, one under the other; those that are None or empty are left out."""
    shown = [(name, value) for name, value in said.items() if value not in (None, "", [], {})]
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{text(value)}</dd>' for name, value in shown)}</dl>"


def provenance(
    statistics: Mapping[str, Any], seconds: Mapping[str, float], effort: Mapping[str, Any], device: str, version: str
) -> dict[str, Any]:
    """How the mask was made, in words."""
    members = effort.get("members", 1)
    timed = {_STAGES.get(stage, stage): value for stage, value in seconds.items()}
    settings = statistics.get("overrides") or {}
    return {
        "Bundle": f"{statistics.get('bundle', '')} {statistics.get('bundle_version', '')}".strip(),
        "radseg": version,
        "Weights, SHA-256": statistics.get("weights_sha256"),
        "Recipe, SHA-256": statistics.get("recipe_sha256"),
        "Input, SHA-256": statistics.get("input_sha256"),
        "Settings changed": ", ".join(f"{key} = {value}" for key, value in settings.items()),
        "Device": device,
        "Computed by": f"{effort.get('runtime', '')}, {effort.get('precision', '')}".strip(", "),
        "Members": f"{members} answers averaged" if members > 1 else None,
        "Mean certainty": statistics.get("confidence"),
        "Seconds": ", ".join(f"{stage} {value:.1f}" for stage, value in timed.items()),
        "Searched": "; ".join(effort.get("located", ())),
        "Notes": "; ".join(effort.get("notes", ())),
    }


def text(value: Any) -> str:
    """Anything as text that is no markup."""
    return html.escape(str(value))


def _amounts(labels: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"of": label, "name": name, "value": row[key], "unit": unit}
        for label, row in labels.items()
        for key, (name, unit) in _AMOUNTS.items()
        if key in row
    ]


def _value(one: Mapping[str, Any]) -> str:
    value, unit = one.get("value"), str(one.get("unit", ""))
    if value is None:
        return "not measured"
    spread = one.get("uncertainty")
    if spread:  # two digits of it, and as many decimals of the value: more would pretend to a precision
        decimals = max(0, 1 - math.floor(math.log10(abs(spread))))
        amount = f"{value:.{decimals}f} ± {spread:.{decimals}f}"
    else:
        amount = _number(value)
    return f"{amount} {_UNITS.get(unit, unit)}".strip()


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _beside(statistics: Mapping[str, Any], is_picture: bool) -> Iterable[str]:
    """What there is to say of all regions together."""
    if statistics.get("regions_left_out"):
        yield f"{statistics['regions_left_out']} smaller regions aren't listed."
    if "disagreement" in statistics:
        everywhere, elsewhere = (
            _amount(statistics[key], is_picture) for key in ("disagreement", "disagreement_elsewhere")
        )
        yield f"The answers differ in {everywhere} in all, {elsewhere} of it where no region is near."
    else:
        yield "Of a single answer: segment with --tta flips, or --folds, to see also where answers differ."


def _amount(one: Mapping[str, Any], is_picture: bool) -> str:
    for key, unit in (("volume_ml", "ml"), ("area_mm2", "mm²")):
        if key in one:
            return f"{_number(float(one[key]))} {unit}"
    what = "pixel" if is_picture else "voxel"
    return f"{one['voxels']} {what}" + ("" if one["voxels"] == 1 else "s")


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _centre(one: Mapping[str, Any]) -> str:
    """Where a region lies: as the patient's sides say it, of a picture as its viewer counts, from 1."""
    if "centre_pixel" in one:
        column, row = one["centre_pixel"]
        return f"column {column + 1:.0f}, row {row + 1:.0f}"
    sides = zip(("RL", "AP", "SI"), one["centre_ras_mm"], strict=True)
    return ", ".join(f"{names[value < 0]} {abs(value):.0f}" for names, value in sides) + " mm"


def _table(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]], kinds: Mapping[str, str]) -> str:
    """A table that can be scrolled sideways, without the columns that are empty; `kinds` are classes by heading."""
    filled = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    head = "".join(f'<th scope="col">{heads[column]}</th>' for column in filled)
    body = "".join(
        f"<tr>{''.join(_cell(row[column], column, kinds.get(heads[column], '')) for column in filled)}</tr>\n"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def _cell(value: str, column: int, kind: str) -> str:
    if column == 0:
        return f'<th scope="row">{text(value)}</th>'
    of_kind = f' class="{kind}"' if kind else ""
    return f"<td{of_kind}>{text(value)}</td>"
