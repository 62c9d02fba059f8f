"""The table of services: each of its rows, and each name in it, has an example."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialogue_files.readers import services
from dialogue_files.readers.services import LAYOUTS, SERVICES, is_service, read_services
from dialogue_files.reading import find_format
from dialogue_files.turns import ReadTurn

FILES = Path(__file__).parents[1] / "files"
READ = [path for path in sorted(FILES.glob("services*.json")) if "alone" not in path.name]


def turns(content: Any) -> list[tuple[str, str]]:
    found = read_services(io.BytesIO(json.dumps(content).encode()))
    return [(one.speaker, one.text) for one in found if isinstance(one, ReadTurn)]


def test_each_service_has_an_example_that_is_found() -> None:
    answers = yaml.safe_load((FILES / "answers.yaml").read_text(encoding="utf-8"))
    told = {line for path in READ for line in answers[path.name]["said"]}
    assert told == {f"taken for a transcript by {name}" for name in SERVICES}
    assert {find_format(path) for path in READ} == {"services"}


def put(value: Any, steps: list[str], inner: Any) -> Any:
    """A value with another one where steps of a path lead to."""
    if not steps:
        return inner
    if steps[0] in ("*", "0"):
        return [put(value[0] if value else None, steps[1:], inner)]
    return (value or {}) | {steps[0]: put((value or {}).get(steps[0]), steps[1:], inner)}


# Words of Watson are lists, which its example has.
@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.text != "0"], ids=lambda one: one.units)
def test_each_row_reads_what_it_says(layout: services.ServiceLayout) -> None:
    unit: Any = None
    for paths, value in ((layout.sign, "1"), (layout.time, 1), (layout.text, "Hi"), (layout.speaker, "Ann")):
        for path in paths.split()[: None if paths == layout.sign else 1]:
            unit = put(unit, path.split("."), value)
    root, *steps = layout.units.split(".")
    content = put(None, [root, *steps] if root else steps, unit)
    assert is_service(services.stream_json(io.BytesIO(json.dumps(content).encode())))
    assert turns(content) == [("Ann", "Hi")]


def google_words(*words: tuple[str, dict]) -> dict:
    return {"results": [{"alternatives": [{"words": [{"word": text} | more for text, more in words]}]}]}


# What the examples in files/ do not have. The last utterance comes first, where a service writes times.
OTHER_NAMES = {
    "Amazon Transcribe, segments of channels": {"results": {"audio_segments": [
        {"transcript": "b", "start_time": "1", "channel_label": "ch_1"},
        {"transcript": "a", "start_time": "0", "channel_label": "ch_0"},
    ]}},
    "Amazon Transcribe, a call without roles": {"Transcript": [
        {"Content": "b", "ParticipantId": "2", "BeginOffsetMillis": 10},
        {"Content": "a", "ParticipantId": "1", "BeginOffsetMillis": 9},
    ]},
    "Google, from Python": google_words(
        ("b", {"speaker_tag": 2, "start_time": "1.5s", "channel_tag": 1}),
        ("a", {"speaker_tag": 1, "start_time": "1.4s", "channel_tag": 1}),
    ),
    "Google, version 2, from Python": google_words(
        ("b", {"speaker_label": "2", "start_offset": "10s"}), ("a", {"speaker_label": "1", "start_offset": "9s"})
    ),
    "Azure, phrases of channels": {"phrases": [
        {"text": "b", "channel": 1, "offsetMilliseconds": 10}, {"text": "a", "channel": 0, "offsetMilliseconds": 9}
    ]},
    "Azure, batches without ticks": {"recognizedPhrases": [
        {"nBest": [{"display": "b"}], "speaker": 2, "offsetMilliseconds": 10},
        {"nBest": [{"display": "a"}], "speaker": 1, "offsetMilliseconds": 9},
    ]},
    "Speechmatics, channels": {"results": [
        {"alternatives": [{"content": "b", "speaker": "UU"}], "channel": "right", "start_time": 1},
        {"alternatives": [{"content": "a", "speaker": "UU"}], "channel": "left", "start_time": 0},
    ]},
    "ElevenLabs, channels": {"transcripts": [
        {"channel_index": 1, "words": [{"text": "b", "type": "word", "start": 1, "speaker_id": "s"}]},
        {"channel_index": 0, "words": [{"text": "a", "type": "word", "start": 0, "speaker_id": "s"}]},
    ]},
    "Symbl.ai, users": {"messages": [
        {"text": "b", "from": {"id": "x", "userId": "2"}, "conversationId": "1", "timeOffset": 1},
        {"text": "a", "from": {"id": "x", "userId": "1"}, "conversationId": "1", "timeOffset": 0},
    ]},
    "Fireflies, sentences alone": {"sentences": [
        {"raw_text": "b", "text": None, "speaker_name": None, "speaker_id": 2, "start_time": 1},
        {"raw_text": "x", "text": "a", "speaker_name": "Ann", "speaker_id": 1, "start_time": 0},
    ]},
    "Mistral, speakers by name": {"segments": [
        {"text": "b", "speaker": "B", "speaker_id": None, "start": 1},
        {"text": "a", "speaker": "A", "speaker_id": "1", "start": 0},
    ]},
    "NVIDIA NeMo, sentences": {"sentences": [
        {"text": "b", "speaker_label": "2", "start_time": 1}, {"text": "a", "speaker_label": "1", "start_time": 0}
    ]},
}  # fmt: skip


@pytest.mark.parametrize("content", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_services_have_more_names_for_the_same(content: dict) -> None:
    (one, first), (other, second) = turns(content)
    assert (first, second) == ("a", "b") and one != other


def documents() -> Iterator[services.Document]:
    """All examples."""
    for path in READ:
        yield document(path.read_bytes())
    for content in OTHER_NAMES.values():
        yield document(json.dumps(content).encode())


def document(written: bytes) -> services.Document:
    found = services.Document({}, {})
    for element in services.stream_json(io.BytesIO(written)):
        services._add(found, element)
    return found


def has_value(chain: tuple, path: str) -> bool:
    return services._first(chain, path) is not None


def test_every_name_in_the_table_is_in_an_example() -> None:
    """In a list of units of the service, or of its labels: what has no example may be a slip of the pen."""
    told, found = set(), set()
    examples = list(documents())
    for layout in LAYOUTS:
        lists = {layout.units: (layout.text, layout.speaker, layout.time, layout.channel, layout.sign)}
        lists |= {layout.labels[0]: (layout.speaker, layout.labels[1])} if layout.labels[0] else {}
        for units, names in lists.items():
            paths = {path for one in names for path in one.split()}
            chains = [chain for one in examples for chain, _ in services._chains(one, units)]
            told |= {(layout.service, path) for path in paths} | {(layout.service, units)}
            found |= {(layout.service, units)} if chains else set()
            found |= {(layout.service, path) for path in paths if any(has_value(one, path) for one in chains)}
    assert told - found == set()


def test_words_are_joined_as_the_service_divides_them() -> None:
    tokens = [{"text": text, "speaker": "1", "start_ms": place} for place, text in enumerate(("Hel", "lo", " you"))]
    assert turns({"tokens": tokens}) == [("1", "Hello you")]
    words = [{"word": text, "speaker_label": "1", "start_time": place} for place, text in enumerate(("Hello", "you"))]
    assert turns({"words": words}) == [("1", "Hello you")]
    words = [{"text": text, "type": "word", "start": place} for place, text in enumerate(("Hello", " ", "you"))]
    both = [
        {"channel_index": 0, "words": words},
        {"channel_index": 1, "words": [{"text": "No", "type": "word", "start": 9}]},
    ]
    assert turns({"transcripts": both}) == [("channel 0", "Hello you"), ("channel 1", "No")]
