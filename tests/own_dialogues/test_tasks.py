"""Which input is answered into which file."""

from pathlib import Path

import pytest

from own_dialogues.tasks import find_naming_problems


def test_a_link_to_the_output_of_another_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the one is named as the user did, and the other as the link leads."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/short.csv").symlink_to("long.csv")
    for inputs in (["long.txt", "short.txt"], ["short.txt", "long.txt"]):
        (found,) = find_naming_problems([*map(Path, inputs)], Path("out/{name}.csv"))
        assert found.endswith(f"out/long.csv would be written for {' and for '.join(inputs)}: rename an input")
