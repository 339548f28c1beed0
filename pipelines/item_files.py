"""The files of a datalist's items looked at before any work: all bad ones are told of at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from radseg.pipelines.errors import InputError
from radseg.pipelines.io.readable import header_trouble
from radseg.pipelines.io.store.local_copy import with_urls

MOST_NAMED = 10
"""How many bad files one message names."""


def refuse_unreadable(items: Iterable[Mapping[str, Any]]) -> None:
    """Look at the header of each image and label, so that none of them stops the work when it is half done.

    Args:
        items: datalist items with absolute paths, see `read_datalist`.

    Raises:
        InputError: names the files that can't be read, up to `MOST_NAMED` of them, with the reasons.
    """
    files = dict.fromkeys(str(item[key]) for item in items for key in ("image", "label") if key in item)
    bad = {file: trouble for file in files if (trouble := header_trouble(file)) is not None}
    if not bad:
        return
    if len(bad) == 1:
        raise InputError(with_urls(next(iter(bad.values()))))
    named = "; ".join(f"({number}) {trouble}" for number, trouble in enumerate(list(bad.values())[:MOST_NAMED], 1))
    more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    remedy = "mend them or take them out of the datalist"
    raise InputError(with_urls(f"{len(bad)} files can't be read: {named}{more}; {remedy}"))
