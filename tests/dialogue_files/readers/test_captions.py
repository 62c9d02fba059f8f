"""Names in subtitles: which texts before colons are some, and which lines are shown again."""

import pytest

from corpora import remarks_on, said_in
from dialogue_files.turns import LineError


def captions(*cues: str, ends: str = "900" * 9) -> str:
    return "".join(f"00:00:0{n},000 --> 00:00:0{n},{ends[3 * n : 3 * n + 3]}\n{cue}\n\n" for n, cue in enumerate(cues))


@pytest.mark.parametrize("arrows", [">>", ">>>", ">> "])
def test_arrows_that_do_not_say_who_speaks_are_refused(arrows: str) -> None:
    with pytest.raises(
        LineError, match="line 5: '>>' says that somebody else speaks, and not who, allowed is"
    ) as caught:
        said_in("srt", captions("Ann: a", f"{arrows}b"))
    assert caught.value.line == 5


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("so\nBen: b", [("Ann", "so Ben: b")]),  # it stands once, and begins no cue
        ("Ben: b", [("Ben", "b")]),
        ("so\nBen: b\nBen: c", [("Ann", "so"), ("Ben", "b"), ("Ben", "c")]),
    ],
)
def test_a_name_begins_a_cue_or_stands_twice(second: str, said: list) -> None:
    assert said_in("srt", captions("Ann: a", second)) == [("Ann", "a"), *said]


def test_two_of_four_cues_that_are_short_or_show_a_line_again_are_no_automatic_captions() -> None:
    cues = "Ann: a", "Ann: No.\nYes.", "Yes.\nOh.", "Ann: d"
    said = [("Ann", "a"), ("Ann", "No. Yes."), ("Ann", "Yes. Oh."), ("Ann", "d")]
    assert said_in("srt", captions(*cues, ends="010" + "900" * 3)) == said
    told = "read as automatic captions, which show a line again: repeated lines are one, up to the next name"
    assert remarks_on("srt", captions(*cues, ends="010" * 2 + "900" * 2)) == [told]
