"""Markdown that is made, not typed: tables, and sections between two marks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from basics.errors import UserError
from basics.files import shown_path, write_atomically
from basics.locks import locked

RESULTS = "results"  # the marks of a section are <!-- results: begin --> and <!-- results: end -->


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A Markdown table; a bar inside a cell is escaped. numbers: all columns but the first stand to the right."""
    rule = ["---", *(["---:" if numbers else "---"] * (len(header) - 1))]
    return "\n".join(map(render_row, (header, rule, *rows)))


def render_row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def replace_section(text: str, section: str, *, name: str = "README.md", marks: str = RESULTS) -> str:
    """The text with another section between its two marks; UserError, with the file's name, where one is missing."""
    first, last = (f"<!-- {marks}: {end} -->" for end in ("begin", "end"))
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise UserError(f"{name} has no section between the lines {first} and {last}; put back what is missing")
    return f"{before}{begin}\n{section}\n{end}{after}"


def put_sections(page: Path, sections: Mapping[str, str]) -> None:
    """Put sections (marks -> section) into a page as it is now; others who do so wait. UserError: marks are missing."""
    with locked(page.resolve().parent):
        text = page.read_text(encoding="utf-8")
        for marks, section in sections.items():
            text = replace_section(text, section, name=shown_path(str(page)), marks=marks)
        write_atomically(page, text)


def open_section(page: Path | None, marks: str) -> Callable[[str], None]:
    """What puts a section between the marks of a page, nowhere without one; a page without the marks is refused now."""
    if page is None:
        return lambda section: None
    replace_section(page.read_text(encoding="utf-8"), "", name=str(page), marks=marks)
    return lambda section: put_sections(page, {marks: section})
