"""The style sheet of reports: one column, hairlines, light and dark, phones and paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --raised: #ffffff; --ink: #16191d; --soft: #5b636d; --hair: #e3e4df;
  --grid: #ecede8; --accent: #0b6e5f; --good: #18794e; --good-back: #e3f4ea; --bad: #b4232c;
  --bad-back: #fdeaea; --note-back: #f3f2ec;
  --line0: #0b6e5f; --line1: #c2571a; --line2: #3a6fc4; --line3: #9a4d9e; --line4: #8a7a1f;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --raised: #1a1d21; --ink: #eceef0; --soft: #9aa3ad; --hair: #2c3137;
    --grid: #252a2f; --accent: #4cc9b0; --good: #6fd39b; --good-back: #16301f; --bad: #ff8f8f;
    --bad-back: #3a1b1d; --note-back: #20242a;
    --line0: #4cc9b0; --line1: #f0985c; --line2: #7fabf5; --line3: #d08ad4; --line4: #d3c05a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1080px; margin: 0 auto; padding: 56px 32px 64px; }
.eyebrow {
  margin: 0 0 10px; color: var(--accent); font-size: 12px; font-weight: 650;
  letter-spacing: .09em; text-transform: uppercase;
}
h1 { margin: 0; font-size: 42px; line-height: 1.1; letter-spacing: -.025em; font-weight: 700; }
h1 span { color: var(--soft); font-weight: 400; }
.subtitle { margin: 10px 0 0; font-size: 18px; line-height: 1.4; color: var(--soft); }
.meta { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 20px 0 0; padding: 0;
  list-style: none; font-size: 13.5px; color: var(--soft); }
.meta b { color: var(--ink); font-weight: 600; }
section { margin-top: 52px; padding-top: 20px; border-top: 1px solid var(--hair); }
h2 { margin: 0 0 18px; font-size: 22px; line-height: 1.25; letter-spacing: -.015em;
  font-weight: 680; }
h3 { margin: 26px 0 8px; font-size: 15px; font-weight: 650; overflow-wrap: anywhere; }
p { margin: 0 0 12px; max-width: 68em; }
.small { font-size: 13px; color: var(--soft); }
.note { background: var(--note-back); border-radius: 8px; padding: 10px 14px; font-size: 13.5px;
  overflow-wrap: anywhere; max-width: none; }
.strip { display: grid; grid-template-columns: repeat(auto-fit, minmax(188px, 1fr)); gap: 14px;
  margin-top: 34px; }
.tile { background: var(--raised); border: 1px solid var(--hair); border-radius: 12px;
  padding: 16px 18px 14px; break-inside: avoid; display: flex; flex-direction: column; }
.tile.first { border-top: 3px solid var(--accent); padding-top: 14px; }
.tile .name { display: flex; justify-content: space-between; align-items: center; gap: 8px;
  font-size: 13.5px; font-weight: 650; overflow-wrap: anywhere; }
.tile .value { margin: 10px 0 0; font-size: 34px; line-height: 1.1; font-weight: 680;
  letter-spacing: -.025em; }
.tile .metric { font-size: 13px; color: var(--soft); margin-bottom: 12px; }
.tile dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; margin: auto 0 0;
  padding-top: 10px; border-top: 1px solid var(--hair); font-size: 13px; }
.tile dt { color: var(--soft); }
.tile dd { margin: 0; text-align: right; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 99px; font-size: 12px;
  font-weight: 600; white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-back); }
.badge.bad { color: var(--bad); background: var(--bad-back); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 0 40px;
  margin: 0; }
.facts > div { display: grid; grid-template-columns: 150px minmax(0, 1fr); gap: 14px;
  padding: 7px 0; border-bottom: 1px solid var(--hair); font-size: 14px; break-inside: avoid; }
.facts > .wide { grid-column: 1 / -1; }
.facts dt { color: var(--soft); overflow-wrap: anywhere; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: 5px; }
.chip { border: 1px solid var(--hair); background: var(--raised); border-radius: 6px;
  padding: 0 7px; font-size: 13px; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 12px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 8px 18px 8px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--hair); }
th:last-child, td:last-child { padding-right: 0; }
th { font-size: 12.5px; font-weight: 600; color: var(--soft); vertical-align: bottom;
  border-bottom-color: var(--soft); }
.n { text-align: right; white-space: nowrap; }
td.strong { font-weight: 680; }
td small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; }
.checks table { table-layout: fixed; min-width: 560px; }
.checks td { overflow-wrap: anywhere; }
.checks th:nth-child(1) { width: 33%; } .checks th:nth-child(3) { width: 25%; }
.checks th:nth-child(4) { width: 12%; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr));
  gap: 20px 28px; align-items: start; }
figure { margin: 0; break-inside: avoid; }
.plot figcaption { margin-bottom: 8px; font-weight: 650; }
.legend { display: flex; flex-wrap: wrap; gap: 0 12px; font-size: 12.5px; color: var(--soft); }
.swatch { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 5px;
  vertical-align: 3px; }
.chart { display: block; width: 100%; max-width: 460px; height: auto; }
.chart text { fill: var(--soft); font-size: 11px; }
.chart .grid { stroke: var(--grid); stroke-width: 1; }
.chart .axis { stroke: var(--soft); stroke-width: 1; }
.chart .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.curve { fill: none; stroke-width: 1.4; stroke-linejoin: round; }
.curve.line0 { stroke-width: 2.4; }
.curve.line0 { stroke: var(--line0); } .curve.line1 { stroke: var(--line1); }
.curve.line2 { stroke: var(--line2); } .curve.line3 { stroke: var(--line3); }
.curve.line4 { stroke: var(--line4); }
.dot { stroke: var(--paper); stroke-width: 1.5; }
.dot.line0 { fill: var(--line0); } .dot.line1 { fill: var(--line1); }
.dot.line2 { fill: var(--line2); } .dot.line3 { fill: var(--line3); }
.dot.line4 { fill: var(--line4); }
.swatch.line0 { background: var(--line0); } .swatch.line1 { background: var(--line1); }
.swatch.line2 { background: var(--line2); } .swatch.line3 { background: var(--line3); }
.swatch.line4 { background: var(--line4); }
.sample { margin: 0 0 26px; }
.sample h3 { margin-top: 0; }
.pictures { display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.pictures img { display: block; width: 100%; height: auto; border-radius: 6px;
  background: var(--hair); }
.pictures img.tiny { image-rendering: pixelated; }
.pictures .none { display: grid; place-items: center; border: 1px dashed var(--hair);
  border-radius: 6px; color: var(--soft); aspect-ratio: 1; }
.pictures figcaption { margin-top: 5px; font-size: 13px; line-height: 1.35; font-weight: 600;
  overflow-wrap: anywhere; }
.pictures figcaption small { display: block; color: var(--soft); font-weight: 400;
  font-size: 12px; }
.drawings { display: grid; gap: 20px;
  grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); }
.drawings img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.drawings figcaption { margin-top: 5px; font-size: 13px; font-weight: 600; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr));
  gap: 8px 40px; align-items: start; }
.columns h3 { margin-top: 0; }
.columns td, .columns th { padding-top: 4px; padding-bottom: 4px; font-size: 13px; }
code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
footer { margin-top: 52px; padding-top: 16px; border-top: 1px solid var(--hair); font-size: 12.5px;
  color: var(--soft); }
@media (max-width: 640px) {
  main { padding: 32px 18px 40px; }
  h1 { font-size: 32px; } .subtitle { font-size: 16px; }
  section { margin-top: 38px; }
  .strip { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; }
  .tile { padding: 12px 14px; } .tile .value { font-size: 27px; }
  .facts { grid-template-columns: minmax(0, 1fr); }
  .facts > div { grid-template-columns: 112px minmax(0, 1fr); }
  .pictures { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px 8px; }
  th, td { padding-right: 14px; }
}
@page { margin: 15mm 14mm; }
@media print {
  :root { --paper: #fff; --raised: #fff; }
  body { font-size: 10.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { margin-top: 26px; }
  h2, h3, h2 + p { break-after: avoid; }
  tr, .sample { break-inside: avoid; }
  .scroll { overflow: visible; }
  .pictures { grid-template-columns: repeat(6, minmax(0, 1fr)); }
  .strip { grid-template-columns: repeat(auto-fit, minmax(125px, 1fr)); }
  .plots { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
"""
