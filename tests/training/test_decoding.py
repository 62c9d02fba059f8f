"""`--decode transitions` in a run: fitted once the epoch is known, laid beside the weights, taken from there again."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import main_new
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from data_utils.dialogues import Dialogue, Utterance
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS
from data_utils.prompts import add_demonstrations, find_speaker, render_prediction_prompt
from data_utils.row_files import read_rows
from data_utils.row_folders import prepare_folder
from scoring.prediction_files import read_predictions
from scoring.transitions import TransitionFilter, count_transitions, decode_with, decode_without, order_turns
from tiny_models import DATASET, LABELS, LINES, main_command, save_base, write_pickle
from tiny_runs import Place
from training.arguments import parse_arguments
from training.decoding import TRANSITIONS_FILE, count_row_transitions, filter_at_start, find_filter, order_of_rows

TURNS = [(3, "oh", "Sad"), (1, "no", "Mad"), (3, "hm", "Sad"), (3, "so", "Joyful"), (1, "ha", "Mad")]
DIALOGUE = Dialogue("d_1", tuple(Utterance(*turn) for turn in TURNS))


def rows_of(kind: str, *dialogues: Dialogue):
    settings = RowSettings(DATASET, kind=kind, historical_window=0 if kind in ("plain", "speaker") else 2)
    return build_examples(settings, {"train": dialogues, "valid": (), "test": ()})["train"]


def other(dialogue: Dialogue, name: str) -> Dialogue:
    return Dialogue(name, dialogue.utterances)


class TestRows:
    def test_the_speaker_is_read_from_the_question(self) -> None:
        rows = rows_of("window", DIALOGUE)
        assert [find_speaker(row.input) for row in rows] == [3, 1, 3, 3, 1]
        for position in ("last", "role"):
            shown = add_demonstrations(rows[1].input, [('Speaker_7:"hm"', "Sad")], position)
            assert find_speaker(shown) == 1
        tricky = Utterance(
            4, '\t Speaker_9:"x" ### Please select the emotional label of < Speaker_8:"y"> from <a>:', "Sad"
        )
        row = rows_of("window", Dialogue("d", (*DIALOGUE.utterances[:2], tricky)))[2]
        assert find_speaker(row.input) == 4

    def test_other_prompts_have_no_speaker_to_read(self) -> None:
        assert find_speaker(rows_of("plain", DIALOGUE)[1].input) is None
        assert find_speaker(rows_of("speaker", DIALOGUE)[1].input) is None
        assert find_speaker(render_prediction_prompt(['Speaker_3:"oh"'], 1, LABELS)) is None

    def test_rows_are_ordered_as_their_turns(self) -> None:
        order = order_of_rows(rows_of("window", DIALOGUE, other(DIALOGUE, "d_2")))
        wanted = order_turns([1] * 5 + [2] * 5, [3, 1, 3, 3, 1] * 2)
        for name in ("own", "dialogue", "depth"):
            assert getattr(order, name).tolist() == getattr(wanted, name).tolist()
        plain = order_of_rows(rows_of("plain", DIALOGUE))
        assert plain.own.tolist() == [-1] * 5 and plain.dialogue.tolist() == [-1, 0, 1, 2, 3]

    def test_nothing_follows_across_a_gap(self) -> None:
        rows = rows_of("window", DIALOGUE, other(DIALOGUE, "d_2"))
        order = order_of_rows([*rows[:2], *rows[3:8]])  # turn 2 of the first is left out
        assert order.dialogue.tolist() == [-1, 0, -1, 2, -1, 4, 5]
        assert order.own.tolist() == [-1, -1, -1, -1, -1, -1, 4]

    def test_labels_of_the_main_task_are_counted(self) -> None:
        rows = rows_of("predict", DIALOGUE, other(DIALOGUE, "d_2"))
        assert len(rows) == 20
        gold = [label for _, _, label in TURNS] * 2
        wanted = count_transitions(gold, order_turns([1] * 5 + [2] * 5, [3, 1, 3, 3, 1] * 2), LABELS)
        assert count_row_transitions(rows, LABELS) == wanted
        sad, joyful, mad = map(LABELS.index, ("Sad", "Joyful", "Mad"))
        assert wanted.own[sad][sad] == 2 and wanted.own[sad][joyful] == 2 and wanted.own[mad][mad] == 2
        assert wanted.dialogue[joyful][mad] == 2 and sum(map(sum, wanted.dialogue)) == 8


LEARNS = {"lora": False, "learning_rate": 1e-2, "num_train_epochs": 5}
STICKY = 3  # of each speaker the label changes every so many turns


def sticky_dialogues(split: str, count: int) -> tuple[Dialogue, ...]:
    """Two speakers, each of whom keeps a label for three turns; what they say is no sign of it in every third turn."""
    lines = list(LINES.items())
    dialogues = []
    for number in range(count):
        turns = []
        for turn in range(12):
            text, label = lines[(number + turn % 2 + turn // (2 * STICKY)) % 3]
            turns.append(Utterance(turn % 2, "Hm." if turn // 2 % STICKY == 2 else text, label))
        dialogues.append(Dialogue(f"{split}{number}", tuple(turns)))
    return tuple(dialogues)


class StickyPlace(Place):
    """Rows in which a label goes on; utterances alone do not tell it always."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, save_base(folder / "base")
        splits = {"train": sticky_dialogues("train", 6), "valid": sticky_dialogues("valid", 3)}
        splits["test"] = sticky_dialogues("test", 4)
        write_pickle(folder / "original", splits)
        settings = RowSettings(DATASET, historical_window=0, check_counts=False)
        self.rows = prepare_folder(settings, folder / "original", folder / "data")

    def filter(self, run: str) -> TransitionFilter | None:
        return find_filter(self.model(run), LABELS)

    def written(self, run: str):
        return read_predictions(self.path(run, "predictions.jsonl"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> StickyPlace:
    place = StickyPlace(tmp_path_factory.mktemp("place"))
    place.finish("plain", **LEARNS)
    result = place.finish("filtered", **LEARNS, decode="transitions")
    assert "transitions: temperature" in result.stderr
    return place


def test_the_models_own_log_p_and_the_filters_answers_are_kept(place: StickyPlace) -> None:
    rows = read_rows(place.rows / "test.json")
    plain, filtered, found = place.written("plain"), place.written("filtered"), place.filter("filtered")
    assert [row.scores for row in filtered] == [row.scores for row in plain]
    assert filtered == decode_with(found, plain, order_of_rows(rows))
    assert decode_without(filtered) == plain
    assert [row.label for row in filtered] != [row.label for row in plain]
    assert place.filter("plain") is None


def test_both_scores_stand_in_the_results_and_in_the_table(place: StickyPlace) -> None:
    plain, filtered, found = place.results("plain"), place.results("filtered"), place.filter("filtered")
    assert filtered["without_transitions"]["score"] == plain["score"] < filtered["score"]
    assert plain["without_transitions"] is plain["transitions"] is None
    assert filtered["transitions"] == found.chosen and found.own_weight + found.dialogue_weight > 0
    assert found.score_without == max(epoch["score"] for epoch in filtered["epochs"]) < found.score
    assert found.transitions == count_row_transitions(read_rows(place.rows / "train.json"), LABELS)
    again = place.finish("filtered", **LEARNS, decode="transitions", resume=True)
    line = next(line for line in again.stdout.splitlines() if line.startswith("W-F1 without transitions"))
    assert line.split()[3] == f"{plain['score']:.2f}"


def test_a_run_that_only_scores_takes_the_filter_of_its_checkpoint(place: StickyPlace) -> None:
    place.score("again", "filtered", decode="transitions")
    place.score("by itself", "filtered")
    one, other_one, first = place.results("again"), place.results("by itself"), place.results("filtered")
    assert one["score"] == first["score"] and one["transitions"] == first["transitions"]
    assert other_one["score"] == first["without_transitions"]["score"] and other_one["transitions"] is None
    result = place.call("none", do_train=False, checkpoint_dir=place.model("plain"), decode="transitions")
    assert_one_line_error(result, "--decode transitions", TRANSITIONS_FILE, "use --decode score")


def test_valid_is_scored_for_it_where_test_chose_the_epoch(place: StickyPlace) -> None:
    result = place.finish("on test", num_train_epochs=2, decode="transitions", select_on="test", do_eval=False)
    assert "score valid" in result.stderr
    found = place.filter("on test")
    valid = place.score("valid", "on test", score_on="valid")
    assert valid.returncode == 0
    assert found.score_without == place.results("valid")["score"]


def test_a_filter_of_an_earlier_run_goes_with_its_weights(place: StickyPlace) -> None:
    place.finish("twice", decode="transitions")
    assert place.filter("twice") is not None
    place.finish("twice")
    assert place.filter("twice") is None


def test_who_speaks_has_no_transitions(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings = RowSettings(DATASET, kind="speaker", historical_window=0, check_counts=False)
    place.rows = prepare_folder(settings, tmp_path / "original", tmp_path / "data")
    place.finish("speaker", decode="transitions")
    assert place.results("speaker")["without_transitions"] is None
    assert not (place.model("speaker") / TRANSITIONS_FILE).exists()


def test_what_has_no_transitions_is_refused_in_one_line(place: StickyPlace, tmp_path: Path) -> None:
    refused = [
        ({"zero_shot": True, "do_train": False, "lora": False}, "is fitted in training"),
        ({"dataset": "unified"}, "labels of several datasets"),
    ]
    for flags, told in refused:
        command = main_command(place.base, place.rows, tmp_path, decode="transitions", **flags)
        assert_one_line_error(call_script(main_new.main, *command), "--decode transitions", told)
    command = main_command(place.base, place.rows, tmp_path, decode="transitions")
    arguments, _ = parse_arguments("", [str(word) for word in command])
    sets = SimpleNamespace(scored={"valid": (), "test": read_rows(place.rows / "test.json")}, labels=LABELS)
    with pytest.raises(UserError, match="valid.json has no row"):
        filter_at_start(arguments, sets)


def test_a_filter_of_other_labels_is_refused(place: StickyPlace, tmp_path: Path) -> None:
    path = tmp_path / TRANSITIONS_FILE
    content = json.loads((place.model("filtered") / TRANSITIONS_FILE).read_text())
    path.write_text(json.dumps(content | {"labels": list(reversed(content["labels"]))}))
    with pytest.raises(UserError, match="its labels are Scared"):
        find_filter(tmp_path, DATASETS[DATASET].labels)
    assert find_filter(tmp_path, LABELS, "score") is None
