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
_OF_DATE, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"[12]\d{3}"
# A date in numbers; not '123-45-67' or '12-34-56', which are telephone numbers, nor '1.2.3'.
DAY = (
    rf"(?<!\d)(?:{_OF_DATE}[./-]{_OF_DATE}[./-](?:{_YEAR}|\d\d)|{_YEAR}[./-]{_OF_DATE}[./-]{_OF_DATE}"
    rf"|\d\d[./-]{_OF_DATE}[./-]{_OF_DATE})(?!\d)"
)
_WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
# The same in German, French, Spanish, Italian, Portuguese, Dutch.
_WEEKDAY_ABROAD = (
    r"(?:(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|sonnabend|(?:lun|mar|mercre|jeu|vendre|same)di|dimanche"
    r"|lunes|martes|mi[eé]rcoles|jueves|viernes|s[aá]bado|domingo|(?:lune|marte|mercole|giove|vener)d[iì]|sabato"
    r"|domenica|(?:segunda|terça|quarta|quinta|sexta)(?:-feira)?|(?:maan|dins|woens|donder|vrij|zater|zon)dag)\b"
)
_ANY_WEEKDAY = (
    rf"(?:{_WEEKDAY}|(?:mon|tues?|wed|thur?s?|fri|sat|sun)\b\.?|{_WEEKDAY_ABROAD}|(?:mo|di|mi|do|fr|sa|so)\.)"
)
_NEAR = "today|yesterday"
_NEAR_ABROAD = "heute|(?:vor)?gestern|aujourd['’]hui|hier|hoy|ayer|oggi|ieri|hoje|ontem|vandaag|gisteren"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_MONTH_ABROAD = (
    r"(?:januar|februar|märz|april|mai|jun[io]|jul[io]|august|september|ok?tober|november|dezember"
    r"|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre"
    r"|enero|febrero|marzo|abril|mayo|agosto|sep?tiembre|octubre|noviembre|diciembre"
    r"|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre"
    r"|janeiro|fevereiro|março|maio|junho|julho|setembro|outubro|novembro|dezembro"
    r"|januari|februari|maart|mei|augustus|december)\b"
)
_OF_MONTH = (
    rf"(?:(?:{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?|\d{{1,2}}\.?\s+{_MONTH})(?:,?\s+\d{{4}})?"
    rf"|\d{{1,2}}(?:er|\.|º)?\s+(?:de\s+)?{_MONTH_ABROAD}(?:\s+(?:de\s+)?\d{{4}})?)"
)
_SHORT = r"\d{1,2}/\d{1,2}"
_AT = r"(?:,?\s+(?:at|um|à|a las?|alle|às|om)\b)?"  # before a time
# A day as chats write it beside a time: 'Wed', 'Yesterday at', 'Wed, May 1', '5/1', '5/1/2024', 'gestern um'.
DAY_IN_WORDS = (
    rf"(?i:(?:(?:{_ANY_WEEKDAY},?\s+)?(?:{DAY}|{_SHORT}|{_OF_MONTH})|{_ANY_WEEKDAY}|{_NEAR}|{_NEAR_ABROAD}){_AT})"
)
# The same after a single blank, where 'Sun', '1/2', and 'Hoy' may be of a name: 'Lena Sun', 'Caller 1/2'.
_CERTAIN_DAY = (
    rf"(?:(?i:{_ANY_WEEKDAY},?\s+(?:{DAY}|{_SHORT}|{_OF_MONTH})|{DAY}|{_OF_MONTH}|{_WEEKDAY}|{_NEAR})|{_NEAR_ABROAD}"
    rf"|{_WEEKDAY_ABROAD}|(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch|Sonnabend)(?i:{_AT})"
)
# A whole date, with a time or without: what stands behind 'Chat started:' at the head of a chat.
DATE_ALONE = re.compile(
    rf"(?i:(?:{_ANY_WEEKDAY},?\s+)?(?:{DAY}|{_OF_MONTH}(?<=\d{{4}}))(?:(?:T|,?\s+(?:at\s+)?){CLOCK})?"
    r"\s*\(?(?-i:Z|[A-Z]{2,4})?\s?(?:[+-]\d\d:?\d\d)?\)?)"
)
_MARKS = r"\s,\-–—|·•"  # between a name and a time
_MARKS_BEHIND_NAME = re.compile(rf"(?<=[^{_MARKS}])[{_MARKS}]+\Z")
_DAY_BEHIND_NAME = re.compile(
    rf"(?P<name>.*?[^{_MARKS}])"
    rf"(?:(?:(?:\s*[,—|·•]|\s+[\-–])\s*|\s{{2,}}|,?\s+(?:on|le)\s+)(?:{DAY_IN_WORDS}|(?i:mo|di|mi|do|fr|sa|so)\b)"
    rf"|\s{_CERTAIN_DAY})[{_MARKS}]*"
)
# Before a day that is a surname: 'Herr Freitag', 'Frau Dr. Sonntag', 'Mr. Friday'.
_TITLES = re.compile(r"(?:(?:herrn?|frau|hr|fr|mr|mrs|ms|miss|dr|prof)\b\.?\s*)+", re.I)
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
_TO = r"\s*(?:--?>|→|-|–|to|,)\s*"
_INTO = r"\s*(?:--?>|→|,)\s*"  # in round brackets a dash is what people write: '(10:00-11:00) suits me'
_SECONDS = r"\d{1,6}(?:[.,]\d{1,6}\s?s?|\s?s)"  # a single one in brackets may be a pause: '(0.5)'
_TIME_AFTER_COLON = re.compile(
    rf"(?:\[(?:{CLOCK}(?:{_TO}{CLOCK})?|{_SECONDS}{_TO}{_SECONDS})\]"
    rf"|\((?:{CLOCK}(?:{_INTO}{CLOCK})?|{_SECONDS}{_INTO}{_SECONDS})\))\s*"
)
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
    said = without_times(said)
    name = without_day(found[1]) if found.re is _TIME_AFTER_NAME else found[1]
    bare = without_aside(name)
    return _BRACKETS.sub(r"\1", bare) + name[len(bare) :], said


def without_day(name: str) -> str:
    """A name without the day between it and a time: 'Lena Hart, Wed' -> 'Lena Hart'; without marks before a time."""
    found = _DAY_BEHIND_NAME.fullmatch(name)
    if found and not _TITLES.fullmatch(found["name"]):
        return found["name"]
    return _MARKS_BEHIND_NAME.sub("", name)


def without_times(said: str) -> str:
    """What is said without times in square brackets, which programs put there: 'So [0:05] what?' -> 'So what?'."""
    return _TIME_IN_SPEECH.sub("", said)


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
    return NOTICES if FOOTER.fullmatch(text.strip("*_")) or _ENTERED.match(text) else ""
