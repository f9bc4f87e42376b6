from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import ConfigurationError, ConflictError
from fleet.configuration import declaration, declaration_text
from fleet.configuration.declaration import Declaration, Limits, Mirror, Trial
from fleet.configuration.state import Bounds, Canary, State

PLACE = Path("fleet.yaml")
LIVE, NEW = "a" * 64, "b" * 64
EDITED = b"""\
# ours
canary:   # on trial
  bundle: bbbbbbbb  # the new one
  weight: 5

# nothing yet
shadow: null           # later
replicas: {min: 2,
           max: 4}     # for the night
"""


def some(draw: random.Random) -> Declaration:
    """Any declaration; its digests are often such that YAML would read a number."""
    digest = "".join(
        draw.choices(draw.choice(["0123456789abcdef", "0123456789e", "0123456789"]), k=draw.randint(8, 64))
    )
    bounds = Bounds(*sorted(draw.choices(range(1, 65), k=2)))
    return Declaration(
        replicas=draw.choice([draw.randint(1, 64), bounds]),
        canary=draw.choice([None, Trial(digest, draw.randint(1, 99), draw.choice(declaration.JUDGES))]),
        shadow=draw.choice([None, Mirror(digest, draw.randint(1, 100))]),
        isolation=draw.choice(declaration.ISOLATIONS),
        limits=Limits(draw.randint(64, 1 << 20)),
        sticky=draw.choice(declaration.STICKINESS),
    )


@pytest.mark.parametrize("seed", range(100))
def test_declaration_is_the_same_when_it_was_written_over_another_and_read(seed: int) -> None:
    one, other = some(random.Random(seed)), some(random.Random(-1 - seed))
    first = declaration_text.rendered(one, None, PLACE)
    assert declaration.parse(first, PLACE) == one
    assert declaration.parse(declaration_text.rendered(other, first, PLACE), PLACE) == other
    assert declaration_text.rendered(one, first, PLACE) == first


def test_comments_and_other_lines_stay_when_keys_are_changed() -> None:
    before = declaration.parse(EDITED, PLACE)
    assert before == Declaration(replicas=Bounds(2, 4), canary=Trial("bbbbbbbb", 5))
    after = declaration_text.rendered(replace(before, canary=None, replicas=3, sticky="header"), EDITED, PLACE).decode()
    assert after.splitlines() == [
        "# ours",
        "canary: null # on trial",
        "",
        "# nothing yet",
        "shadow: null           # later",
        "replicas: 3",
        "sticky: header",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replicas: 2\nreplica: 3", "there is no key replica; correct or delete it"),
        ("canary: {bundle: aaaaaaaa, weight: 5, wait: 3}", "there is no key canary.wait"),
        ("limits: {cpu: 1}", "there is no key limits.cpu"),
        ("replicas: {min: 8, max: 2}", "replicas.min is 8 and replicas.max 2: min must not be above max"),
        ("replicas: {min: 8}", "replicas.max is missing; add it"),
        ("replicas: 0", "replicas is 0; it must be a whole number, 1 to 64"),
        ("replicas: true", "replicas is True; it must be a whole number"),
        ("replicas: 2.5", "replicas is 2.5; it must be a whole number"),
        ("canary: {bundle: aaaaaaaa, weight: 101}", "canary.weight is 101; it must be a whole number, 1 to 99"),
        ("canary: aaaaaaaa", "canary is 'aaaaaaaa'; it must be null or {bundle"),
        ("canary: {bundle: candidate, weight: 5}", "canary.bundle is 'candidate'; it must be the digest"),
        ("canary: {bundle: 12345678, weight: 5}", "canary.bundle is 12345678; it must be the digest"),
        ("shadow: 1234e567", "in quotes where YAML reads a number, as of 1234e567"),
        ("canary: {bundle: aaaaaaaa, weight: 5, judge: me}", "canary.judge is 'me'; it must be one of manual, auto"),
        ("shadow: {bundle: aaaaaaaa, percent: 0}", "shadow.percent is 0; it must be a whole number, 1 to 100"),
        ("shadow: {bundle: aaaaaaaa, percent: 101}", "shadow.percent is 101; it must be a whole number, 1 to 100"),
        ("shadow: {bundle: aaaaaaaa, weight: 5}", "there is no key shadow.weight"),
        ("shadow: {percent: 5}", "shadow.bundle is missing; add it"),
        ("shadow: candidate", "shadow is 'candidate'; it must be the digest"),
        ("isolation: [auto]", "isolation is ['auto']; it must be one of auto, required, none"),
        ("limits: 4", "limits is 4; it must be a mapping"),
        ("limits: {memory_mb: 1}", "limits.memory_mb is 1; it must be a whole number, 64 to"),
        ("sticky: yes", "sticky is 'yes'; it must be one of none, header"),
        ("replicas: [", "line 1 is not YAML"),
        ("replicas: 1\nreplicas: 2", 'line 2 is not YAML: found duplicate key "replicas"'),
        ("- 1", "has no keys"),
        ("", "has no keys"),
    ],
)
def test_wrong_file_is_refused_in_one_line_that_names_file_key_and_value(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        declaration.parse(text.encode(), PLACE)
    assert str(refused.value).startswith("fleet.yaml")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_shadow_gets_copies_of_all_requests_unless_another_share_is_declared() -> None:
    for text, percent in (("aaaaaaaa", 100), ("{bundle: aaaaaaaa}", 100), ("{bundle: aaaaaaaa, percent: 5}", 5)):
        declared = declaration.parse(f"shadow: {text}".encode(), PLACE)
        assert declared.shadow == Mirror("aaaaaaaa", percent)
        applied = declared.applied(State(live=LIVE), {"aaaaaaaa": NEW}.__getitem__)
        assert (applied.shadow, applied.mirror_percent) == (NEW, percent)
        assert replace(declared, shadow=None).applied(applied, str) == State(live=LIVE)


@pytest.mark.parametrize(
    ("percent", "line"), [(100, "shadow: aaaaaaaa"), (10, "shadow: {bundle: aaaaaaaa, percent: 10}")]
)
def test_copies_of_all_requests_are_written_as_earlier_versions_read_them(percent: int, line: str) -> None:
    written = declaration_text.rendered(Declaration(shadow=Mirror("aaaaaaaa", percent)), None, PLACE).decode()
    assert [each for each in written.splitlines() if each.startswith("shadow:")] == [line]


def test_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is not YAML"):
        declaration.parse(b"replicas: \xff", PLACE)


def test_file_that_no_line_edit_can_change_is_left_to_a_person() -> None:
    with pytest.raises(ConfigurationError, match=r"fleet\.yaml .*by hand"):
        declaration_text.rendered(Declaration(replicas=3), b"{replicas: 2,\n sticky: none}\n", PLACE)


def test_size_is_moved_into_the_bounds_and_else_kept() -> None:
    wanted = Declaration(replicas=Bounds(2, 4))
    for size, within in ((1, 2), (3, 3), (9, 4)):
        applied = wanted.applied(State(size=size, live=LIVE), str)
        assert (applied.size, applied.bounds) == (within, Bounds(2, 4))


def test_state_fulfils_its_own_declaration_and_none_that_wants_something_else() -> None:
    state = State(size=3, live=LIVE, canary=Canary(NEW, 5, "auto"), shadow="c" * 64, mirror_percent=10, sticky="header")
    own = Declaration.of(state)
    assert own.is_fulfilled_by(state)
    assert replace(own, canary=Trial(NEW[:8], 5, "auto"), shadow=Mirror("c" * 8, 10)).is_fulfilled_by(state)
    others = [replace(own, canary=None), replace(own, shadow=None), replace(own, limits=Limits(99))]
    others.append(replace(own, shadow=Mirror("c" * 8)))
    assert not any(other.is_fulfilled_by(state) for other in [*others, replace(own, canary=Trial("d" * 8, 5, "auto"))])


def test_edit_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"replicas: 2\n")
    with (
        pytest.raises(ConflictError, match="edited while"),
        declaration_text.replaced(path, b"replicas: 1\n", b"replicas: 3\n"),
    ):
        pass
    assert path.read_bytes() == b"replicas: 2\n"
    with declaration_text.replaced(path, b"replicas: 2\n", b"replicas: 3\n"):
        assert path.read_bytes() == b"replicas: 2\n"
    assert path.read_bytes() == b"replicas: 3\n"


def test_link_to_a_file_elsewhere_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept.yaml").write_bytes(b"replicas: 2\n")
    link = tmp_path / "fleet.yaml"
    link.symlink_to("kept.yaml")
    with declaration_text.replaced(link, b"replicas: 2\n", b"replicas: 3\n"):
        pass
    assert (link.is_symlink(), (tmp_path / "kept.yaml").read_bytes()) == (True, b"replicas: 3\n")
