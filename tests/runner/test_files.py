"""Files that are complete or not there."""

from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.files import complete, read_json


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    path = tmp_path / "numbers"
    path.write_text("old")
    with complete(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("begun", [True, False])
def test_what_is_given_up_leaves_the_old_file_and_nothing_else(tmp_path, begun):
    path = tmp_path / "numbers"
    path.write_text("old")

    def give_up():
        with complete(path) as temporary:
            if begun:
                temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError), complete(tmp_path / "none" / "numbers") as temporary:
        temporary.write_text("new")


@pytest.mark.parametrize(("text", "said"), [(None, "No such file"), ("{", "not JSON")])
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path, text, said):
    path = tmp_path / "given.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"^access file {path}: {said}[^\n]*$"):
        read_json(path, "access file")
