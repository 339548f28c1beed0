"""A page as a browser finds it, for tests of what stands in it."""

from html.parser import HTMLParser

# elements that HTML lets stand without an end tag, and those that have none
OPTIONAL_END = {"li", "td", "th", "tr", "thead", "tbody"}
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a browser finds: tags, their attributes, the text, and the rows of each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unmatched: list[str] = []
        self.text = ""
        self.source = text
        self.tables: list[list[list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in OPTIONAL_END:
            return
        if not self.open or self.open.pop() != tag:
            self.unmatched.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.text += data
        if self.open and self.open[-1] == "table" and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip()

    def table(self, head: str) -> list[list[str]]:
        """The rows of the first table that has a cell of that text."""
        return next(rows for rows in self.tables if any(head in row for row in rows))
