"""Tables and sections of pages."""

from pathlib import Path

import pytest

from basics.errors import UserError
from basics.markdown import open_section, render_table, replace_section


def test_a_bar_in_a_cell_stays_in_it() -> None:
    assert render_table(("a",), [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def test_the_readme_is_left_alone_around_its_section() -> None:
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    assert replace_section(f"a {begin} old {end} b", "new") == f"a {begin}\nnew\n{end} b"
    with pytest.raises(UserError, match="no section"):
        replace_section(f"a {begin} b", "new")
    with pytest.raises(UserError, match="other: begin"):
        replace_section(f"a {begin} old {end} b", "new", marks="other")


def test_a_page_keeps_what_others_have_put_in_meanwhile(tmp_path: Path) -> None:
    """What makes a section takes its minutes after it has looked at the page."""
    page = tmp_path / "page.md"
    page.write_text("<!-- a: begin --><!-- a: end -->\nbetween\n<!-- b: begin --><!-- b: end -->\n", encoding="utf-8")
    first, second = open_section(page, "a"), open_section(page, "b")
    second("of the second")
    page.write_text(page.read_text(encoding="utf-8").replace("between", "edited"), encoding="utf-8")
    first("of the first")
    assert [line for line in page.read_text(encoding="utf-8").splitlines() if "<" not in line] == [
        *("of the first", "edited", "of the second")
    ]
