"""CSV and JSON files that come with data sets, read with errors that say what is wrong in one line."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radseg.pipelines.errors import InputError


def read_rows(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table with a header line, separated by comma or semicolon; values are stripped.

    Raises:
        InputError: no such file, not readable as text, a column is missing, or a row lacks a value in one.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=";" if header.count(";") > header.count(",") else ",")
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = list(reader)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such CSV file; check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: not readable as CSV ({error}); save it as UTF-8 text") from error
    for column in columns:
        if column not in names:
            raise InputError(
                f"{file}: has no column {column!r} (it has {', '.join(names) or 'none'}); rename or add it"
            )
    result = []
    for number, row in enumerate(rows, start=2):
        values = {column: (row[column] or "").strip() for column in columns}
        for column, value in values.items():
            if not value:
                raise InputError(f"{file}: line {number} has no {column}; fill it in or delete the line")
        result.append(values)
    return result


def read_dataset_json(file: Path) -> dict[str, Any]:
    """A `dataset.json`, an object.

    Raises:
        InputError: no such file, or no JSON object in it.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file}: not readable as JSON ({error}); download the data set again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds no JSON object; download the data set again")
    return content


def section(content: dict[str, Any], key: str, kind: type, file: Path) -> Any:
    """A part of a `dataset.json`, empty when it isn't there.

    Raises:
        InputError: it is of another kind.
    """
    part = content.get(key, kind())
    if not isinstance(part, kind):
        raise InputError(f"{file}: {key!r} isn't a JSON {'object' if kind is dict else 'list'}; correct the file")
    return part
