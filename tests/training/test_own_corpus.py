"""A corpus of one's own in CSV through the whole house: modules, Plain, Mixed, baselines, audit, predict, page."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

import audit
import baselines
import data_process
import data_process_mixed
import data_process_plain
import main_new
import predict
from commands import assert_one_line_error, call_script
from corpora import SAID, SPEAKERS, TURNS, LetterCounts, write_own_corpus
from data_utils.examples import RowSettings
from data_utils.labels import UNIFIED_PROMPT_LABELS
from data_utils.retrieval import RetrievalSettings
from data_utils.row_folders import prepare_folder
from experiment_utils.records import Records
from own_dialogues.demonstrations import DemonstrationSource, open_demonstrator
from own_dialogues.recognizer import EmotionRecognizer
from page_events import Page
from tiny_models import main_command, save_base
from training.erc_config import read_erc_config

LABELS = tuple(SAID)
SCORED = 3 * TURNS  # utterances of valid, and of test
TRAINED = 12 * TURNS


class Desk:
    """A folder with a tiny base and a corpus, which is known by its name, mine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.corpus = folder, write_own_corpus(folder / "files" / "mine")
        self.base = save_base(folder / "base")
        (folder / "original").mkdir()

    def write_rows(self, script: ModuleType, *flags: object) -> CompletedProcess[str]:
        result = call_script(script.main, *flags, "--data", self.folder / "data")
        assert result.returncode == 0, result.stderr
        return result

    def train(self, name: str, rows: str, **flags: object) -> dict:
        """results.json of one epoch."""
        flags = {"dataset": "mine", "num_train_epochs": 1, "save_steps": 0} | flags
        result = call_script(main_new.main, *main_command(self.base, rows, self.folder / name, **flags))
        assert result.returncode == 0, result.stderr
        return json.loads((self.folder / name / "results" / "results.json").read_text("utf-8"))

    def model(self, name: str) -> Path:
        return self.folder / name / "model"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(autouse=True)
def known(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corpora are remembered in a folder of the test."""
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(desk.folder / "original"))


@pytest.fixture(scope="module")
def window(desk: Desk) -> Path:
    """A model that learned from the corpus, with the prediction task; the rows are asked for by the corpus's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERC_ORIGINAL_DATA", str(desk.folder / "original"))
        written = desk.write_rows(data_process, "--corpus", desk.corpus, "--emotion_prediction", "True")
        for told in ("mine is known from now on, by", "train: 12 dialogues, 60 utterances: awe 12 (20.0%)"):
            assert told in written.stderr
        rows = written.stdout.strip()
        assert rows == str(desk.folder / "data" / "mine" / "predict")
        results = desk.train("window", rows)
    assert results["training_rows"] == {"emotion_recognition": TRAINED, "emotion_prediction": TRAINED}
    assert results["rows"] == SCORED and set(results["per_label"]) == {*LABELS} and results["metric"] == "weighted_f1"
    return desk.model("window")


def test_the_checkpoint_knows_labels_and_speakers(window: Path) -> None:
    config = read_erc_config(window)
    assert (config.dataset, config.labels, config.speakers) == ("mine", LABELS, len(SPEAKERS))
    assert "Licence of `mine`: made up." in (window / "README.md").read_text("utf-8")


def test_speakers_first_then_emotions_by_name(desk: Desk, window: Path) -> None:
    written = desk.write_rows(data_process, "--dataset", "mine", "--speaker_task", "True")
    first, second = written.stdout.strip().split(",")
    results = desk.train("speakers", first)
    assert set(results["per_label"]) == {f"Speaker_{number}" for number in range(len(SPEAKERS))}
    assert desk.train("emotions", second, checkpoint_dir=desk.model("speakers"))["rows"] == SCORED


def test_demonstrations_and_transitions(desk: Desk, window: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = RowSettings("mine", retrieval=RetrievalSettings("letters", balance=False))
    rows = prepare_folder(settings, desk.folder / "original", desk.folder / "data", embed=LetterCounts())
    results = desk.train("shown", rows, decode="transitions")
    assert results["rows"] == SCORED and results["copying"]["rows"] == SCORED
    source = DemonstrationSource(embed=LetterCounts())
    recognizer = EmotionRecognizer.from_pretrained(desk.model("shown"), precision="fp32", demonstrations=source)
    assert recognizer.transitions is not None
    (prompt,) = recognizer.seen_prompts([("Ann", "What a day!")])
    assert prompt.endswith("Demonstration:\n<What a day!>: glee")
    assert "has other files here" not in capsys.readouterr().err
    other = LetterCounts()
    other.identity = "letters, counted otherwise"
    open_demonstrator(recognizer.config, DemonstrationSource(embed=other))
    assert "warning: the encoder letters has other files here than in training, so it may" in capsys.readouterr().err


def test_another_metric_is_another_run(desk: Desk, window: Path) -> None:
    """Rows do not hold it, and the epoch was chosen by it."""
    described = desk.corpus / "corpus.yaml"
    before = described.read_text("utf-8")
    try:
        rows = desk.write_rows(data_process, "--dataset", "mine").stdout.strip()
        flags = {"dataset": "mine", "num_train_epochs": 1, "save_steps": 0, "resume": True}
        command = main_command(desk.base, rows, desk.folder / "metric", **flags)
        assert call_script(main_new.main, *command).returncode == 0
        assert "finished before" in call_script(main_new.main, *command).stderr
        described.write_text(f"{before}\nmetric: micro_f1_without_neutral\n", "utf-8")
        desk.write_rows(data_process, "--dataset", "mine")
        again = call_script(main_new.main, *command)
        assert again.returncode == 0 and "finished before" not in again.stderr
    finally:
        described.write_text(before, "utf-8")


def test_plain(desk: Desk, window: Path) -> None:
    rows = desk.write_rows(data_process_plain, "--dataset", "mine").stdout.strip()
    assert desk.train("plain", rows)["rows"] == SCORED and read_erc_config(desk.model("plain")).kind == "plain"


def test_mixed_with_the_sample(desk: Desk, window: Path) -> None:
    flags = ("--datasets", "mine,sample", "--data_percent", "0.05", "--historical_window", "0")
    rows = desk.write_rows(data_process_mixed, *flags).stdout.strip()
    lines = [json.loads(line) for line in (Path(rows) / "test.json").read_text("utf-8").splitlines()]
    ours = [row["input"].partition("< Speaker_")[2] for row in lines if row["id"].startswith("mine/")]
    assert len(ours) == SCORED and {int(text.partition(":")[0]) for text in ours} <= {*range(30, 42)}
    assert {row["target"] for row in lines} <= {*UNIFIED_PROMPT_LABELS}
    results = desk.train("mixed", rows, dataset="unified")
    assert {name: scores["rows"] for name, scores in results["by_dataset"].items()} == {"mine": SCORED, "sample": 116}
    config = read_erc_config(desk.model("mixed"))
    assert (config.speakers, config.speaker_offset, config.labels) == (12, 30, UNIFIED_PROMPT_LABELS)


def test_what_has_no_unified_labels_cannot_be_mixed(desk: Desk, tmp_path: Path, window: Path) -> None:
    write_own_corpus(desk.folder / "original" / "bare", description=None)
    result = call_script(data_process_mixed.main, "--datasets", "sample,bare", "--data", tmp_path)
    assert_one_line_error(result, "bare has no unified labels, so it cannot be mixed; corpus.yaml maps them")


def test_baselines_and_their_records(desk: Desk, window: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(baselines, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(baselines, "is_usual", lambda arguments: True)
    result = call_script(baselines.main, "--dataset", "mine", "--encoder", "none", "--output", tmp_path / "baselines")
    assert result.returncode == 0, result.stderr
    assert f"mine: weighted f1, {SCORED} utterances of valid, {SCORED} of test" in result.stdout
    assert json.loads((tmp_path / "baselines" / "mine.json").read_text("utf-8"))["words"]["weighted_f1"] == 100
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path))  # a report does without the corpus
    records = Records.read(tmp_path)
    assert records.metric("mine") == "weighted_f1" and len(records.baselines("mine")) > 5
    best = records.best_baseline("mine")
    # Several are right everywhere on valid: of equals the simplest, as the program counts them, in both.
    assert best and f"* the best on valid: {best.row}, 100.00 on test" in result.stdout
    assert best.score("mine") == 100 and records.interval(best.condition, "mine").high == 100


def test_audit_beside_the_sample(window: Path) -> None:
    result = call_script(audit.main, "--datasets", "mine,sample")
    assert result.returncode == 0, result.stderr
    assert f"| mine test | {SCORED} | {SCORED}, 100.0%; near 100.0% |" in result.stdout
    assert f"| mine | same speaker's | turn before's | {' | '.join(LABELS)} | shift |" in result.stdout


def test_predict_does_without_the_corpus(window: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path))
    own = tmp_path / "own.txt"
    own.write_text("Ann: What a day!\nBen: He is gone.\n", "utf-8")
    command = ("--checkpoint", window, "--input", own, "--precision", "fp32")
    result = call_script(predict.main, *command)
    assert result.returncode == 0, result.stderr
    turns = [line.split(maxsplit=4) for line in result.stdout.splitlines()[1:]]
    assert [(turn[1], turn[4]) for turn in turns] == [("Ann", "What a day!"), ("Ben", "He is gone.")]
    assert {turn[2] for turn in turns} <= {*LABELS} and "labels of mine" in result.stderr
    refused = call_script(predict.main, *command, "--demonstrations", "1", "--encoder", "none")
    assert_one_line_error(refused, "unknown dataset 'mine', allowed are sample")


def test_the_page_asks_it(window: Path) -> None:
    page = Page([window])
    (name,) = page.folders
    *_, (status, shown, _) = page.answer(name, "Ann: What a day!\nBen: He is gone.", None, None)
    assert "2 turns, labels of mine" in status and shown.count("<meter") == 2 * len(LABELS)


def test_other_rows_than_the_dataset_are_refused(desk: Desk, window: Path) -> None:
    rows = desk.folder / "data" / "mine" / "predict"
    command = main_command(desk.base, rows, desk.folder / "refused", dataset="yours")
    assert_one_line_error(call_script(main_new.main, *command), "holds rows of mine, but --dataset is yours")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "--dataset is missing, allowed are sample, iemocap"),
        (("--dataset", "yours"), "--dataset: 'yours' is not allowed, allowed are sample, iemocap"),
        (("--corpus", "files", "--dataset", "mine"), "--corpus files: says where the dataset is; leave --dataset away"),
        (("--corpus", "nowhere"), "--corpus nowhere: there is no such folder or file"),
    ],
)
def test_which_dataset_is_said_once(flags: tuple[str, ...], told: str) -> None:
    assert_one_line_error(call_script(data_process.main, *flags), told)
