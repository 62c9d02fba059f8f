"""Tables and sections of pages."""

import pytest

from basics.errors import UserError
from basics.markdown import render_table, replace_section


def test_a_bar_in_a_cell_stays_in_it() -> None:
    assert render_table(("a",), [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def test_the_readme_is_left_alone_around_its_section() -> None:
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    assert replace_section(f"a {begin} old {end} b", "new") == f"a {begin}\nnew\n{end} b"
    with pytest.raises(UserError, match="no section"):
        replace_section(f"a {begin} b", "new")
    with pytest.raises(UserError, match="other: begin"):
        replace_section(f"a {begin} old {end} b", "new", marks="other")
