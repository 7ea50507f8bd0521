"""The page round the sections: one HTML file that asks nobody for anything."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

from worldrl.errors import StorageError

STYLE = """
:root{--back:#fbfaf8;--card:#fff;--ink:#1d2126;--soft:#5b6470;--edge:#dfe2e6;--s0:#3f6fa8;--s1:#d1495b;--s2:#2a8a4a;
--s3:#a8790b;--s4:#1f93a8;--s5:#93407a}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--card:#1d2125;--ink:#e8eaed;--soft:#a2abb6;--edge:#353b42;
--s0:#7eaee6;--s1:#ff8a98;--s2:#6fce8f;--s3:#e2bb55;--s4:#6ad0e2;--s5:#dd8fc8}}
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main,header{max-width:60rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:0 0 .4rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
section{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:1rem;margin:1rem 0}
p{margin:.4rem 0}
.soft,.how,figcaption{color:var(--soft)}
.how{font-size:.92rem;border-left:3px solid var(--edge);padding-left:.7rem}
.missing{border-left:3px solid var(--s3);padding-left:.7rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:.8rem 0}
.tile{border:1px solid var(--edge);border-radius:8px;padding:.6rem .8rem}
.tile b{display:block;font-size:1.7rem;line-height:1.2}
.tile span{display:block;font-size:.85rem;color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1rem}
.many{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(46%,13rem),1fr));gap:.4rem .8rem}
.many figure{margin:.3rem 0}
.many b{white-space:nowrap}
.many figcaption{display:flex;justify-content:space-between;gap:.4rem;font-size:.85rem}
figure{margin:.5rem 0;min-width:0}
img,video,svg{max-width:100%;height:auto;display:block}
video,img{width:100%;border-radius:6px;background:#000}
img{image-rendering:pixelated}
.chart svg{width:100%;max-width:36rem}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
svg .name{fill:var(--ink)}
.grid{stroke:var(--edge)}
.line{fill:none;stroke-width:2;stroke:currentColor}
.dot,.bar{fill:currentColor}
.whisker{stroke:var(--ink);stroke-width:2}
.s0{color:var(--s0)}
.s1{color:var(--s1)}
.s2{color:var(--s2)}
.s3{color:var(--s3)}
.s4{color:var(--s4)}
.s5{color:var(--s5)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;padding:0;font-size:.88rem}
.legend li::before{content:"";display:inline-block;width:.8em;height:.8em;border-radius:2px;background:currentColor;
margin-right:.4em}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem}
td,th{text-align:left;white-space:nowrap;padding:.25rem .8rem .25rem 0;
border-bottom:1px solid var(--edge);vertical-align:top}
pre{white-space:pre-wrap;background:var(--back);border:1px solid var(--edge);border-radius:6px;padding:.6rem;
font-size:.82rem}
summary{cursor:pointer}
"""
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
"""What a browser lets the page load: what is inside it. No script runs."""


def page(title: str, line: str, sections: Iterable[str]) -> str:
    """Return the whole page; ``title`` and ``line`` are plain text, ``sections`` are HTML."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    top = f"<header><h1>{escape(title)}</h1><p class='soft'>{escape(line)}</p></header>"
    return f"{head}\n<body>{top}\n<main>\n" + "\n".join(sections) + "\n</main></body></html>\n"


def section(name: str, title: str, how: str, *parts: str) -> str:
    """Return one section: its title, how to read it (plain text), and its parts (HTML)."""
    told = f'<p class="how">{escape(how)}</p>' if how else ""
    return f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{told}{"".join(parts)}</section>'


def named(name: str, title: str, task: str) -> tuple[str, str]:
    """Return the name and the title of a section; of one task among several, with its own."""
    return (f"{name}-{task}", f"{title}: {task}") if task else (name, title)


def missing(text: str, command: str = "", does: str = "makes it") -> str:
    """Return one sentence that says what a run lacks, and what a command does about it."""
    made = f" <code>{escape(command)}</code> {does}." if command else ""
    return f'<p class="missing">{escape(text)}{made}</p>'


def rows(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    """Return a table of plain texts."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in body)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return figures that stand out: ``(name, value, beside it)``, all plain text."""
    made = (
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b><span>{escape(beside)}</span></div>'
        for name, value, beside in figures
    )
    return f'<div class="tiles">{"".join(made)}</div>'


def write(path: Path, text: str) -> None:
    """Write a text under a temporary name, sync it, and rename it to ``path``.

    Raises:
        StorageError: If the file cannot be written.
    """
    staged = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}. Free some space or choose another folder.") from error
    finally:
        with suppress(OSError):
            staged.unlink()
