"""What stays true of the pages: each can be reached, each link leads somewhere, and the reference says what the code says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from docs import code_blocks
from docs.generate import __main__ as generate
from docs.generate import params
from harness import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "examples").glob("*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
RUNNERS = {"test_how_to.py", "test_documentation.py"}  # tests that run several pages
NOT_RUN = 28  # blocks that say "not run"
# Set by the project for its own processes.
INTERNAL = {
    "BULKHEAD_FLEET",
    "BULKHEAD_PREVIEW",
    "BULKHEAD_PROGRAM",
    "BULKHEAD_CODE_DIGEST",
    "BULKHEAD_PROGRAM_DIGEST",
    "BULKHEAD_PROGRESS",
    "BULKHEAD_RUN",
    "BULKHEAD_STARTED_IN",
    "BULKHEAD_HELD",
    "BULKHEAD_STAGE_EXIT_CODE",
    "BULKHEAD_TELL_ON",
}
# Files of ours by their path from the root; those that a reader makes while following a page are not here.
OWN_FILE = re.compile(
    r"`((?:benchmarks|bentos|contract|dags|docs|drills|fleet|harness|pipelines|tests)/[\w/.-]+\.\w+)`"
)
MADE_BY_READER = {"benchmarks/results.json", "drills/results.json"}
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
    assert (PROJECT / page).read_text() == generate.made(page), "run `make docs`"


@pytest.mark.parametrize(
    ("command", "argument"),
    [("draft", "--unfinished"), ("quarantine release", "BATCH"), ("predict", "--keep COLUMNS"), ("collect", "MONTH")],
)
def test_reference_has_the_arguments_of_a_command(command: str, argument: str) -> None:
    assert f"| `{command}` | `{argument}` | " in (PROJECT / "docs/reference/commands.md").read_text()


def test_reference_omits_what_help_hides() -> None:
    assert "SUPPRESS" not in (PROJECT / "docs/reference/commands.md").read_text()


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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    made = MADE_BY_READER | set(re.findall(r"^\+\+\+ (\S+)$", text, re.MULTILINE))
    assert [found for found in OWN_FILE.findall(text) if found not in made and not (PROJECT / found).exists()] == []


@pytest.mark.parametrize("text", TEXTS, ids=name)
def test_no_row_stands_outside_of_its_table(text: Path) -> None:
    lines = ["", *FENCE.sub("", text.read_text()).splitlines(), ""]
    heads = [place for place, line in enumerate(lines) if line.startswith("|") and not lines[place - 1].startswith("|")]
    assert [lines[place] for place in heads if not re.fullmatch(r"\|[\s:|-]+\|", lines[place + 1])] == []


def test_every_code_block_has_a_language_and_is_run_or_says_why_not() -> None:
    fences = 0
    for page in code_blocks.PAGES:
        text = re.sub(r"^```\{.*?^```$", "", (PROJECT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
        fences += len(re.findall(r"^ *```", text, re.MULTILINE))
    found = [block for page in code_blocks.PAGES for block in code_blocks.blocks(page)]
    assert fences == 2 * len(found), "a block without a language"
    reasons = [(block, *block.reason.split(" ", 1)) for block in found if block.reason]
    assert {first for _, first, _ in reasons} == {"run", "not"}
    for block, first, rest in reasons:
        if first == "run":
            test = PROJECT / rest.removeprefix("by ")
            assert test.name in RUNNERS or block.page in test.read_text(), f"{test} does not read {block.page}"
    assert sum(first == "not" for _, first, _ in reasons) == NOT_RUN


def test_version_is_the_newest_release_of_the_changelog() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## (\d\S+) - \d{4}-\d\d-\d\d$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == released[0]
    assert f'VERSION = "{version}"' in (PROJECT / "bentos" / "__init__.py").read_text()


def test_every_environment_variable_of_ours_is_in_the_reference() -> None:
    pattern = re.compile(r"BULKHEAD_[A-Z_]*[A-Z]")
    sources = [
        path
        for plane in ("contract", "pipelines", "bentos", "fleet", "dags", "bin", "airflow_local")
        for path in (PROJECT / plane).rglob("*")
    ]
    used = {
        found
        for path in sources
        if path.is_file() and path.suffix not in (".pyc", ".json")
        for found in pattern.findall(path.read_text())
    }
    documented = set(pattern.findall((DOCS / "reference" / "environment.md").read_text()))
    assert documented == used - INTERNAL


def test_every_metric_is_in_the_reference() -> None:
    # The fleet's own are compared in tests/fleet/monitoring/test_exporter.py.
    pattern = re.compile(r"\bbulkhead_(?!fleet_)[a-z_]+")
    used = {name for path in (PROJECT / "bentos").rglob("*.py") for name in pattern.findall(path.read_text())}
    documented = pattern.findall((DOCS / "reference" / "metrics.md").read_text())
    assert used == {name.removesuffix("_total") for name in documented}
