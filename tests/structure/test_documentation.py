"""What stays true of the pages: each can be reached, each link leads somewhere, and the reference says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import __main__ as generate
from docs.generate import params

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "examples").glob("*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def links(path: Path) -> list[tuple[Path, str | None]]:
    """The files of this project that a text links to, each with the heading."""
    prose = FENCE.sub("", path.read_text())
    return [
        ((path.parent / target).resolve() if target else path, anchor or None) for target, anchor in LINK.findall(prose)
    ]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def listed(path: Path) -> set[Path]:
    """The pages in the tables of contents of a page."""
    found = set()
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE):
        for entry in block.split():
            if not entry.startswith(":"):
                found |= {each.resolve() for each in path.parent.glob(f"{entry}.md")} - {path}
    return found


def test_every_key_of_params_yaml_has_a_description() -> None:
    models = params.models()
    assert len(models) > 20
    for model in models:
        assert model.__doc__, model
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key} has no description"
            assert re.search(r"[.…)]$", field.description), f"{model.__name__}.{key}: no sentence"


@pytest.mark.parametrize("page", generate.PAGES)
def test_generated_page_is_up_to_date(page: str) -> None:
    assert (DOCS / "reference" / page).read_text() == generate.PAGES[page](), "run `make docs`"


def test_every_page_is_in_a_table_of_contents() -> None:
    reached: set[Path] = set()
    waiting = {DOCS / "index.md"}
    while waiting:
        reached |= waiting
        waiting = {page for each in waiting for page in listed(each)} - reached
    assert set(PAGES) == reached


@pytest.mark.parametrize("text", TEXTS, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(text: Path) -> None:
    for target, anchor in links(text):
        assert target.exists(), f"{name(text)} links to {target}, which is not there"
        if anchor is not None:
            assert anchor in anchors(target), f"{name(text)} links to #{anchor} of {name(target)}"
