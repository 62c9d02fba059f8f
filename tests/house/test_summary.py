"""What the run of all tests says at its end of the files that take longest."""

from pathlib import Path

import pytest


def test_each_file_is_told_of_with_its_slowest_part(pytestconfig: pytest.Config) -> None:
    conftest = str(Path(__file__).parents[1] / "conftest.py")
    (own,) = (one for one in pytestconfig.pluginmanager.get_plugins() if getattr(one, "__file__", "") == conftest)

    def took(seconds: float, test: str, when: str = "call") -> pytest.TestReport:
        return pytest.TestReport(test, ("", 0, ""), {}, "passed", None, when, duration=seconds)

    class Reporter:
        stats = {
            "passed": [took(1, "a.py::test_one"), took(2.5, "b.py::test_two[x::y]")],
            "": [took(4, "a.py::test_one", "setup")],
            "failed": [took(0.25, "b.py::test_three")],
            "warnings": ["no report"],
        }
        said: list[str] = []
        section = write_line = said.append

    own.pytest_terminal_summary(Reporter)
    assert Reporter.said[1:] == [
        "    5.0 s a.py: 4.0 s setup of test_one",
        "    2.8 s b.py: 2.5 s call of test_two[x::y]",
    ]
