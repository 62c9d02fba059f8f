"""Threads that share a recognizer take turns: two at one place of the program, found out without the clock."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, get_ident
from typing import Any, Self

import pytest

from chat_templates import QWEN, byte_level
from engine.batching import RowEncoder
from own_dialogues import recognizer as recognizer_module
from own_dialogues.recognizer import EmotionRecognizer

pytestmark = pytest.mark.numeric

PATIENCE = 300  # seconds, if the other never comes
DIALOGUE = [("Ann", "Great!"), ("Ben", "He died."), ("Ann", "No way!"), ("Cem", "He died."), ("Ben", "Run!")]


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")


def numbers(emotions) -> list[float]:
    return [value for one in emotions for value in one.probabilities.values()]


class Meeting:
    """Stands in for the lock of a place, and is told who is inside. The first there waits for another at the door.

    most: how many have been inside at the same time.
    """

    def __init__(self, lock: AbstractContextManager) -> None:
        self.lock, self.first, self.inside, self.most = lock, 0, set(), 0
        self.has_begun, self.other_came = Event(), Event()

    def __enter__(self) -> Self:
        self._look()
        self.lock.__enter__()
        return self

    def __exit__(self, *trouble: Any) -> None:
        self.lock.__exit__(*trouble)

    def _look(self) -> None:
        if self.first not in (0, get_ident()):
            self.other_came.set()

    @contextmanager
    def within(self) -> Iterator[None]:
        """Around what is done at the place."""
        self.inside.add(get_ident())
        self.most = max(self.most, len(self.inside))
        self._look()
        if not self.first:
            self.first = get_ident()
            self.has_begun.set()
            assert self.other_came.wait(PATIENCE)
        try:
            yield
        finally:
            self.inside.discard(get_ident())

    def around(self, work: Callable) -> Callable:
        """The same work, known to be done at the place."""

        def done(*given: Any, **named: Any) -> Any:
            with self.within():
                return work(*given, **named)

        return done

    def of(self, first: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
        """What both answer; the other begins once the first is inside."""
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            assert self.has_begun.wait(PATIENCE)
            return pool.submit(other).result(), one.result()


@pytest.mark.parametrize("place", ["model", "_asked"])
def test_threads_that_share_a_recognizer_take_turns(
    recognizer: EmotionRecognizer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """One would compute its last layer where the other reads it, or in weights that a check has widened."""
    wanted = recognizer.predict(DIALOGUE), recognizer.predict(DIALOGUE[::-1]), recognizer.seen_prompts(DIALOGUE)
    meeting = Meeting(recognizer.lock)
    monkeypatch.setattr(recognizer, "lock", meeting)
    if place == "model":
        monkeypatch.setattr(recognizer.model, "forward", meeting.around(recognizer.model.forward))
        other, found = meeting.of(lambda: recognizer.predict(DIALOGUE), lambda: recognizer.predict(DIALOGUE[::-1]))
        assert numbers(found) == pytest.approx(numbers(wanted[0]), abs=1e-4)
        assert numbers(other) == pytest.approx(numbers(wanted[1]), abs=1e-4)
    else:  # the encoder of demonstrations, too
        monkeypatch.setattr(recognizer, "_asked", meeting.around(recognizer._asked))
        other, _ = meeting.of(lambda: recognizer.predict(DIALOGUE), lambda: recognizer.seen_prompts(DIALOGUE))
        assert other == wanted[2]
    assert meeting.most == 1


def test_recognizers_are_loaded_one_at_a_time(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the libraries set while they load, and set back, is the process's."""
    meeting = Meeting(recognizer_module.LOADING)
    monkeypatch.setattr(recognizer_module, "LOADING", meeting)
    monkeypatch.setattr(recognizer_module, "load_model", meeting.around(recognizer_module.load_model))

    def load() -> EmotionRecognizer:
        return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")

    one, other = meeting.of(load, load)
    assert meeting.most == 1 and type(one.model) is type(other.model)


def test_threads_that_share_an_encoder_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer reads marks in a text as the last call told it: those of the frame count, those of a label not."""
    encoder = RowEncoder(byte_level(QWEN), 1000, chat=True)
    wanted = encoder.encode_prompts(["the cat"]), encoder.encode_label("<|im_end|>")
    meeting = Meeting(encoder.lock)
    monkeypatch.setattr(encoder, "lock", meeting)
    monkeypatch.setattr(encoder.turn, "read", meeting.around(encoder.turn.read))
    monkeypatch.setattr(encoder, "text_tokenizer", meeting.around(encoder.text_tokenizer))
    label, prompts = meeting.of(lambda: encoder.encode_prompts(["the cat"]), lambda: encoder.encode_label("<|im_end|>"))
    assert (prompts, label) == wanted and meeting.most == 1
