"""What every page of an experiment is put together from: its frame, tables, figures; all text escaped here."""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from radseg.pipelines.experiments.page_template import PAGE, STYLE
from radseg.pipelines.experiments.tables import Table
from radseg.pipelines.report.atomic import write_whole


def whole_page(
    title: str, lead: str, warnings: Iterable[str], sections: Sequence[tuple[str, str, str]], footer: str
) -> str:
    """The page with its contents; it loads nothing and runs nothing.

    Args:
        title: plain text.
        lead: plain text, the result in a sentence.
        warnings: paragraphs as HTML.
        sections: of each its id, its head and its body as HTML.
        footer: plain text.
    """
    return Template(PAGE).substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        warnings="".join(warnings),
        contents="".join(f'<li><a href="#{name}">{head}</a>' for name, head, _ in sections),
        sections="".join(
            f'<section id="{name}">\n<h2>{head}</h2>\n{body}</section>\n' for name, head, body in sections
        ),
        footer=html.escape(footer),
        style=STYLE,
        style_hash=f"sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}",
    )


def write_index(output_dir: Path, page: str) -> Path:
    """Writes a page as `index.html` of a folder.

    Raises:
        OSError: it can't be written; one that was there before stays.
    """
    file = output_dir / "index.html"
    write_whole(file, [page])
    return file


def table_html(table: Table, said: str = "", words: bool = False) -> str:
    """A table with its caption, and below it what its marks mean, how to read it and what it was measured on."""
    heads = ""
    if any(name for name, _ in table.groups):
        above = (
            f'<th colspan="{width}" scope="colgroup">{html.escape(name)}' if name else f'<td colspan="{width}">'
            for name, width in table.groups
        )
        heads = f"<tr><td>{''.join(above)}\n"
    each = (f'<th scope="col">{html.escape(head)}' for head in table.heads)
    heads += f"<tr>{''.join(each)}\n"
    rows = ""
    for place, (head, *cells) in enumerate(table.rows):
        summed = ' class="sum"' if place >= len(table.rows) - table.summary else ""
        values = "".join(f"<td>{html.escape(cell)}" for cell in cells)
        rows += f'<tr{summed}><th scope="row">{html.escape(head)}{values}\n'
    note = "".join(f'<p class="warned">{html.escape(text)}</p>\n' for text in table.marks)
    note += "".join(f'<p class="note">{html.escape(text)}</p>\n' for text in (table.note, said) if text)
    kind = ' class="words"' if words else ""
    # a region that scrolls must be reachable by keyboard
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(table.title)}"><table{kind}>\n'
        f"<caption>{html.escape(table.title)}</caption>\n<thead>{heads}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
        f"{note}"
    )


def figures_html(shown: Iterable[tuple[bytes | None, str]]) -> str:
    """Figures as SVG, each with its caption as words for who can't see it; those that are None are left out."""
    return "".join(
        f'<figure class="figure">{image_html(svg, caption, "svg+xml")}'
        f"<figcaption>{html.escape(caption)}.</figcaption></figure>\n"
        for svg, caption in shown
        if svg is not None
    ) or "<p>Nothing to draw yet.</p>\n"  # fmt: skip


def card_html(name: str, back: str, figure: str, enlarges: bool) -> str:
    """A figure among others that fills the window when it is clicked, by its address alone, and goes back likewise.

    Args:
        name: its id.
        back: id of where to be when it is closed.
        figure: what stands in it, as HTML.
        enlarges: whether there is anything to enlarge.
    """
    links = f'<a class="enlarge" href="#{name}">Enlarge</a><a class="close" href="#{back}">Close</a>'
    return f'<div class="case" id="{name}"><figure>{figure}</figure>{links if enlarges else ""}</div>\n'


def image_html(content: bytes, alt: str, kind: str = "png") -> str:
    """An image inside the page."""
    return f'<img alt="{html.escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
