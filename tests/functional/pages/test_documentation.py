"""The code blocks of the pages work as they stand, but for the ports: those of the README first, and the tutorial by itself.

A block that another test runs, or that nothing can run here, says so: `docs/code_blocks.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from contract.bundle import manifest
from docs import code_blocks
from harness import slice as sliced
from tests.functional.pages.place import Place

README, TUTORIAL = "README.md", "docs/tutorial/own-table.md"
PAGES = [
    page
    for page in code_blocks.PAGES
    if any(block.reason is None and block.language != "text" for block in code_blocks.blocks(page))
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two months of flights, in which the commands of the README have been run: a fleet of two replicas serves."""
    root = tmp_path_factory.mktemp("readme") / "project"
    sliced.prepared(root)
    place = Place(root)
    try:
        place.follow(README)
        yield place
    finally:
        place.down()


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A fresh copy of the project in which the tutorial has been followed to its end."""
    root = tmp_path_factory.mktemp("tutorial") / "project"
    sliced.copy_project(root)
    place = Place(root)
    try:
        place.follow(TUTORIAL)
    finally:
        place.down()
    return place


@pytest.mark.parametrize("page", [page for page in PAGES if page not in (README, TUTORIAL)])
def test_blocks_of_the_page_run(page: str, place: Place) -> None:
    place.up()  # a page may end with the fleet down
    place.follow(page)


def test_readme_gives_a_prediction(place: Place) -> None:
    assert any('"probability"' in printed for printed in place.printed)


def test_tutorial_gives_a_bundle_that_beats_both_baselines(tutorial: Place) -> None:
    metrics = json.loads((tutorial.root / "metrics.json").read_bytes())
    assert metrics["roc_auc"] > max(scores["roc_auc"] or 0.5 for scores in metrics["against"].values()) + 0.05
    assert manifest.verify(tutorial.root / "build" / "bundle").name == "deliveries"


def test_tutorial_gets_an_answer_with_the_fallback_that_it_describes(tutorial: Place) -> None:
    (answer,) = (
        json.loads(printed) for printed in tutorial.printed if '"predictions"' in printed and printed[0] == "{"
    )
    (prediction,) = answer["predictions"]
    assert prediction["label"] in ("in_time", "late")
    assert prediction["fallbacks"] == [{"field": "stops", "problem": "missing"}]


def test_bundle_of_the_tutorial_holds_no_row_and_no_identifier_of_the_table(tutorial: Place) -> None:
    assert b"o-0000" in (tutorial.root / "orders" / "2026.csv").read_bytes()
    for path in (tutorial.root / "build" / "bundle").rglob("*"):
        assert path.is_dir() or b"o-0000" not in path.read_bytes(), path
