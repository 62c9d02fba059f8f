"""Dialogues in JSON and JSON Lines: any layout that has utterances with a speaker and a text.

A value is an utterance (`{"speaker": "Ann", "text": "Hi."}`, with a key for its dialogue if there are several), a
list of utterances, which are of one dialogue where they name no several, or an object that holds such a list and
perhaps an id. A file is an array of values, one dialogue, or an object of dialogues by name or of a list of them.
Messages of chat models are such utterances; what the role of the system or of a tool says is nobody's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from dialogue_files.readers.json_stream import (
    MOST_KEYS,
    Element,
    Outline,
    decode_json_line,
    outline_of,
    stream_json,
    stream_json_lines,
)
from dialogue_files.readers.tables import (
    NOBODY,
    PROMPTS,
    SPLIT_WORDS,
    SYNONYMS,
    PartCounter,
    find_name,
    find_role,
    fold_name,
    splits_said,
)
from dialogue_files.report import LeftOut, SplitSaid
from dialogue_files.turns import LineError, Read, ReadTurn

TURN_LISTS = ("utterances", "turns", "messages", "conversation", "conversations", "dialogue", "dialog", "lines")
DIALOGUE_LISTS = ("dialogues", "dialogs", "data")
FORMS = (
    "allowed are utterances (an object with speaker and text), lists of them, and objects that hold such a list "
    "under utterances, turns or messages"
)
COLUMNS = (
    "speaker and utterance are columns of many turns, allowed is an object for each turn, as pandas writes by "
    'to_json(orient="records")'
)
_NAMES_OF_SPLITS = frozenset(word for words in SPLIT_WORDS.values() for word in words)
_KEYS_OF_TURN = frozenset(name for meaning in ("speaker", "utterance", "emotion") for name in SYNONYMS[meaning])


def read_json_lines(stream: BinaryIO) -> Iterator[Read]:
    """Turns of a file with one value on each line; blank lines are skipped."""
    parts = PartCounter()
    for element in stream_json_lines(stream):
        yield from turns_of(element, parts)


class LiveJson(PartCounter):
    """Reads turns from lines of JSON that come one by one."""

    def read(self, number: int, line: str) -> Iterator[Read]:
        """The turns of a line; none of a blank one. LineError when it holds no turns."""
        if line.strip():
            yield from turns_of(decode_json_line(number, line), self)

    def end(self) -> Iterator[Read]:
        """What is left to report at the end."""
        yield from ()


def read_json(stream: BinaryIO) -> Iterator[Read]:
    """Turns of a JSON file; of an array, or of the list in an object, only one element is held at a time."""
    parts = PartCounter()
    outline = outline_of_whole(stream)
    under = _list_of(outline)
    if not outline.is_object:
        for element in stream_json(stream):
            yield from turns_of(element, parts)
    elif under in DIALOGUE_LISTS:
        for element in stream_json(stream, {under}):
            if element.listed:
                yield from turns_of(element, parts)
    elif under is not None:
        name = _name_of(outline.kinds)
        for element in stream_json(stream, {under}):
            if element.listed and not isinstance(element.value, dict) and _said(outline.kinds) == ["list", "list"]:
                raise LineError(element.line, COLUMNS)  # a list under `dialogue` is then a column as well
            if element.listed:
                name = _own_name(element.value) or name
                yield from _turn_of_element(element, parts.of_turn(name), name)
    elif is_utterance(outline.kinds):
        elements = (one for one in stream_json(stream, ()) if fold_name(one.key) in _KEYS_OF_TURN)
        yield from _turn({one.key: one.value for one in elements}, 0, None, 1)
    else:
        if _NAMES_OF_SPLITS.issuperset(map(fold_name, outline.kinds)):
            yield SplitSaid(", ".join(outline.kinds), 1)
        for element in stream_json(stream, ()):
            yield from _dialogue_of_name(element, parts)


def outline_of_whole(stream: BinaryIO) -> Outline:
    """The keys and scalar values of a file that is one object, wherever they stand; see Outline."""
    outline = Outline()
    for one in stream_json(stream):
        if one.key is None:
            return outline_of(iter([one]))
        outline.is_object = True
        if len(outline.kinds) < MOST_KEYS or one.key in outline.kinds:
            outline.kinds.setdefault(one.key, one.kind)
    return outline


def _list_of(outline: Outline) -> str | None:
    """The key whose list holds the turns or dialogues of a file that is one object; None: each key is a dialogue."""
    keys = {fold_name(key): key for key in outline.kinds}
    names = (*TURN_LISTS, *DIALOGUE_LISTS)
    return next((keys[name] for name in names if name in keys and outline.kinds[keys[name]] == "list"), None)


def _dialogue_of_name(element: Element, parts: PartCounter) -> Iterator[Read]:
    key = _turn_list(element.value) if isinstance(element.value, dict) else None
    turns = element.value if isinstance(element.value, list) else element.value[key] if key else None
    if turns is None:
        raise LineError(element.line, f"{element.key!r} is no dialogue, {FORMS}")
    if key:
        yield from splits_said({fold_name(name): name for name in element.value}, element.value, element.line)
    yield from _turns_of_list(turns, element.key, parts, element, [key] if key else [])


def turns_of(element: Element, parts: PartCounter) -> Iterator[Read]:
    """Turns of one value: an utterance, a list, or an object with a list. LineError when it is none of these."""
    value = element.value
    if isinstance(value, list):
        yield from _turns_of_list(value, None, parts, element, [])
    elif isinstance(value, dict) and (key := _turn_list(value)) is not None:
        yield from splits_said({fold_name(name): name for name in value}, value, element.line)
        yield from _turns_of_list(value[key], _name_of(value), parts, element, [key])
    elif isinstance(value, dict):
        name = _own_name(value)
        yield from _turn_of_element(element, parts.of_turn(name), name)
    else:
        raise LineError(element.line, f"holds {shown(value)}, {FORMS}")


def _name_of(value: Mapping[str, Any]) -> str | None:
    names = {fold_name(key): key for key in value if not isinstance(value[key], list) and value[key] != "list"}
    key = names.get("id", find_name("dialogue", names))
    return None if key is None or value[key] is None else str(value[key])


def _own_name(value: Any) -> str | None:
    """The name of the dialogue that an utterance has a key for; None: it has none."""
    key = find_name("dialogue", {fold_name(key): key for key in value}) if isinstance(value, dict) else None
    name = None if key is None else value[key]
    return None if name is None or isinstance(name, (list, dict)) else str(name)


class _BadValue(LineError):
    """A value of a turn is not allowed. key: of that value, by which its line is found."""

    def __init__(self, line: int, problem: str, key: str) -> None:
        super().__init__(line, problem)
        self.key = key


def _turn_of_element(element: Element, part: int, name: str | None) -> Iterator[Read]:
    try:
        yield from _turn(element.value, part, name, element.line)
    except _BadValue as error:
        raise LineError(element.line_of(error.key), error.problem) from None


def _turns_of_list(
    values: list, name: str | None, parts: PartCounter, element: Element, path: list[str]
) -> Iterator[Read]:
    """Turns of a list: one dialogue, or, where its utterances name several, each of these, as '<list>/<dialogue>'."""
    of_list, said = name, [_own_name(value) for value in values]
    are_several = len({*said} - {None}) > 1
    part = -1 if are_several else parts.of_dialogue()
    for place, (value, own, line) in enumerate(zip(values, said, element.lines(path), strict=False)):
        if are_several:
            name = name if own is None else own if of_list is None else f"{of_list}/{own}"
            part = parts.of_turn(name)
        try:
            yield from _turn(value, part, name, line)
        except LineError as error:
            of = "" if name is None else f" of dialogue {name[:60]!r}"
            exact = element.line_of(error.key, path, place) if isinstance(error, _BadValue) else error.line
            raise LineError(exact, f"{error.problem}; it is turn {place + 1} (from 1){of}") from None


def _turn(value: Any, part: int, name: str | None, line: int) -> Iterator[Read]:
    if not isinstance(value, dict):
        raise LineError(line, f"a turn is {shown(value)}, {FORMS}")
    keys = {fold_name(key): key for key in value}
    if _is_prompt(value, keys):
        yield LeftOut(PROMPTS, line)
        return
    yield from splits_said(keys, value, line)
    found = {}
    for meaning in ("speaker", "utterance"):
        key = find_name(meaning, keys)
        if key is None:
            raise LineError(line, f"a turn has no {meaning}, {FORMS}")
        if isinstance(value[key], (list, dict)) and _holds_columns(value):
            raise LineError(line, COLUMNS)
        text = plain_text(value[key], meaning)
        if text is None:
            raise _BadValue(line, f"a turn has the {meaning} {shown(value[key])}, {FORMS}", key)
        found[meaning] = text
    key = find_name("emotion", keys)
    emotion = None if key is None else value[key]
    emotion = ", ".join(map(str, emotion)) if isinstance(emotion, list) else emotion
    emotion = None if emotion is None else str(emotion)
    numbered = find_name("turn", keys)
    key = find_name("time", keys) if numbered is None else numbered
    turn = (key, str(value[key])) if key is not None and isinstance(value[key], (str, int, float)) else None
    yield ReadTurn(part, name, found["speaker"], found["utterance"], line, emotion, turn, numbered is None)


def _is_prompt(value: Mapping[str, Any], keys: Mapping[str, str]) -> bool:
    """Whether a turn is of the system or of a tool, by its speaker, or by the role of a message that has a name too."""
    speaker = find_name("speaker", keys)
    named = speaker if speaker in (keys.get("role"), keys.get("from")) else find_role(keys)
    role = None if named is None else plain_text(value[named], "speaker")
    return role is not None and role.casefold() in NOBODY


def plain_text(value: Any, meaning: str) -> str | None:
    """The text of a speaker or utterance: a string, a number as a name, or a list of names or parts of a message.

    null as an utterance is empty. None: it is something else.
    """
    if isinstance(value, str):
        return value
    if meaning == "speaker" and isinstance(value, int):
        return str(value)
    if value is None and meaning == "utterance":
        return ""
    if not isinstance(value, list):
        return None
    parts = [one if isinstance(one, str) else one.get("text", "") if isinstance(one, dict) else None for one in value]
    if not all(isinstance(part, str) for part in parts):
        return None
    return (", " if meaning == "speaker" else "").join(parts)


def _turn_list(value: Mapping[str, Any]) -> str | None:
    keys = {fold_name(key): key for key in value}
    return next((keys[name] for name in TURN_LISTS if name in keys and isinstance(value[keys[name]], list)), None)


def is_utterance(value: Mapping[str, Any]) -> bool:
    """Whether an object has a speaker and a text of its own."""
    return all(isinstance(one, (str, int)) for one in _said(value))


def is_labelled(value: Any) -> bool:
    """Whether a value is an utterance that has an emotion, or a key for one."""
    return (
        isinstance(value, dict)
        and is_utterance(value)
        and find_name("emotion", {fold_name(key): key for key in value}) is not None
    )


def _said(value: Mapping[str, Any]) -> list[Any]:
    """The values of an object for speaker and utterance, None for each that it has no key for."""
    keys = {fold_name(key): key for key in value}
    return [value.get(find_name(meaning, keys)) for meaning in ("speaker", "utterance")]


def _holds_columns(value: Mapping[str, Any]) -> bool:
    """Whether speaker and utterance are two objects or two lists: then they are columns of many turns, not one turn."""
    speakers, utterances = _said(value)
    if not isinstance(speakers, list) or not isinstance(utterances, list):
        return isinstance(speakers, dict) and isinstance(utterances, dict)
    return len(speakers) == len(utterances) > 1 and not any(isinstance(one, (dict, list)) for one in utterances)


def objects(values: Any, line: int, what: str) -> list[dict]:
    """A list of objects, checked; LineError when it holds something else, or is no list. what: for the error."""
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise LineError(line, f"{what} are {shown(values)}, allowed is a list of objects")
    return values


def shown(value: Any) -> str:
    """A value as a message names it."""
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else repr(value)[:60]
