"""The words and tables of a case's page, as HTML with everything escaped that came from elsewhere."""

import html
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
    filled = [column for column in range(len(heads)) if any(row[column] for row in shown)]
    head = "".join(f'<th scope="col">{heads[column]}</th>' for column in filled)
    body = "".join(f"<tr>{''.join(_cell(row[column], column) for column in filled)}</tr>\n" for row in shown)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


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
    amount = _number(value) + (f" ± {_number(spread)}" if spread is not None else "")
    return f"{amount} {_UNITS.get(unit, unit)}".strip()


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _cell(value: str, column: int) -> str:
    if column == 0:
        return f'<th scope="row">{text(value)}</th>'
    kind = {2: ' class="number"', 4: ' class="warning"'}.get(column, "")
    return f"<td{kind}>{text(value)}</td>"
