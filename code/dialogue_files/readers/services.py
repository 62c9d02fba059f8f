"""Reads transcripts in JSON by services of speech recognition; a table says where each has speaker, text and time.

A file is one dialogue, and is held in memory. An utterance of the service is a turn; where it has only words, those of
one speaker in a row are one. Speech on several channels is sorted by time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, islice
from typing import Any, BinaryIO, NamedTuple

from dialogue_files.readers.chat_exports import UNNAMED
from dialogue_files.readers.json_dialogues import is_labelled, shown
from dialogue_files.readers.json_stream import LARGEST_VALUE, MOST_ELEMENTS, TOO_LARGE, Element, stream_json
from dialogue_files.report import EMPTY, LeftOut, Remark
from dialogue_files.turns import LONGEST_UTTERANCE, WITHOUT_BLANKS, LineError, Read, ReadTurn

MARKS = "sounds, marks and translations"


class ServiceLayout(NamedTuple):
    """The places of speaker, text and time in the JSON of a service.

    A path is keys joined by dots: `*` means each item of a list, a number the item at that index. Of several paths,
    separated by blanks, the first that exists counts.

    units: path to each utterance or word. text, time: paths in a unit. speaker, channel: paths in a unit, or in what is
    around it; `channels#` is the index in the list `channels`. glue: text between words; None: units are utterances.
    sign: paths that must exist, in a unit or around it. labels: (path to speakers that are listed apart from the words,
    path of the time in one); they belong to the words of the same time. repeats: the last list may repeat all others.
    """

    service: str
    units: str
    text: str
    speaker: str
    time: str = "start"
    channel: str = ""
    glue: str | None = None
    sign: str = ""
    labels: tuple[str, str] = ("", "")
    repeats: bool = False


_AWS = "speaker_label", "start_time", "channel_label"
_AWS_LABELS = "results.speaker_labels.segments.*.items.*", "start_time"
_GOOGLE, _GOOGLE_TIME = "Google or NVIDIA Riva", "startTime startOffset start_time start_offset"
_GOOGLE_SPEAKER, _GOOGLE_CHANNEL = "speakerTag speakerLabel speaker_tag speaker_label", "channelTag channel_tag"
_BEST, _SAYS = "results.*.alternatives.0", "alternatives.0.content"
_DEEPGRAM_WORDS, _CALL_TIME = "results.channels.*.alternatives.0.words.*", "BeginOffsetMillis"
_RECALL_TIME, _RECALL_NAMES = "start_timestamp.relative", "participant.name participant.id"
_SYMBL_NAMES = "from.name from.email from.userId from.id"
# Of each service the most telling layout comes first: utterances, then words, then what names no speaker.
LAYOUTS = (
    ServiceLayout("Amazon Transcribe", "results.audio_segments.*", "transcript", *_AWS),
    ServiceLayout("Amazon Transcribe", "results.items.*", _SAYS, *_AWS, " ", "", _AWS_LABELS),
    ServiceLayout("Amazon Transcribe", "results.channel_labels.channels.*.items.*", _SAYS, *_AWS, " "),
    ServiceLayout(
        "Amazon Transcribe", "Transcript.*", "Content", "ParticipantRole ParticipantId", _CALL_TIME, sign=_CALL_TIME
    ),
    ServiceLayout("Deepgram", "results.utterances.*", "transcript", "speaker", "start", "channel"),
    ServiceLayout("Deepgram", _DEEPGRAM_WORDS, "punctuated_word word", "speaker", "start", "channels#", " "),
    ServiceLayout(
        _GOOGLE, f"{_BEST}.words.*", "word", _GOOGLE_SPEAKER, _GOOGLE_TIME, _GOOGLE_CHANNEL, " ", repeats=True
    ),
    ServiceLayout(
        "IBM Watson", f"{_BEST}.timestamps.*", "0", "speaker", "1", "", " ", "", ("speaker_labels.*", "from")
    ),
    ServiceLayout(_GOOGLE, _BEST, "transcript", _GOOGLE_SPEAKER, "", _GOOGLE_CHANNEL),
    ServiceLayout(
        "Azure", "recognizedPhrases.*", "nBest.0.display", "speaker", "offsetInTicks offsetMilliseconds", "channel"
    ),
    ServiceLayout("Azure", "phrases.*", "text", "speaker", "offsetMilliseconds", "channel", None, "offsetMilliseconds"),
    ServiceLayout("Rev.ai", "monologues.*.elements.*", "value", "speaker", "ts", "", ""),
    ServiceLayout("Speechmatics", "results.*", _SAYS, "alternatives.0.speaker", "start_time", "channel", " "),
    ServiceLayout("Gladia", "transcription.utterances.*", "text", "speaker", "start", "channel"),
    ServiceLayout("AssemblyAI", "sentences.*", "text", "speaker", sign="words confidence"),
    ServiceLayout("ElevenLabs", "words.*", "text", "speaker_id", glue="", sign="type speaker_id"),
    ServiceLayout("ElevenLabs", "transcripts.*.words.*", "text", "speaker_id", "start", "channel_index", "", "type"),
    ServiceLayout("Soniox", "tokens.*", "text", "speaker", "start_ms", "", "", "start_ms"),
    ServiceLayout("Symbl.ai", "messages.*", "text", _SYMBL_NAMES, "timeOffset", sign="from.id conversationId"),
    ServiceLayout("Fireflies", "transcript.sentences.*", "text raw_text", "speaker_name speaker_id", "start_time"),
    ServiceLayout(
        "Fireflies", "sentences.*", "text raw_text", "speaker_name speaker_id", "start_time", sign="speaker_name"
    ),
    ServiceLayout("Sonix", "transcript.*", "text", "speaker", "start_time", sign="speaker start_time"),
    ServiceLayout("Webex", "items.*", "text", "personName personEmail", "offsetMillisecond", sign="personName"),
    ServiceLayout("Teams", "entries.*", "text", "speakerDisplayName speakerId", "", sign="speakerDisplayName"),
    ServiceLayout("Read.ai", "transcript.speaker_blocks.*", "words", "speaker.name", "start_time"),
    ServiceLayout("Recall.ai", ".*.words.*", "text", _RECALL_NAMES, _RECALL_TIME, glue=" ", sign="participant.id"),
    ServiceLayout("pyannoteAI", "turnLevelTranscription.*", "text", "speaker"),
    ServiceLayout("Insanely Fast Whisper", "speakers.*", "text", "speaker", "timestamp.0", sign="timestamp speaker"),
    ServiceLayout("Mistral", "segments.*", "text", "speaker speaker_id", sign="speaker_id start"),
    ServiceLayout("NVIDIA NeMo", "sentences.*", "sentence text", "speaker_label", "start_time", sign="speaker_label"),
    ServiceLayout("NVIDIA NeMo", "words.*", "word", "speaker_label", "start_time", "", " ", "speaker_label"),
)
SERVICES = tuple(dict.fromkeys(one.service for one in LAYOUTS))
_WRAPPERS = ("data", "result", "response", "output", "payload")  # keys under which some programs put the whole JSON
_UNKNOWN = "UU"  # Speechmatics' speaker where it could not tell
_NOT_SAID = (("type", "audio_event"), ("translation_status", "translation"))
_MARK = re.compile(r"\s*(?:<\w+>|%HESITATION)\s*")  # Soniox's ends of speech, words that Rev.ai and Watson did not get
_TIME = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)s?")
_BARE = re.compile(f"[{WITHOUT_BLANKS}\u3001\u3002\uff01-\uff0f\uff1a-\uff20]")  # and full-width punctuation
_LATEST = 1e18


@dataclass
class Unit:
    """An utterance or a word.

    time: None where it has none. within: place of the list that it is an item of. attached: the neighbours from which
    no blank separates it: "previous", "next", "both", None. line: where it ends in the file, from 1.
    """

    speaker: str | None
    channel: str | None
    text: str
    time: float | None
    within: tuple
    attached: str | None
    line: int


class Document(NamedTuple):
    """A file, or a part of it. values: key -> value; "" for a file that is an array.

    lines: key -> the line where its value ends; for a list, of each item.
    """

    values: dict[str, Any]
    lines: dict[str, int | list[int]]


def is_service(elements: Iterator[Element]) -> bool:
    """Whether a file is by one of `SERVICES`, by its elements up to what is no JSON.

    One element is held at a time. A file with emotions is a corpus, and not by a service.
    """
    try:
        return any(map(_begins_service, islice(elements, MOST_ELEMENTS)))
    except LineError:
        return False


def _begins_service(element: Element) -> bool:
    document = Document({}, {})
    _add(document, element)
    return any(_lies_in(document, layout) for layout in LAYOUTS)


def read_services(stream: BinaryIO) -> Iterator[Read]:
    """Turns of a transcript; speech before the first speaker is named is left out.

    LineError where no service of the table fits, or no speaker is named.
    """
    document, size = Document({}, {}), 0
    for element in stream_json(stream):
        size += len(element.text)
        if size > LARGEST_VALUE:
            raise LineError(element.line, f"too large for a service's transcript{TOO_LARGE}")
        _add(document, element)
    found = [layout for layout in LAYOUTS if _lies_in(document, layout)]
    if not found:
        raise LineError(
            1, f"nothing in it stands where a service writes what is said, allowed are {', '.join(SERVICES)}"
        )
    for layout in found:
        notes: list[Read] = []
        units = list(_units(document, layout, notes))
        if any(one.speaker is not None for one in units):
            yield Remark(f"taken for a transcript by {layout.service}")
            yield from notes
            yield from _turns(units, layout)
            return
    raise LineError(
        min((one.line for one in units), default=1),
        f"nobody is named in this transcript by {found[0].service}, allowed is one with speakers: have the service "
        "tell them apart (diarization)",
    )


def _add(document: Document, element: Element) -> None:
    key = element.key or ""
    if element.listed or element.key is None:
        if not isinstance(document.lines.get(key), list):
            document.values[key], document.lines[key] = [], []
        document.values[key].append(element.value)
        document.lines[key].append(element.line)
    else:
        document.values[key], document.lines[key] = element.value, element.line


def _lies_in(document: Document, layout: ServiceLayout) -> bool:
    """Whether a file has a unit with the text and sign of a layout, which is no utterance of a corpus."""
    return any(
        isinstance(_first(chain[-1:], layout.text), str)
        and all(_has(chain, key) for key in layout.sign.split())
        and not is_labelled(chain[-1])
        for chain, _ in _chains(document, layout.units)
    )


def _has(chain: Sequence[Any], path: str) -> bool:
    *steps, key = _steps(path)
    inner = (_at(one, steps) for one in chain[1:])
    return any(isinstance(one, dict) and key in one for one in inner)


def _chains(document: Document, path: str) -> Iterator[tuple[tuple, tuple]]:
    """([objects around it, ..., value], place) of each value that a path leads to, also below a key of `_WRAPPERS`."""
    root: Any = document.values
    place: tuple = ()
    while isinstance(root, dict):
        yield from _walk((root,), _steps(path), place)
        wrapper = next((key for key in _WRAPPERS if isinstance(root.get(key), dict)), None)
        root, place = root.get(wrapper), (*place, wrapper)


def _walk(chain: tuple, steps: tuple[str, ...], place: tuple) -> Iterator[tuple[tuple, tuple]]:
    if not steps:
        yield chain, place
    elif steps[0] != "*":
        value = _at(chain[-1], steps[:1])
        if value is not None:
            yield from _walk((*chain, value), steps[1:], (*place, steps[0]))
    elif isinstance(chain[-1], list):
        for number, one in enumerate(chain[-1]):
            yield from _walk((*chain, {f"{place[-1]}#": number}, one), steps[1:], (*place, number))


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _at(value: Any, steps: Sequence[str]) -> Any:
    """The value that steps lead to; None: there is none."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _first(chain: Sequence[Any], paths: str) -> Any:
    """The value of the first path that exists, in the unit or else in the objects around it; None: there is none."""
    for path in paths.split():
        for one in reversed(chain):
            value = _at(one, _steps(path))
            if value is not None and value != "":
                return value
    return None


def _units(document: Document, layout: ServiceLayout, notes: list[Read]) -> Iterator[Unit]:
    """The units of a layout, in the order of the file. notes: what is left out is appended.

    Their speakers are those that the file names, or else the channels, where there are several.
    """
    labels = _labels(document, layout)
    read = [_unit(document, layout, labels, *found, notes) for found in _chains(document, layout.units)]
    units = [one for one in read if one is not None]
    channels = {one.channel for one in units} - {None}
    for one in _without_repeated(units) if layout.repeats else units:
        parts = [part for part in (one.channel if len(channels) > 1 else None, one.speaker) if part is not None]
        yield replace(one, speaker="/".join(parts) or None)


def _labels(document: Document, layout: ServiceLayout) -> Mapping[float, str]:
    """Time -> speaker, where speakers are listed apart from the words."""
    path, time = layout.labels
    found = {}
    for chain, place in _chains(document, path) if path else ():
        moment = _time(_first(chain[-1:], time))
        if moment is not None:
            found[moment] = _name(_first(chain, layout.speaker), "speaker", document, place)
    return found


def _unit(
    document: Document, layout: ServiceLayout, labels: Mapping, chain: tuple, place: tuple, notes: list[Read]
) -> Unit | None:
    unit, line = chain[-1], _line(document, place)
    text = _first(chain[-1:], layout.text)
    if text is None:
        notes.append(LeftOut(EMPTY, line))
        return None
    if not isinstance(text, str):
        raise LineError(line, f"{_told(place)} has the text {shown(text)}, allowed is a text")
    known = unit if isinstance(unit, dict) else {}
    if _MARK.fullmatch(text) or any(known.get(key) == value for key, value in _NOT_SAID):
        notes.append(LeftOut(MARKS, line))
        return None
    time = _time(_first(chain[-1:], layout.time))
    speaker = _name(_first(chain, layout.speaker), "speaker", document, place) or labels.get(time)
    channel = _name(_first(chain, layout.channel), "channel", document, place)
    attached = known.get("attaches_to", "previous" if known.get("type") == "punctuation" else None)
    return Unit(speaker, channel, text, time, place[:-1], attached, line)


def _name(value: Any, what: str, document: Document, place: tuple) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None or value.strip() in ("", _UNKNOWN) else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise LineError(
            _line(document, place), f"{_told(place)} has the {what} {shown(value)}, allowed are names and numbers"
        )
    return f"channel {value}" if what == "channel" else str(value)


def _line(document: Document, place: tuple) -> int:
    line = document.lines[place[0]]
    return line[place[1]] if isinstance(line, list) else line


def _told(place: tuple) -> str:
    """'results.items[3]'."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place).lstrip(".")


def _time(value: Any) -> float | None:
    """A time as a number, from a number or a text such as '4.87' or '4.870s'; None: it is no time."""
    if isinstance(value, str) and (found := _TIME.fullmatch(value)):
        return float(found[1])
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LATEST else None


def _without_repeated(units: list[Unit]) -> list[Unit]:
    """The units of the last list alone, where it says all of the others again; else all.

    It does where it is the longest and begins as early as they do; without times, where it alone names speakers.
    """
    lists = [list(one) for _, one in groupby(units, key=lambda one: one.within)]
    if len(lists) < 2 or len({one.channel for one in units}) > 1:
        return units
    last, before = lists[-1], units[: -len(lists[-1])]
    if before[0].time is not None and last[0].time is not None:
        is_longest = len(last) >= max(map(len, lists))
        return last if is_longest and last[0].time <= before[0].time else units
    named = [any(one.speaker not in (None, "0") for one in part) for part in (before, last)]
    return last if named == [False, True] and len(last) >= len(before) else units


def _turns(units: list[Unit], layout: ServiceLayout) -> Iterator[Read]:
    """The turns in the order of their times; a unit without a time or speaker has those of the one before."""
    speaker, time = None, 0.0
    for one in units:
        one.speaker = speaker = speaker if one.speaker is None else one.speaker
        one.time = time = time if one.time is None else one.time
    units.sort(key=lambda one: one.time)
    groups = ([one] for one in units)
    if layout.glue is not None:
        groups = (list(group) for _, group in groupby(units, key=lambda one: one.speaker))
    for group in groups:
        if group[0].speaker is None:
            yield LeftOut(UNNAMED, group[0].line)
        else:
            yield from _joined(group, layout.glue)


def _joined(units: list[Unit], glue: str | None) -> Iterator[Read]:
    """One turn from units of one speaker; several, where it would be too long."""
    said, length, before = [], 0, None
    for one in units:
        if before is not None and length + len(one.text) >= LONGEST_UTTERANCE:
            yield ReadTurn(0, None, before.speaker, "".join(said), before.line)
            yield Remark(
                f"what one speaker says in more than {LONGEST_UTTERANCE:,} characters is taken as several turns"
            )
            said, length, before = [], 0, None
        blank = "" if before is None else _between(before, one, glue)
        said += blank, one.text
        length, before = length + len(blank) + len(one.text), one
    yield ReadTurn(0, None, before.speaker, "".join(said), before.line)


def _between(first: Unit, second: Unit, glue: str | None) -> str:
    """The text between two words of one speaker: `glue`, but a blank between words of two lists."""
    if first.attached in ("next", "both") or second.attached in ("previous", "both"):
        return ""
    if _BARE.fullmatch(first.text[-1:]) and _BARE.fullmatch(second.text[:1]):
        return ""
    has_blank = first.text[-1:].isspace() or second.text[:1].isspace()
    return glue or " " * (first.within != second.within and not has_blank)
