"""A page of HTML in one file that needs no network: tables, lists and pictures. Every text is escaped."""

import base64
from collections.abc import Container, Iterable, Sequence
from html import escape

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }}
th {{ vertical-align: bottom; white-space: normal; }}
th.text, td.text {{ text-align: left; }}
tr.mean td {{ background: #8882; }}
td.best {{ font-weight: bold; }}
img {{ max-width: 100%; height: auto; }}
td.clip {{ text-align: left; vertical-align: top; white-space: normal; min-width: 14rem; }}
video {{ width: 14rem; height: auto; }}
dt {{ font-weight: bold; }} dd {{ margin: 0 0 .5rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def html_page(title: str, parts: Iterable[str]) -> str:
    return PAGE.format(title=escape(title), body="\n".join(parts))


def html_table(
    headings: Sequence[str],
    lines: Sequence[Sequence[str]],
    words: int = 1,
    means: int = 0,
    best: Container[tuple[int, int]] = (),
) -> str:
    """Return a table: `words` columns to the left, `means` shaded lines at its end, `best` (line, column) in bold."""
    kinds = ["text" if column < words else "number" for column in range(len(headings))]
    head = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in zip(kinds, headings, strict=True))
    body = []
    for number, line in enumerate(lines):
        classes = [f"{kind} best" if (number, column) in best else kind for column, kind in enumerate(kinds)]
        cells = "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in zip(classes, line, strict=True))
        body.append(f'<tr class="{"mean" if number >= len(lines) - means else "row"}">{cells}</tr>')
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n' + "\n".join(body) + "\n</table></div>"


def html_list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def html_terms(title: str, terms: Iterable[tuple[str, str]]) -> str:
    entries = "\n".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in terms)
    return f"<h2>{escape(title)}</h2>\n<dl>\n{entries}\n</dl>"


def html_picture(title: str, png: bytes) -> str:
    return f"<h2>{escape(title)}</h2>\n{html_image(title, png)}"


def html_image(title: str, png: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<img alt="{escape(title)}" src="{source}">'


def html_video(source: str, title: str, preload: str) -> str:
    """Return a player. source: address relative to the page. preload: what to load unasked, "none" or "metadata"."""
    return f'<video controls loop muted preload="{preload}" title="{escape(title)}" src="{escape(source)}"></video>'


def html_grid(headings: Sequence[str], lines: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table of HTML: a heading for each column, and lines of a heading and a cell for each column."""
    head = "".join(f"<th>{heading}</th>" for heading in ("", *headings))
    body = [
        f'<tr><th class="text">{heading}</th>' + "".join(f'<td class="clip">{cell}</td>' for cell in cells) + "</tr>"
        for heading, cells in lines
    ]
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n' + "\n".join(body) + "\n</table></div>"
