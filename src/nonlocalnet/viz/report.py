"""A report as one HTML file: no script, no network, light and dark, from phone to desk.

It may link to pages that lie beside it.
"""

import base64
import html
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d5dae0;
  --page: #fff; --card: #f5f7f9; --accent: #0b6bcb; --good: #1a7f37; --bad: #b4232b }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebee; --soft: #a2acb8; --line: #3a424c;
  --page: #14171b; --card: #1d2228; --accent: #6cb2ff; --good: #57c26c; --bad: #ff7b80 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 58rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 .75rem }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem }
p { margin: .5rem 0; max-width: 44rem }
.scroll { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 50% }
th, td { text-align: left; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th { color: var(--soft); font-weight: 600; font-size: .875rem }
th.number, td.number { text-align: right }
tr.strong td { font-weight: 650 }
figure { margin: 1rem 0; padding: .75rem; background: var(--card); border-radius: .5rem;
  overflow-x: auto }
figure img { display: block; width: 100%; min-width: 34rem; height: auto; border-radius: .25rem }
figure.plot { background: #fff; max-width: 44rem }
figure.plot img { min-width: 0 }
figure.plot figcaption { color: #59636e }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .5rem }
a { color: var(--accent); overflow-wrap: anywhere }
.right { color: var(--good) } .wrong { color: var(--bad) }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts under a header; cells that look like numbers stand to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()
    """Rows to emphasise."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file, copied into the page."""

    path: str | PathLike[str]
    alt: str
    """What it shows, for those who do not see it."""
    caption: str = ""
    plot: bool = False
    """Drawn on white: keep white around it in dark mode, and do not stretch it."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One prediction on a held-out clip."""

    clip: str
    truth: str
    scores: Sequence[tuple[str, float]]
    """(label, score), best first."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it, in this order: text, table, guesses, links, pictures."""

    title: str
    text: str = ""
    table: Table | None = None
    guesses: Sequence[Guess] = field(default=())
    links: Sequence[tuple[str, str]] = field(default=())
    """(text, path of a page relative to this one)."""
    pictures: Sequence[Picture] = field(default=())


def report_page(title: str, intro: str, sections: Sequence[Section], footer: str = "") -> str:
    """The page as text; every text in it is escaped, blank lines make paragraphs."""
    body = "".join(_section(section) for section in sections)
    foot = f"<footer>{_paragraphs(footer)}</footer>" if footer else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_text(title)}</h1>\n{_paragraphs(intro)}\n{body}{foot}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<section>\n<h2>{_text(section.title)}</h2>\n{_paragraphs(section.text)}"]
    if section.table:
        parts.append(_table(section.table))
    if section.guesses:
        parts.append(_guesses(section.guesses))
    if section.links:
        parts.append(_links(section.links))
    parts.extend(_picture(picture) for picture in section.pictures)
    return "\n".join(parts) + "\n</section>\n"


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(f"a row has {len(row)} cells under {len(table.header)} headings")
    columns = range(len(table.header))
    numeric = [bool(table.rows) and all(_is_number(row[c]) for row in table.rows) for c in columns]

    def cells(tag: str, row: Sequence[str]) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        return "".join(
            f"<{tag}{scope}{' class=number' if numeric[c] else ''}>{_text(row[c])}</{tag}>"
            for c in columns
        )

    rows = "\n".join(
        f"<tr{' class=strong' if i in table.strong else ''}>{cells('td', row)}</tr>"
        for i, row in enumerate(table.rows)
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{cells("th", table.header)}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _guesses(guesses: Sequence[Guess]) -> str:
    rows = []
    for guess in guesses:
        best, score = guess.scores[0]
        rest = ", ".join(f"{label} {value:.0%}" for label, value in guess.scores[1:])
        verdict = "right" if best == guess.truth else "wrong"
        rows.append(
            f"<tr><td>{_text(guess.clip)}</td><td>{_text(guess.truth)}</td>"
            f'<td class="{verdict}">{_text(best)} ({verdict})</td>'
            f"<td class=number>{score:.0%}</td><td>{_text(rest)}</td></tr>"
        )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Clip", "Truth", "Predicted", "Score", "Others")
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _links(links: Sequence[tuple[str, str]]) -> str:
    items = "\n".join(
        f'<li><a href="./{_text(urllib.parse.quote(path))}">{_text(text)}</a></li>'
        for text, path in links
    )
    return f"<ul>\n{items}\n</ul>"


def _picture(picture: Picture) -> str:
    path = Path(picture.path)
    kind = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}.get(
        path.suffix.lower()
    )
    if kind is None:
        raise ValueError(f"{path}: a report takes .png, .svg and .jpg pictures")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f"<figure{' class=plot' if picture.plot else ''}>"
        f'<img src="data:{kind};base64,{data}" alt="{_text(picture.alt)}">{caption}</figure>'
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+~]?[\d.,]+ ?(%|s|min|ms|k|M)?( [±] ?[\d.,]+ ?%?)?", text) is not None
