"""Every code block of README.md and of the documentation works, or is held against what there is."""

from __future__ import annotations

import pytest

from tests.docs.blocks import DOCS, ROOT, blocks, navigation, pages
from tests.docs.sandbox import Sandbox, check
from topologies import ScenarioError

TUTORIAL = [DOCS / page for page in navigation() if page.startswith("tutorial/")]
OTHERS = [page for page in pages() if page not in TUTORIAL]


def names(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", OTHERS, ids=names)
def test_the_blocks_of_a_page_work(page, tmp_path, monkeypatch):
    reader = Sandbox(tmp_path, monkeypatch, runs=False)
    for block in blocks(page):
        reader.work_through(block)
    if reader.tests:
        pytest_passes(reader)


@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.timeout(300)  # a dozen runs and two sessions of pytest: ten seconds of a machine that is idle
def test_the_tutorial_works_from_its_first_line_to_its_last(tmp_path, monkeypatch):
    reader = Sandbox(tmp_path, monkeypatch, runs=True)
    for page in TUTORIAL:
        for block in blocks(page):
            reader.work_through(block)
    assert reader.tests, "the tutorial ends with tests of the reader's own"


def pytest_passes(reader: Sandbox) -> None:
    reader._run("python -m pytest -q -p no:cacheprovider " + " ".join(reader.tests))
    assert reader.code == 0, reader.said
    assert " passed" in reader.said


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("vicinal rum star-9", "invalid choice"),
        ("vicinal run star-9 --virtaul", "unrecognized arguments"),
        ("vicinal run stra-9", "no scenario"),
        ("vicinal run star-9 --set stoping.tolerance=1", "stoping"),
        ("vicinal run SCENARIO [--agnets]", "no option --agnets"),
        ("make dmeo", "no such target"),
        ("python -m benchmark.scale", "benchmark"),
        ("python docs/figures/ideas.py", "no file"),
    ],
)
def test_a_command_that_could_not_work_is_found(command, complaint, tmp_path):
    with pytest.raises((AssertionError, ScenarioError, ImportError), match=complaint):
        check(command, tmp_path)


def test_blocks_that_do_not_work_are_found(tmp_path, monkeypatch):
    reader = Sandbox(tmp_path, monkeypatch, runs=True)
    page = tmp_path / "page.md"
    monkeypatch.setattr("tests.docs.blocks.ROOT", tmp_path)
    for text, complaint in [
        ("```python\nassert 1 == 2\n```", "AssertionError"),
        ("```toml\n[stopping]\ntolerance = 2.0\n```", "ValidationError"),
        ("```sh\nvicinal show star-8\n```", "exit code 2"),
        ("```sh\nvicinal --version\n```\n\n```text title='out'\nvicinal\n```", None),
        ('```sh\nvicinal --version\n```\n\n```text title="out"\nvicinal 99\n```', "printed"),
        ("```cobol\n```", "cobol"),
        ("<!-- unrun: -->\n\n```sh\nvicinal scenarios\n```", "reason"),
    ]:
        page.write_text(text)
        *before, last = blocks(page)
        for block in before:
            reader.work_through(block)
        if complaint is None:
            reader.work_through(last)
        else:
            with pytest.raises(AssertionError, match=complaint):
                reader.work_through(last)
