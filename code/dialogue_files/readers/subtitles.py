"""Reads subtitles that name speakers, as `<v Name>` or `Name:`: WebVTT, SRT, SBV, ASS. A file is one dialogue.

A cue with two voices is two turns; a cue without a name is a turn of the last speaker. Automatic captions roll: each
cue shows the last line again; there, a turn lasts until the name changes. The file is read twice, first to find the
names in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

from dialogue_files.names import is_name, is_sound, may_be_sound, name_key, without_aside, without_aside_before
from dialogue_files.readers.cues import Cue, read_cues
from dialogue_files.report import LeftOut, Remark
from dialogue_files.turns import LONGEST_NAME, LineError, Read, ReadTurn, unescape

SOUNDS = "cues of sounds"
MOST_NAMES = 10_000  # texts before colons that are counted
MOST_NAMELESS = 0.9  # share of cues without a name, above which a warning is told
USUAL_WORDS = 4  # of a name; longer texts that stand once before a colon are mostly speech
SHORT_CUE = 0.05  # seconds; automatic captions have one after each other
ROLLING_TURN = 1_000  # characters after which a turn of automatic captions ends with the cue
_VOICE = re.compile(r"<v(?:\.[^\s<>]*+)?[ \t]++([^<>]*+)>")
_TAG = re.compile(r"</?(?:[bisuvc]|font|lang|ruby|rt|span)(?:[.\s][^<>]*)?>|<\d[\d:.,]*>|\{\\[^{}]*\}", re.IGNORECASE)
_WORD_TIME = re.compile(r"<\d+:\d\d[\d:.,]*>")
# At most twelve words before a colon, with a role in brackets; Names.accepts decides whether they are a name.
_NAMED_LINE = re.compile(
    r"(?:(?:-|–|>>++)\s*+)?(?:\[(?P<inner>[^\[\]]{1,60})\]|\((?P<round>[^()]{1,60})\)|"
    r"(?P<name>[^\s:：\[-][^\s:：]*+(?:[ ][^\s:：]++){0,11}+))"
    r"\s*+[:：](?!\d|//)\s*(?P<text>.*)",
    re.DOTALL,
)
_ROLE = re.compile(r"[ ]\([^()]*+\)$")
_BRACKETED_LINE = re.compile(
    r"(?:(?:-|–|>>++)\s*+)?[(\[](?P<name>[^()\[\]]{1,60})[)\]]\s*+(?![:：])(?P<text>.*)", re.DOTALL
)
_NUMBERED_SPEAKER = re.compile(r"speaker[ _]?\w{1,4}", re.IGNORECASE)
_DASH = re.compile(r"[-–](?:\s++|(?=[^\W\d_]))")
_SOUND = re.compile(r"(?:[\[(♪♫*][^\[\]()]*[\])♪♫*]|[♪♫\s]+)")


@dataclass
class Names:
    """What the first reading found in a file.

    counts: texts before colons. starts: those of them that begin a cue. brackets: texts in brackets, before speech or
    alone on a line, that could be names. voices: there are tags with names. rolling: it is automatic captions. lower:
    a name that occurs twice is in lower case. falls: line of the first cue that is shown earlier than the one before
    it; 0: there is none.
    """

    counts: Counter = field(default_factory=Counter)
    starts: set[str] = field(default_factory=set)
    brackets: Counter = field(default_factory=Counter)
    voices: bool = False
    rolling: bool = False
    lower: bool = False
    falls: int = 0

    def accepts(self, name: str) -> bool:
        """Whether a text before a colon is a name in this file."""
        count = self.counts[name]
        if self.voices or not (count > 1 or name in self.starts):
            return False
        bare = _ROLE.sub("", name)  # 'Sam Lee (Head of Sales, Berlin)' looks like a name if 'Sam Lee' does
        if len(bare.split()) > USUAL_WORDS and count < 2 and not any(map(str.islower, bare)):
            return False  # capitals, or a script without case, do not tell a title from a sentence
        return is_name(bare, count, self.lower)

    @cached_property
    def accepted(self) -> list[str]:
        """The names before colons; read it only after the first reading."""
        return [name for name in self.counts if self.accepts(name)]

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys (`name_key`) of `accepted`."""
        return frozenset(map(name_key, self.accepted))

    def accepts_in_brackets(self, name: str) -> bool:
        """Whether a text in brackets before speech is a name: '(BEN) No!' where 'BEN:' occurs too, not '(LAUGHS)'."""
        return _NUMBERED_SPEAKER.fullmatch(name) is not None or name_key(name) in self.keys


def read_captions(stream: BinaryIO, cues: Callable[[BinaryIO], Iterator[Cue]] | None = None) -> Iterator[Read]:
    """Turns of a file of subtitles; LineError where a block is no cue, or nobody has been named yet.

    cues: the function that reads the cues; None: `read_cues`.
    """
    cues = cues or read_cues
    names = _survey(cues(stream))
    stream.seek(0)
    voices = _counted(_voices(cues(stream), names), names)
    if names.falls:
        told = "this cue is shown before the one above it: turns are taken in the order of the file, not of times"
        yield Remark(f"warning: line {names.falls}: {told}")
    if names.rolling:
        yield Remark("read as automatic captions, which show a line again: repeated lines are one, up to the next name")
        voices = _joined(voices)
    speech = [] if names.voices else [name for name, _ in names.counts.most_common() if not names.accepts(name)]
    if speech:
        yield Remark(f"before a colon, and taken for speech: {_some(speech)}")
    if doubtful := [name for name in names.accepted if may_be_sound(name)]:
        yield Remark(f"before a colon, and taken for speakers, though perhaps sounds: {_some(doubtful)}")
    sounds = [name for name, count in names.brackets.most_common() if count and not names.accepts_in_brackets(name)]
    if sounds and not names.voices:
        yield Remark(f"in brackets, and taken for no names, as none stands before a colon: {_some(sounds, shown=5)}")
    speaker = None
    for one in voices:
        if not isinstance(one, Voice):
            yield one
            continue
        speaker = one.name or speaker
        if not one.text:
            continue
        if speaker is None:
            raise LineError(
                one.line,
                "nobody has been named yet, allowed are '<v Name>text' and 'Name: text': name who speaks here, or "
                "let a tool that tells speakers apart make the file (WhisperX with --diarize)",
            )
        yield ReadTurn(0, None, speaker, one.text, one.line)


def _some(names: list[str], shown: int = 2) -> str:
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(repr(name[:60]) for name in names[:shown]) + more


def _survey(cues: Iterable[Cue]) -> Names:
    """The first reading of a file, see `Names`."""
    names, cued, rolled, before, first, begin = Names(), 0, 0, [], "", 0.0
    voice = None
    for cue in cues:
        cued += 1
        names.falls = names.falls or cue.line * (cue.begin is not None and cue.begin < begin)
        begin = begin if cue.begin is None else cue.begin
        names.voices |= cue.speaker is not None
        begins, ends = _voices_of(cue)
        is_others, voice = begins not in (None, voice), ends
        lines = []
        for _, line in cue.lines:
            if "<" in line:
                names.voices |= _VOICE.search(line) is not None
                names.rolling |= _WORD_TIME.search(line) is not None
            lines.append(_plain(line))
            found, name = _find_name(lines[-1]) if lines[-1] not in before else (None, "")
            if found and len(name) <= LONGEST_NAME and (name in names.counts or len(names.counts) < MOST_NAMES):
                names.counts[name] += 1
                first = first or name
                if not any(lines[:-1]) or not found[0].startswith(name):  # after a dash too
                    names.starts.add(name)
            _note_bracketed(lines[-1], names)
        lines = [line for line in lines if line]
        rolled += cue.seconds <= SHORT_CUE or (bool(lines) and lines[:1] == before[-1:] and not is_others)
        before = lines
    names.rolling |= cued > 3 and rolled * 2 > cued
    repeated = (name for name, count in names.counts.items() if count > 1 or name == first)
    names.lower = any(name[0].islower() and is_name(name, 2) for name in repeated)
    return names


def _voices_of(cue: Cue) -> tuple[str | None, str | None]:
    """(first speaker, last speaker) of a cue, by its name or tags; None: they do not tell."""
    said = [line for _, line in cue.lines if line.strip()] or [""]
    tags = [found[1] for line in said if "<" in line for found in _VOICE.finditer(line)]
    begins = _VOICE.search(said[0])
    return cue.speaker or (begins and begins[1]), cue.speaker or (tags[-1] if tags else None)


def _find_name(plain: str) -> tuple[re.Match[str] | None, str]:
    """(match, text before the colon) of a line that may begin with a name; (None, "") for other lines."""
    named = _NAMED_LINE.fullmatch(without_aside_before(plain))
    return named, without_aside(named["inner"] or named["round"] or named["name"]) if named else ""


def _note_bracketed(line: str, names: Names) -> None:
    found = _BRACKETED_LINE.fullmatch(line)
    if not found or len(names.brackets) >= MOST_NAMES or _SOUND.fullmatch(found["text"]):
        return
    if found["text"] or not is_sound(found["name"]):
        names.brackets[found["name"]] += is_name(found["name"], 1)


@dataclass(frozen=True)
class Voice:
    """The speech of one person in a cue. name: None where the cue does not tell."""

    line: int
    name: str | None
    text: str


def _voices(cues: Iterable[Cue], names: Names) -> Iterator[Voice | LeftOut | Remark]:
    shown: list[str] = []
    for cue in cues:
        lines = [(number, line) for number, line in cue.lines if _plain(line)]
        if names.rolling:
            plain = [_plain(line) for _, line in lines]
            known = max(k for k in range(len(plain) + 1) if not k or plain[:k] == shown[-k:])
            shown, lines = plain, lines[known:]
        yield from _voices_of_cue(cue.speaker, lines, names)


def _voices_of_cue(name: str | None, lines: list[tuple[int, str]], names: Names) -> Iterator[Voice | LeftOut | Remark]:
    spoken, last, people, unnamed = [], 0, 0, False
    for number, line in lines:
        for new_name, text in _pieces(number, line, names):
            dashed = not new_name and _DASH.match(text) is not None
            people += dashed or bool(new_name) or not people
            if new_name:
                yield from _said(last, name, " ".join(spoken))
                name, spoken = new_name, []
            elif dashed:
                unnamed, text = True, _DASH.sub("", text, count=1)
            spoken += [text] if text else []
            last = number
    if unnamed and people > 1:
        yield Remark("where two people speak in a cue, who is not named there is taken for whoever spoke last")
    yield from _said(last, name, " ".join(spoken))


def _said(line: int, name: str | None, text: str) -> Iterator[Voice | LeftOut]:
    if text and _SOUND.fullmatch(text):
        yield LeftOut(SOUNDS, line)
        text = ""
    yield Voice(line, name, text)


def _pieces(number: int, line: str, names: Names) -> Iterator[tuple[str | None, str]]:
    """(name if one is given, text) of each part of a line."""
    before, *voices = _VOICE.split(line)
    if voices:
        yield None, _plain(before)
        for name, text in zip(voices[::2], voices[1::2], strict=True):
            yield _plain(name), _plain(text)
        return
    plain = _plain(line)
    named, name = _find_name(plain)
    bracketed = _BRACKETED_LINE.fullmatch(plain)
    if bracketed and names.accepts_in_brackets(bracketed["name"]):
        yield bracketed["name"], bracketed["text"]
    elif named and names.accepts(name):
        yield name, named["text"]
    elif plain.startswith(">>") and not names.voices:
        told = "'>>' says that somebody else speaks, and not who, allowed is '>> Name: text'"
        raise LineError(number, f"{told}: write the names, or '>>' away where the same person goes on")
    else:
        yield None, plain


def _counted(voices: Iterable[Voice | LeftOut | Remark], names: Names) -> Iterator[Voice | LeftOut | Remark]:
    """Passes voices on; warns when hardly any cue is named, or many are not and no name is before a colon twice."""
    spoken, nameless = 0, 0
    for one in voices:
        if isinstance(one, Voice) and (one.name or one.text):
            spoken, nameless = spoken + 1, nameless + (one.name is None)
        yield one
    once = len(names.keys) == sum(names.counts[name] for name in names.accepted)
    few = nameless > MOST_NAMELESS * spoken and not names.rolling
    if names.accepted and (few or (once and nameless * 2 >= spoken)):
        yield Remark(
            f"warning: cues that name nobody ({nameless:,}) are given to whoever was named last; before a colon, and "
            f"taken for names: {_some(names.accepted)}",
            of_file=True,
        )


def _joined(voices: Iterable[Voice | LeftOut | Remark]) -> Iterator[Voice | LeftOut | Remark]:
    """Joins consecutive voices of one person, up to about `ROLLING_TURN` characters."""
    waiting = None
    for one in voices:
        if not isinstance(one, Voice):
            yield one
        elif waiting is None or one.name or len(waiting.text) > ROLLING_TURN:
            if waiting is not None:
                yield waiting
            waiting = one
        elif one.text:
            waiting = Voice(one.line, waiting.name, f"{waiting.text} {one.text}".strip())
    if waiting is not None:
        yield waiting


def _plain(text: str) -> str:
    return unescape(_TAG.sub("", text) if "<" in text or "{" in text else text).strip()
