"""Single lines of transcripts: which name a line begins with, and which lines are no speech."""

import re
from itertools import accumulate

from dialogue_files.names import (
    is_label,
    lists_people,
    reads_like_sentence,
    without_aside,
    without_aside_before,
)
from dialogue_files.turns import LONGEST_NAME

DIRECTIONS, NOTICES, TIMES = "directions", "notices", "lines of times"
CLOCK = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?(?:\s?(?:[AaPp]\.?\s?[Mm]|Uhr)\b\.?)?+"
DAY = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_F4 = r"#\d{1,2}:\d\d:\d\d-\d#"  # a time as the programs f4 and easytranscript write it
_TIME = rf"(?:\[{CLOCK}\]|\({CLOCK}\)|{_F4}|{CLOCK})"
RANGE = rf"{_TIME}(?:\s*(?:-->|-|–|to)\s*{_TIME})?"
# A name after its first character. It ends in no blank, so that a long row of blanks is looked at only once.
REST = rf"(?:[^:：]{{0,{LONGEST_NAME - 2}}}?[^\s:：])??"
_NAMED = re.compile(rf"([^\s:：]{REST})\s*+[:：](?!//|(?<=\d[:：])\d)\s*(.*)", re.DOTALL)
# Times with a dot or an h; only before a name, as elsewhere they may be numbers.
_DOTTED = r"\d{1,2}[.hH][0-5]\d(?:[.:][0-5]\d)?(?:\s?(?:[AaPp]\.?\s?[Mm]|Uhr)\b\.?)?+"
_TIME_BEFORE = re.compile(
    rf"(?:{RANGE}[\s\-–|]*|(?:\[{_DOTTED}\]|\({_DOTTED}\)|{_DOTTED}(?=\s))[\s\-–|]*)(?=[^\s\d:：\-–|])"
)
_TIME_AFTER_NAME = re.compile(
    rf"([^\s:：\[(](?:[^:：\[(]{{0,{LONGEST_NAME - 2}}}?[^\s:：\[(])??)"
    rf"(?:\s*+(?:\[{CLOCK}\]|\({CLOCK}\))\s*+[:：]\s*+|\s++{CLOCK}\s*+[:：]\s++)(\S.*)"
)
_TIME_AFTER_COLON = re.compile(rf"\({CLOCK}\)\s*")
_TIME_IN_SPEECH = re.compile(rf"(?:\[{CLOCK}\]|{_F4})\s?")
ONLY_TIMES = re.compile(rf"{RANGE}")
# A name in bold type, its colon in it or after it, and perhaps a time after that.
_BOLD = re.compile(
    rf"(\*\*?|__?)\s*+([^\s*_:：](?:[^*:：]*?[^\s*:：])??(?:\s*+[\[(]{CLOCK}[\])])?)"
    r"\s*+(?:([:：])\s*+\1|\1(?=\s*+[:：\[(]))\s*+"
)
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
FOOTER = re.compile(
    r"(?:transcribed|transcript|captions?|subtitles|generated|recorded)\b.*\b(?:by|with)\b.*"
    r"|.* - watch: https?://\S+|(?:transcription|meeting) ended after .*"
    rf"|(?:{_TIME}\s)?[^:：]* (?:started|stopped) transcription"
    r"|this editable transcript was computer generated.*|-{2,3} (?:log opened|log closed|day changed)\b.*",
    re.I,
)
# Lines of IRC: what is said, and what is done, after a time.
_ENTERED = re.compile(rf"(?:\[{CLOCK}\]|{CLOCK})\s+(?:-!-|\*{{1,3}}|<--|-->(?!\s*[\[(\d]))\s")
_NICK = re.compile(r"<[ @+%&~]?(?P<name>[^\s<>:](?:[^<>:]{0,98}[^\s<>:])?)>\s+(?P<said>\S.*)", re.DOTALL)
_LISTED = re.compile(r"(?:[-*•–]|>+)\s+(?=\S)")  # marks of a list or a quotation, before each of its lines
SCENE = re.compile(
    r"(?:INT|EXT|INT\./EXT|I/E)[. ]|.*\b(?:CUT|FADE|DISSOLVE|SMASH)\b.*(?:TO|IN|OUT)\b.*[:.]?$|THE END\b|ACT\b|SCENE\b"
)


def split_name(line: str) -> tuple[str, str] | None:
    """(name, speech) of a line, without times and marks of bold type; None: it has no name."""
    whole = without_begin(_LISTED, line)
    line = without_begin(_TIME_BEFORE, whole)
    nick = _NICK.fullmatch(line) if line != whole else None
    if nick:
        return nick["name"], nick["said"]
    line = without_aside_before(line)
    bold = _BOLD.match(line)
    if bold:
        line = f"{bold[2]}{bold[3] or ''} {line[bold.end() :]}"
    found = _TIME_AFTER_NAME.fullmatch(line) or _NAMED.fullmatch(line)
    if not found:
        return None
    said = found[2] if found.re is _TIME_AFTER_NAME else without_begin(_TIME_AFTER_COLON, found[2])
    said = _TIME_IN_SPEECH.sub("", said)
    name = found[1].rstrip(" ,") if found.re is _TIME_AFTER_NAME else found[1]
    bare = without_aside(name)
    return _BRACKETS.sub(r"\1", bare) + name[len(bare) :], said


def without_begin(pattern: re.Pattern[str], text: str) -> str:
    """The text without what the pattern finds at its beginning."""
    found = pattern.match(text)
    return text[found.end() :] if found else text


def is_named_line(line: str) -> bool:
    """Whether a line is 'Name: utterance', where the name is neither a heading nor the beginning of a sentence."""
    named = split_name(line)
    if named is None or not named[1]:
        return False
    return not (reads_like_sentence(named[0]) or is_label(named[0]) or lists_people(named[0]))


def is_direction(line: str) -> bool:
    """Whether a whole line stands in brackets, as directions do: '[Scene: a kitchen]', '(They laugh.)'."""
    if (line[0], line[-1]) not in {("[", "]"), ("(", ")"), ("{", "}")}:
        return False
    depths = accumulate((character in "[({") - (character in "])}") for character in line[:-2])
    return all(depth > 0 for depth in depths)


def nobodys_kind(text: str) -> str:
    """The `LeftOut.kind` of a line that is certainly no speech; empty: it may be."""
    if text and is_direction(text):
        return DIRECTIONS
    if ONLY_TIMES.fullmatch(text):
        return TIMES
    return NOTICES if FOOTER.fullmatch(text) or _ENTERED.match(text) else ""
