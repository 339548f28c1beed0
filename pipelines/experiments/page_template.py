"""The frame of an experiment's page and its looks: dark on a screen, black on white in print, no script, one file."""

STYLE = """
:root { color-scheme: dark; --page: #121416; --line: #1d2124; --head: #262b30; --text: #e8eaed; --quiet: #b4bac0;
  --link: #8ab4f8; --failed: #ff9b92; --warned: #ffd180; --done: #a5d6a7; --edge: #5f666d; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 90rem; background: var(--page); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--edge); padding-bottom: .25rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0; max-width: 62rem; }
a { color: var(--link); }
a:focus-visible, .wide:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.quiet { color: var(--quiet); }
.failed { color: var(--failed); } .warned { color: var(--warned); } .done { color: var(--done); }
.leak { color: var(--failed); border: 2px solid var(--failed); padding: .6rem .9rem; font-weight: 600; }
.lead { font-size: 1.1rem; }
nav ul { list-style: none; padding: 0; margin: .75rem 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
.wide { overflow-x: auto; }
/* a bar that is seen before anybody scrolls, or a table that goes on looks cut off */
.wide::-webkit-scrollbar { height: .7rem; }
.wide::-webkit-scrollbar-track { background: var(--line); }
.wide::-webkit-scrollbar-thumb { background: var(--edge); border-radius: .35rem; }
@supports not selector(::-webkit-scrollbar) { .wide { scrollbar-color: var(--edge) var(--line); } }
table { border-collapse: collapse; margin: .25rem 0; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .35rem; }
th, td { padding: .3rem .55rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; }
th[scope=row] { font-weight: 600; }
th:first-child, thead td:first-child { position: sticky; left: 0; }
tbody th { background: inherit; }
tbody tr { background: var(--page); }
.words th, .words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.words th { min-width: 9rem; }
thead th, thead td { background: var(--head); }
thead th[scope=colgroup] { text-align: center; border: 1px solid var(--edge); border-top: 0; }
tbody tr:nth-child(odd) { background: var(--line); }
tbody tr.sum td { font-weight: 600; }
tbody tr:not(.sum) + tr.sum { border-top: 2px solid var(--edge); }
.note { font-size: .9rem; color: var(--quiet); }
figure { margin: 1rem 0; }
.figure { max-width: 76rem; }
figcaption { margin-top: .35rem; max-width: 62rem; }
.figure img { display: block; width: 100%; height: auto; background: #fff; padding: .5rem; border-radius: 4px; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(34rem, 100%), 1fr)); gap: 1rem;
  align-items: start; }
.case { position: relative; background: var(--page); }
.cases figure { margin: 0; }
.cases img { display: block; width: 100%; height: auto; background: #000; }
.cases figcaption { overflow-wrap: anywhere; }
.enlarge, .close { text-align: right; }
.enlarge { display: block; cursor: zoom-in; }
.close { display: none; cursor: zoom-out; }
/* the whole card is the link's */
.enlarge::after, .close::after { content: ""; position: absolute; inset: 0; }
.case:target { position: fixed; inset: 0; z-index: 2; padding: 1rem; display: flex; flex-direction: column; }
.case:target figure { flex: 1; min-height: 0; display: flex; flex-direction: column; }
.case:target img { flex: 1; min-height: 0; object-fit: contain; }
.case:target .enlarge { display: none; }
.case:target .close { display: block; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--edge); padding-top: .75rem; }
@media print {
  :root { color-scheme: light; --page: #fff; --line: #f3f3f3; --head: #e4e4e4; --text: #000; --quiet: #444;
    --link: #000; --failed: #b00020; --warned: #6d4c00; --done: #1b5e20; --edge: #888; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .3rem; }
  th { white-space: normal; }
  .wide { overflow: visible; }
  th:first-child, thead td:first-child { position: static; }
  .enlarge, .case:target .close { display: none; }
  .case:target { position: static; display: block; padding: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src '$style_hash'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="lead">$lead</p>
<p class="quiet">Not a medical device: for research only.</p>
$warnings</header>
<nav aria-label="Contents"><ul>$contents</ul></nav>
<main>
$sections</main>
<footer class="quiet">
<p>$footer</p>
</footer>
</body>
</html>
"""
