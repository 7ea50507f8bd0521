"""What the documentation shows is what happens: Python runs, commands have the options that they are given."""

import re
import shlex
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from worldrl.cli import NAMED, RECIPES, TOOLS
from worldrl.recipes.config import compose

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SLOW = {"tour.md", "README.md", "environments.md", "sweeps.md"}
"""Pages whose blocks learn something."""


@dataclass(frozen=True)
class Block:
    """A fenced block; ``words`` stand behind the fence."""

    words: list[str]
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(words.split(), text) for words, text in FENCE.findall(page.read_text())]


def python(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.words[:1] == ["python"]]


def commands(page: Path) -> list[str]:
    shown = [line for block in blocks(page) if not block.words for line in block.text.splitlines()]
    return [line.removeprefix("$ ") for line in shown if re.match(r"(\$ )?worldrl ", line)]


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page one after the other, in one namespace; ``file=NAME`` also makes it a module there."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    space = {"__name__": "page"}
    for block in python(page):
        for name in (word.removeprefix("file=") for word in block.words if word.startswith("file=")):
            (folder / name).write_text(block.text)
        if not any(word.startswith("file=") for word in block.words):
            exec(compile(block.text, f"{page.name}", "exec"), space)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python(page) and page.name not in SLOW], ids=lambda p: p.name
)
def test_python_in_the_docs_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(page, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if python(page) and page.name in SLOW], ids=lambda p: p.name)
def test_python_that_learns_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_in_the_docs_have_the_options_they_are_given(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldrl.recipes.options.check_env_id", lambda env_id: None)
    monkeypatch.setattr("worldrl.recipes.collect.check_env_id", lambda env_id: None)  # MyReacher-v0 is the page's own
    for line in commands(page):
        verb, *rest = shlex.split(line, comments=True)[1:]
        if verb not in RECIPES or "VERB" in line:
            assert verb in TOOLS or verb == "VERB" or verb.startswith("--"), f"{page.name}: {line}"
            continue
        if verb in NAMED and rest and "=" not in rest[0]:
            rest[0] = f"{NAMED[verb]}={rest[0].split('|')[0]}"
        options = [word for word in rest if "=" in word]
        compose(verb, options, schema=import_module(RECIPES[verb][0]).Config)


def test_every_page_is_in_the_menu() -> None:
    menu, docs = (ROOT / "mkdocs.yml").read_text(), ROOT / "docs"
    pages = [page.relative_to(docs) for page in [*PAGES[1:], *docs.glob("reference/*.md")]]
    assert not [str(page) for page in pages if f" {page}\n" not in menu]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]
