"""The frame of a batch's page, its looks, its sorting and filtering, all inside one file."""

STYLE = """
:root { color-scheme: dark; --page: #121416; --head: #262b30; --edge: #5f666d; --rule: #34393f; --text: #e8eaed;
  --quiet: #b4bac0; --link: #8ab4f8; --flagged: #ffb74d; --failed: #ff9b92; --refused: #ffd180; --done: #a5d6a7; }
body { margin: 1.5rem; background: var(--page); color: var(--text); font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; }
.quiet { color: var(--quiet); }
#tools { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: center; margin-top: .75rem; }
#tools[hidden] { display: none; }
input { font: inherit; color: var(--text); background: var(--page); border: 1px solid var(--edge); border-radius: 4px;
  padding: .3rem .5rem; width: 20rem; max-width: 100%; box-sizing: border-box; }
::placeholder { color: var(--quiet); opacity: 1; }
table { border-collapse: collapse; width: 100%; margin-top: .75rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem; overflow-wrap: anywhere; }
th { font-weight: 600; }
tbody th { min-width: 8.5rem; }
tbody tr { border-bottom: 1px solid var(--rule); }
thead th { position: sticky; top: 0; background: var(--head); overflow-wrap: normal; }
thead button { all: unset; cursor: pointer; }
thead button::after { content: " ↕"; color: var(--quiet); }
[aria-sort=ascending] button::after { content: " ↑"; color: var(--text); }
[aria-sort=descending] button::after { content: " ↓"; color: var(--text); }
caption { text-align: left; padding-bottom: .5rem; }
img { display: block; object-fit: contain; background: #000; }
ul { margin: 0; padding-left: 1.1rem; }
a { color: var(--link); }
tbody th p, td p { font-weight: 400; font-size: .875em; color: var(--text); }
.flagged, .failed, .refused { font-weight: 600; }
.flagged { color: var(--flagged); } .failed { color: var(--failed); } .refused { color: var(--refused); }
.done { color: var(--done); }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
@media print {
  :root { color-scheme: light; --page: #ffffff; --head: #e4e4e4; --edge: #767676; --rule: #c8c8c8; --text: #000000;
    --quiet: #444444; --link: #0b3d91; --flagged: #7a3e00; --failed: #a3001b; --refused: #5f4700; --done: #1b5e20; }
  body { margin: 0; font-size: 9pt; }
  #tools, #tools[hidden] { display: none; }
  thead button::after { content: "" !important; }
  tr { break-inside: avoid; }
}
"""

SCRIPT = """
"use strict";
const words = new Intl.Collator(undefined, { numeric: true });
const heads = [...document.querySelectorAll("thead th")];
const body = document.querySelector("tbody");
const first = [...body.rows];

function show(rows) {
  const all = document.createDocumentFragment();
  for (const row of rows) all.append(row);
  body.append(all);
}

function sorted(column, turn, number) {
  const keyed = first.map((row) => [row.cells[column].textContent.trim(), row]);
  keyed.sort(([one], [other]) => {
    if (!one || !other) return (one ? 0 : 1) - (other ? 0 : 1);
    return turn * (number ? one - other : words.compare(one, other));
  });
  return keyed.map(([, row]) => row);
}

for (const [column, head] of heads.entries()) {
  if (head.classList.contains("picture")) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    if (next) head.setAttribute("aria-sort", next);
    show(next ? sorted(column, next === "ascending" ? 1 : -1, head.classList.contains("number")) : first);
  });
}

const tools = document.querySelector("#tools");
const box = tools.querySelector("input");
const count = tools.querySelector("output");
let texts;
box.addEventListener("input", () => {
  texts ??= first.map((row) => row.textContent.toLowerCase());
  const wanted = box.value.toLowerCase().split(/\\s+/);
  let shown = 0;
  for (const [place, row] of first.entries()) {
    const fits = wanted.every((word) => texts[place].includes(word));
    if (row.hidden === fits) row.hidden = !fits;
    shown += fits;
  }
  count.textContent = `${shown} of ${first.length} shown`;
});
tools.hidden = false;
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
<main>
<h1>Segmented cases</h1>
<p>$said</p>
<p class="quiet">Not a medical device: for research only.</p>
$plots<div id="tools" hidden>
<label for="filter">Filter</label>
<input id="filter" type="search" autocomplete="off" spellcheck="false" placeholder="such as: flagged lung">
<output for="filter" class="quiet"></output>
<span class="quiet">A heading sorts by it: up, down, then as before.</span>
</div>
<table>
<caption class="quiet">All cases: flagged ones first, then what failed, has warnings or was refused.</caption>
<thead><tr><th scope="col" class="picture">Preview$heads</thead>
<tbody>
$rows</tbody>
</table>
</main>
<script>$script</script>
</body>
</html>
"""
