"""Text -> token rows -> optimizer steps -> micro-batches."""

from collections import Counter
from dataclasses import replace

import pytest

from basics.errors import UserError
from data_utils.prompts import render_plain_prompt, render_recognition_prompt, render_turn
from data_utils.row_files import Example
from engine.batching import (
    EncodedRow,
    RowEncoder,
    plan_steps,
    scoring_batches,
    training_batches,
    without_weight,
)
from tiny_models import BOS, EOS, LABELS, character_tokenizer, small_examples, small_rows
from training.rows.encoding import report_shortened


def numbered_rows(turns: tuple[int, ...], tasks: int = 1) -> list[EncodedRow]:
    """Dialogues of so many turns, their rows out of order; every prompt is two tokens."""
    rows = [
        EncodedRow(f"sample/{name}/{turn}", f"task{task}", (name, turn), (9,), 1.0, 0)
        for turn in range(max(turns))
        for name, length in enumerate(turns)
        for task in range(tasks)
        if turn < length
    ]
    return rows[::-1]


class TestPlan:
    ROWS = numbered_rows((11, 1, 7, 20, 3))

    @pytest.mark.parametrize("rows_per_dialogue", [1, 3, 8, 100])
    @pytest.mark.parametrize("batch_size", [1, 4, 42, 100])
    def test_every_row_once_in_full_batches(self, batch_size: int, rows_per_dialogue: int) -> None:
        steps = plan_steps(self.ROWS, batch_size, rows_per_dialogue, seed=1, epoch=0)
        assert sorted(row for step in steps for row in step) == list(range(len(self.ROWS)))
        sizes = [len(step) for step in steps]
        assert set(sizes[:-1]) <= {batch_size} and 0 < sizes[-1] <= batch_size

    def test_runs_of_a_dialogue_stay_together_by_turn(self) -> None:
        (order,) = plan_steps(self.ROWS, 1000, 8, seed=1, epoch=0)
        runs: list[list[EncodedRow]] = []
        for row in (self.ROWS[index] for index in order):
            if runs and runs[-1][-1].dialogue == row.dialogue and row.turn == runs[-1][-1].turn + 1:
                runs[-1].append(row)
            else:
                runs.append([row])
        lengths = Counter(len(run) for run in runs)
        # 20 turns give at most 4 runs, 11 at most 3, the shorter dialogues stay whole.
        assert len(runs) <= 10 and lengths[1] >= 1 and lengths[7] >= 1 and lengths[3] >= 1
        assert max(lengths) == 8

    def test_where_a_dialogue_is_cut_differs_by_epoch(self) -> None:
        rows = numbered_rows((20,))
        cuts = set()
        for epoch in range(60):
            (order,) = plan_steps(rows, 1000, 8, seed=1, epoch=epoch)
            turns = [rows[index].turn for index in order]
            cuts |= {late for early, late in zip(turns, turns[1:], strict=False) if late != early + 1}
        assert {turn % 8 for turn in cuts} == set(range(8))

    def test_tasks_of_one_turn_stay_side_by_side(self) -> None:
        rows = numbered_rows((12, 12), tasks=2)
        (order,) = plan_steps(rows, 1000, 24, seed=1, epoch=0)
        turns = [(rows[index].dialogue, rows[index].turn) for index in order]
        assert turns[::2] == turns[1::2]

    def test_a_function_of_its_arguments_alone(self) -> None:
        plan = plan_steps(self.ROWS, 4, 3, seed=1, epoch=0)
        assert plan_steps(self.ROWS, 4, 3, seed=1, epoch=0) == plan
        assert plan_steps(self.ROWS, 4, 3, seed=2, epoch=0) != plan
        assert plan_steps(self.ROWS, 4, 3, seed=1, epoch=1) != plan
        # Written down: another version of Python or of this code must not change old runs.
        assert plan_steps(numbered_rows((5, 3)), 4, 2, seed=42, epoch=3) == PLAN_OF_SEED_42


PLAN_OF_SEED_42 = [[5, 3, 1, 0], [6, 4, 7, 2]]


class TestEncoding:
    def test_prompt_and_target_are_encoded_apart(self) -> None:
        encoder = RowEncoder(character_tokenizer(), 1024)
        example = small_examples()[0]
        (row,) = encoder.encode([example])
        text = encoder.tokenizer.decode(row.prompt, skip_special_tokens=False)
        assert text == "<s>" + example.input
        assert encoder.tokenizer.decode(row.target) == f" {example.target}</s>"
        assert (row.prompt.count(BOS), row.prompt.count(EOS), row.target.count(EOS)) == (1, 0, 1)
        assert (row.prompt[0], row.target[-1], row.utterances_dropped) == (BOS, EOS, 0)
        assert (row.id, row.task, row.dialogue, row.turn) == (example.id, example.task, "EmoryNLP/train0", 0)

    def test_chat_template_holds_the_prompt_and_the_label_is_the_answer(self) -> None:
        tokenizer = character_tokenizer()
        with pytest.raises(ValueError, match="no chat template"):
            RowEncoder(tokenizer, 1024, chat=True)
        tokenizer.chat_template = (
            "<s>{% for one in messages %}[{{ one['role'] }}]{{ one['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}"
        )
        example = small_examples()[0]
        (row,) = RowEncoder(tokenizer, 1024, chat=True).encode([example])
        text = tokenizer.decode(row.prompt, skip_special_tokens=False)
        assert text == f"<s>[user]{example.input}[assistant]"
        assert (row.prompt.count(BOS), tokenizer.decode(row.target)) == (1, f"{example.target}</s>")

    def test_a_closing_eos_of_the_tokenizer_is_left_out(self) -> None:
        example = small_examples()[:1]
        plain, closing = (RowEncoder(character_tokenizer(closing_eos=choice), 1024) for choice in (False, True))
        assert closing.tokenizer("a")["input_ids"][-1] == EOS
        assert closing.encode(example) == plain.encode(example)

    def test_a_tokenizer_that_marks_words_gets_no_blank(self) -> None:
        encoder = RowEncoder(character_tokenizer(marks_words=True), 1024)
        target = encoder.encode_label("Sad")
        assert encoder.tokenizer.convert_ids_to_tokens(target) == ["▁", "S", "a", "d", "</s>"]

    def test_rows_of_a_task_carry_its_weight(self) -> None:
        weights = {row.task: row.weight for row in small_rows("predict", alpha=0.25)}
        assert weights == {"emotion_recognition": 1.0, "emotion_prediction": 0.25}


class TestTruncation:
    """The longest row of a dialogue, with less and less room."""

    EXAMPLE = max(small_examples("window", turns=6), key=lambda row: len(row.input))
    WHOLE = RowEncoder(character_tokenizer(), 10_000).encode([EXAMPLE])[0]

    def fit(self, length: int) -> EncodedRow:
        return RowEncoder(character_tokenizer(), length).encode([self.EXAMPLE])[0]

    def test_the_oldest_history_goes_and_never_the_question(self) -> None:
        needed = len(self.WHOLE.prompt) + len(self.WHOLE.target)
        assert self.fit(needed) == self.WHOLE
        start, end = self.EXAMPLE.input.index("###' "), self.EXAMPLE.input.index(" ### Please")
        turns = self.EXAMPLE.input[start:end].split("\t ")[1:]
        seen = set()
        for length in range(needed - 1, 0, -1):
            try:
                row = self.fit(length)
            except UserError:
                break
            seen.add(row.utterances_dropped)
            text = character_tokenizer().decode(row.prompt[1:])
            kept = "".join(f"\t {turn}" for turn in turns[row.utterances_dropped :])
            assert text == self.EXAMPLE.input.replace("".join(f"\t {turn}" for turn in turns), kept)
            assert len(row.prompt) + len(row.target) <= length and row.target == self.WHOLE.target
        assert seen == set(range(1, len(turns)))

    def test_long_histories_are_cut_in_few_tries(self, monkeypatch) -> None:
        """And to the same as by giving up one utterance after the other."""
        turns = [render_turn(number % 2, f"Turn {number}.") for number in range(300)]
        row = Example("sample/a/300", "emotion_recognition", render_recognition_prompt(turns, LABELS), "Sad")
        encoder, tried = RowEncoder(character_tokenizer(), 3000), []
        encode = encoder.encode_prompts
        monkeypatch.setattr(encoder, "encode_prompts", lambda prompts: tried.append(len(prompts)) or encode(prompts))
        (found,) = encoder.encode([row], LABELS)
        assert sum(tried) < 15
        room = 3000 - max(len(encoder.encode_label(label)) for label in LABELS)
        dropped = found.utterances_dropped
        texts = [render_recognition_prompt(turns[gone:], LABELS) for gone in (dropped, dropped - 1)]
        fits, does_not = encode(texts)
        assert found.prompt == tuple(fits) and len(fits) <= room < len(does_not) and 50 < dropped < 250

    def test_what_does_not_fit_names_its_row_and_the_length_it_needs(self) -> None:
        with pytest.raises(UserError) as caught:
            self.fit(30)
        message = str(caught.value)
        assert self.EXAMPLE.id in message and "--max_length is 30" in message and "\n" not in message
        (needed,) = [int(word) for word in message.split() if word.isdigit() and word != "30"]
        assert self.fit(needed).utterances_dropped > 0
        with pytest.raises(UserError):
            self.fit(needed - 1)

    def test_a_prompt_without_history_is_never_cut(self) -> None:
        text = render_plain_prompt("Hi", LABELS)
        plain = Example("sample/a/0", "emotion_recognition", text, "Sad")
        with pytest.raises(UserError, match="sample/a/0"):
            RowEncoder(character_tokenizer(), 10).encode([plain])

    def test_how_many_is_told(self, capsys) -> None:
        report_shortened({"train": [self.WHOLE]})
        assert capsys.readouterr().err == ""
        report_shortened({"train": [self.WHOLE, replace(self.WHOLE, utterances_dropped=2), self.fit(110)]})
        lost = 2 + self.fit(110).utterances_dropped
        assert (
            capsys.readouterr().err == f"train: too long: 2 prompts; left out of them: {lost} utterances, the oldest\n"
        )


class TestMicroBatches:
    ROWS = small_rows("predict", window=2, alpha=0.25)

    @pytest.mark.parametrize("share", [True, False], ids=["tree", "rows"])
    @pytest.mark.parametrize("budget", [1, 400, 10_000])
    @pytest.mark.parametrize("micro_steps", [1, 3, 50])
    def test_training_rows_weigh_their_share_of_the_step(self, share: bool, budget: int, micro_steps: int) -> None:
        batches = training_batches(self.ROWS, budget, share, micro_steps)
        pairs = [pair for batch in batches for pair in zip(batch.rows, batch.weights, strict=True)]
        assert Counter(row for row, _ in pairs) == Counter(self.ROWS)
        assert all(weight == row.weight / len(self.ROWS) for row, weight in pairs)
        assert all(batch.continuations == tuple((row.target,) for row in batch.rows) for batch in batches)
        assert len(batches) >= min(micro_steps, len(self.ROWS))
        if share and budget > 1:
            assert max(len(batch.tree()) for batch in batches) <= budget
        if budget == 400 and micro_steps == 1:
            assert len(batches) == (6 if share else 8)

    @pytest.mark.parametrize("share", [True, False], ids=["tree", "rows"])
    def test_scoring_meets_every_prompt_with_every_label(self, share: bool) -> None:
        labels = [RowEncoder(character_tokenizer(), 1024).encode_label(label) for label in LABELS]
        batches = scoring_batches(self.ROWS, labels, 900, share)
        assert Counter(row for batch in batches for row in batch.rows) == Counter(self.ROWS)
        assert all(choices == tuple(labels) for batch in batches for choices in batch.continuations)
        assert len(batches) > 1

    def test_rows_that_only_pad_weigh_nothing(self) -> None:
        (batch,) = training_batches(self.ROWS, 100_000, share_prefixes=True)
        padding = without_weight(batch)
        assert padding.rows == batch.rows and set(padding.weights) == {0.0}
