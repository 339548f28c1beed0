"""The frame of a batch's page, its looks and its sorting, all inside one file."""

STYLE = """
:root { color-scheme: dark; --page: #121416; --line: #1d2124; --head: #262b30; --text: #e8eaed; --quiet: #b4bac0;
  --link: #8ab4f8; --failed: #ff9b92; --refused: #ffd180; --done: #a5d6a7; }
body { margin: 1.5rem; background: var(--page); color: var(--text); font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; }
.quiet { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem; overflow-wrap: anywhere; }
th { font-weight: 600; }
tbody th { min-width: 8.5rem; }
tbody tr:nth-child(odd) { background: var(--line); }
thead th { position: sticky; top: 0; background: var(--head); overflow-wrap: normal; }
thead button { all: unset; cursor: pointer; }
thead button::after { content: " ↕"; color: var(--quiet); }
[aria-sort=ascending] button::after { content: " ↑"; }
[aria-sort=descending] button::after { content: " ↓"; }
caption { text-align: left; padding-bottom: .5rem; }
img { display: block; object-fit: contain; background: #000; }
ul { margin: 0; padding-left: 1.1rem; }
a { color: var(--link); }
tbody th p, td p { font-weight: 400; font-size: .875rem; color: var(--text); }
.failed { color: var(--failed); } .refused { color: var(--refused); } .done { color: var(--done); }
a:focus-visible, button:focus-visible, div:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
"""

SCRIPT = """
"use strict";
const words = new Intl.Collator(undefined, { numeric: true });
const heads = [...document.querySelectorAll("thead th")];
for (const [column, head] of heads.entries()) {
  head.querySelector("button")?.addEventListener("click", () => {
    const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
    const number = head.classList.contains("number");
    const keyed = [...document.querySelector("tbody").rows].map((row) => [row.cells[column].textContent.trim(), row]);
    keyed.sort(([one], [other]) => {
      if (!one || !other) return (one ? 0 : 1) - (other ? 0 : 1);
      return turn * (number ? one - other : words.compare(one, other));
    });
    document.querySelector("tbody").append(...keyed.map(([, row]) => row));
  });
}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file: data:;
 style-src '$style_hash'; script-src '$script_hash'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>radseg: $said</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<h1>Segmented cases</h1>
<p>$said</p>
<p class="quiet">Not a medical device: for research only.</p>
<table>
<caption class="quiet">All cases. Choose a heading to sort by it.</caption>
<thead><tr><th scope="col">Preview$heads</thead>
<tbody>
$rows</tbody>
</table>
<script>$script</script>
</body>
</html>
"""
