"""A checkpoint is asked, and goes on, as it was trained; what is said otherwise is refused."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import export
import main_new
import predict
from bases import quantization
from basics.errors import UserError
from chat_templates import LLAMA, QWEN, byte_level
from commands import REPOSITORY, assert_one_line_error, call_script
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import save_base, save_rows
from tiny_runs import Place
from training.erc_config import find_erc_config, read_erc_config

# Nothing of these is a default, nor what the runs of these tests are told by default.
ADAPTER = {"lora_dim": 3, "lora_alpha": 5, "lora_dropout": 0.25, "lora_module_name": "q_proj,o_proj"}
ADAPTER |= {"rslora": True, "dora": True}
ASKED = {"chat_template": True, "max_length": 900, "calibrate": True}
LACKING = "needs the package bitsandbytes"
UNSAID = dict.fromkeys((*ADAPTER, *ASKED, "precision"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A base with a chat template, an adapter and a whole model on it."""
    place = Place(tmp_path_factory.mktemp("place"))
    save_base(place.base, vocab_size=400)
    byte_level(QWEN).save_pretrained(place.base)
    place.finish("odd", **ADAPTER, **ASKED)
    place.finish("whole", lora=False, learning_rate=3e-3)
    return place


def change_config(folder: Path, **changes: object) -> Path:
    path = folder / "erc_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def copied(place: Place, run: str, folder: Path, **changes: object) -> Path:
    return change_config(Path(shutil.copytree(place.model(run), folder)), **changes)


class TestFlags:
    def test_those_that_are_not_said_are_its_own(self, place: Place) -> None:
        place.finish("goes on", checkpoint_dir=place.model("odd"), **UNSAID)
        result = place.finish("scored", checkpoint_dir=place.model("odd"), do_train=False, **UNSAID)
        for run in ("goes on", "scored"):
            recorded = place.results(run)["arguments"]
            assert {name: recorded[name] for name in ASKED} == ASKED
            layers = {name: recorded[name] for name in ADAPTER}
            assert layers.pop("lora_module_name") == "o_proj,q_proj" and layers.items() < ADAPTER.items()
            assert recorded["precision"] == "fp32" and place.results(run)["precision"] == "float32"
        assert place.predictions("scored") == place.predictions("odd")
        assert "from model" in result.stdout
        card = (place.model("goes on") / "README.md").read_text(encoding="utf-8")
        assert "| lora_dim | 3 |" in card and "| dora | True |" in card and "| chat_template | True |" in card
        config = json.loads((place.model("goes on") / "adapter_config.json").read_text(encoding="utf-8"))
        assert (config["r"], config["lora_alpha"], config["use_dora"]) == (3, 5, True)

    def test_a_title_says_what_the_adapter_is(self, place: Place) -> None:
        assert "DoRA" in place.finish("titled", checkpoint_dir=place.model("odd"), **UNSAID).stdout

    def test_the_same_said_again_is_fine(self, place: Place) -> None:
        place.score("said", "odd", **ADAPTER | {"lora_module_name": "o_proj,q_proj"}, **ASKED)
        assert place.predictions("said") == place.predictions("odd")

    @pytest.mark.parametrize("do_train", [True, False])
    def test_every_other_one_is_refused_at_once(self, place: Place, do_train: bool) -> None:
        others = {"lora_dim": 16, "lora_alpha": 16, "lora_dropout": 0.05, "rslora": False, "dora": False}
        others |= {"chat_template": False, "max_length": 1024, "calibrate": False, "quantize": "nf4", "lora": False}
        said = {"lora_module_name": None} | others
        if not do_train:
            said["max_length"] = 0  # the dataset's own
        result = place.call("refused", checkpoint_dir=place.model("odd"), do_train=do_train, **said)
        if do_train:  # 4 bits and all parameters never go together
            assert_one_line_error(result, "--quantize nf4")
            said["quantize"] = None
            result = place.call("refused", checkpoint_dir=place.model("odd"), **said)
        assert_one_line_error(result, *(f"--{name} " for name in others if said[name] is not None))
        assert_one_line_error(result, "--lora_dim 16", "has 3", "leave it out", "is a LoRA adapter")
        assert not (place.folder / "refused").exists()

    def test_layers_are_compared_by_what_they_are(self, place: Place) -> None:
        for said in ("all", "q_proj", "auto"):
            flags = UNSAID | {"lora_module_name": said}
            result = place.call("refused", checkpoint_dir=place.model("odd"), **flags)
            assert result.returncode == 2 and result.stderr.splitlines()[-1].startswith("error: --lora_module_name")
            assert "o_proj,q_proj" in result.stderr and not (place.folder / "refused").exists()
        place.score("layers", "odd", **UNSAID | {"lora_module_name": "q_proj,o_proj,query_key_value"})

    def test_adapters_on_a_whole_model_are_ones_own(self, place: Place) -> None:
        place.finish("on whole", checkpoint_dir=place.model("whole"), lora_dim=2, chat_template=None)
        assert place.results("on whole")["arguments"]["lora_dim"] == 2
        assert_one_line_error(
            place.call("refused", checkpoint_dir=place.model("whole"), chat_template=True), "--chat_template True"
        )


class TestCard:
    def run_its_command(self, place: Place, run: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Executed where the folders that it names lie, as somebody who was given them has them."""
        (line,) = (line for line in self.card(place, run).splitlines() if line.startswith("    python"))
        python, script, *flags = shlex.split(line)
        assert (python, script) == ("python", "code/main_new.py")
        for needed in (place.rows, place.base, place.model(run)):
            (folder / needed.name).symlink_to(needed)
        monkeypatch.chdir(folder)
        result = call_script(main_new.main, *flags)
        assert result.returncode == 0, result.stderr
        for file in ("predictions.jsonl", "results.json"):
            ours, theirs = (folder / "scored" / file).read_bytes(), place.path(run, file).read_bytes()
            if file == "results.json":
                ours, theirs = ([json.loads(one)[key] for key in ("score", "confusion")] for one in (ours, theirs))
            assert ours == theirs

    @staticmethod
    def card(place: Place, run: str) -> str:
        return (place.model(run) / "README.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        "flags",
        [
            {},
            {**ADAPTER, **ASKED, "score_on": "valid"},
            {"lora": False, "learning_rate": 3e-3, "chat_template": True, "packing": "rows"},
            {"decode": "generate", "max_new_tokens": 5, "repair_answers": True, "precision": "bf16"},
        ],
        ids=["plain", "adapter and prompts", "all parameters", "generate"],
    )
    def test_the_command_gives_the_same_scores(
        self, place: Place, flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.finish("carded", **flags)
        self.run_its_command(place, "carded", tmp_path, monkeypatch)

    def test_of_an_adapter_on_a_whole_model_too(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = Path(shutil.copytree(place.model("whole"), tmp_path / "start"))
        place.finish("on start", checkpoint_dir=start)
        assert "--model_name_or_path start " in self.card(place, "on start")
        self.run_its_command(place, "on start", tmp_path, monkeypatch)

    def test_it_names_nobodys_machine(self, place: Place) -> None:
        for run in ("odd", "whole"):
            assert str(place.folder) not in self.card(place, run) and "--checkpoint_dir model " in self.card(place, run)
            assert str(place.folder) not in json.dumps(place.results(run))


class TestContent:
    def test_erc_config_holds_all_that_decides(self, place: Place) -> None:
        content = json.loads((place.model("odd") / "erc_config.json").read_text(encoding="utf-8"))
        assert (content["version"], content["quantize"], content["precision"]) == (4, "none", "fp32")
        for name in ("frame_sha256", "base_sha256", "weights_sha256", "template_sha256"):
            assert len(content[name]) == 64, name
        files = {"adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
        assert content["files_sha256"].keys() == files
        whole = find_erc_config(place.model("whole")).files_sha256
        assert whole.keys() == files - {"adapter_config.json"} | {"config.json"}
        assert len({*whole.values(), *content["files_sha256"].values()}) == 5

    def test_other_weights_than_it_tells_of_are_refused(self, place: Place, tmp_path: Path) -> None:
        for run, file in (("odd", "adapter_model.safetensors"), ("whole", "model.safetensors")):
            model = copied(place, run, tmp_path / run)
            content = bytearray((model / file).read_bytes())
            content[-1] ^= 1
            (model / file).write_bytes(content)
            told = f"{model}: its weights are not those"
            assert_one_line_error(place.call("refused", checkpoint_dir=model, do_train=False, **UNSAID), told)
            with pytest.raises(UserError, match=told):
                EmotionRecognizer.from_pretrained(model)
            flags = ("--checkpoint_dir", model, "--output_dir", tmp_path / "exported")
            assert_one_line_error(call_script(export.main, *flags), told)
            if run == "odd":
                assert_one_line_error(call_script(export.main, *flags, "--kind", "adapter"), told)

    @pytest.mark.parametrize(
        ("run", "file", "change"),
        [
            ("odd", "adapter_config.json", lambda text: text.replace('"lora_alpha": 5', '"lora_alpha": 7')),
            ("odd", "adapter_config.json", lambda text: text.replace('"use_rslora": true', '"use_rslora": false')),
            (
                "odd",
                "tokenizer.json",
                lambda text: text.replace('"add_prefix_space": false', '"add_prefix_space": true'),
            ),
            ("odd", "tokenizer_config.json", lambda text: text.replace("</s>", "<s>")),
            ("whole", "config.json", lambda text: text.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-02')),
            ("whole", "chat_template.jinja", lambda text: f"{text} "),
            ("odd", "added_tokens.json", lambda _: "{}"),
        ],
    )
    def test_other_files_than_it_tells_of_are_refused(
        self, place: Place, tmp_path: Path, run: str, file: str, change: Callable[[str], str]
    ) -> None:
        model = copied(place, run, tmp_path / "model")
        text = (model / file).read_text(encoding="utf-8") if (model / file).exists() else ""
        (model / file).write_text(change(text), encoding="utf-8")
        assert (model / file).read_text(encoding="utf-8") != text
        told = f"{model}: {file} not as erc_config.json beside it tells"
        assert_one_line_error(place.call("refused", checkpoint_dir=model, do_train=False, **UNSAID), told)
        with pytest.raises(UserError, match=told):
            EmotionRecognizer.from_pretrained(model)
        flags = ("--checkpoint_dir", model, "--output_dir", tmp_path / "exported")
        assert_one_line_error(call_script(export.main, *flags), told)
        assert_one_line_error(call_script(export.main, *flags, "--kind", "adapter"), told if run == "odd" else "whole")

    def test_what_decides_nothing_and_a_tokenizer_as_a_whole_may_be_others(self, place: Place, tmp_path: Path) -> None:
        model = copied(place, "odd", tmp_path / "model")
        for name in ("README.md", "results.json", ".DS_Store", "notes.txt"):
            (model / name).write_text("{}", encoding="utf-8")
        adapter = json.loads((model / "adapter_config.json").read_text(encoding="utf-8"))
        adapter["base_model_name_or_path"] = str(place.folder / "." / "base")
        (model / "adapter_config.json").write_text(json.dumps(dict(reversed(adapter.items()))), encoding="utf-8")
        place.score("same", "odd", **UNSAID)
        place.finish("others", checkpoint_dir=model, do_train=False, **UNSAID)
        (model / "tokenizer.json").unlink()
        assert_one_line_error(place.call("refused", checkpoint_dir=model, **UNSAID), "tokenizer.json not as")
        for name in ("tokenizer_config.json", "chat_template.jinja"):
            (model / name).unlink()
        place.finish("left out", checkpoint_dir=model, do_train=False, **UNSAID)
        EmotionRecognizer.from_pretrained(model)
        assert place.predictions("same") == place.predictions("others") == place.predictions("left out")

    def test_another_base_of_the_same_name_is_refused_or_told(self, place: Place, tmp_path: Path, capsys) -> None:
        base = save_base(tmp_path / "base", vocab_size=400, seed=3)
        byte_level(QWEN).save_pretrained(base)
        flags = UNSAID | {"model_name_or_path": base, "checkpoint_dir": place.model("odd")}
        assert_one_line_error(place.call("refused", **flags), "trained over other weights")
        adapter = json.loads((place.model("odd") / "adapter_config.json").read_text(encoding="utf-8"))
        model = copied(place, "odd", tmp_path / "model")
        (model / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": str(base)}))
        EmotionRecognizer.from_pretrained(model)
        assert "was trained over other weights of" in capsys.readouterr().err
        flags = ("--checkpoint_dir", model, "--output_dir", tmp_path / "exported")
        assert_one_line_error(call_script(export.main, *flags), "trained over other weights")

    def test_another_chat_frame_is_refused(self, place: Place, tmp_path: Path) -> None:
        base = Path(shutil.copytree(place.base, tmp_path / "base"))
        byte_level(LLAMA).save_pretrained(base)
        flags = UNSAID | {"model_name_or_path": base, "checkpoint_dir": place.model("odd")}
        assert_one_line_error(place.call("refused", **flags), "in another chat frame")
        model = copied(place, "odd", tmp_path / "model", files_sha256=None)
        byte_level(LLAMA).save_pretrained(model)
        with pytest.raises(UserError, match="in another chat frame"):
            EmotionRecognizer.from_pretrained(model)

    def test_a_run_goes_on_only_from_the_same_weights(self, place: Place) -> None:
        place.finish("stage 1")
        second = {"checkpoint_dir": place.model("stage 1"), "resume": True, "num_train_epochs": 2}
        assert "finished before" not in place.finish("stage 2", **second).stderr
        assert "finished before" in place.finish("stage 2", **second).stderr
        before = place.predictions("stage 2")
        place.finish("stage 1", seed=43)  # the same path, and files of the same size
        assert "finished before" not in place.finish("stage 2", **second).stderr
        assert place.predictions("stage 2") != before
        place.finish("stage 2", **second | {"do_eval": False, "resume": False})  # which leaves its state
        place.finish("stage 1", seed=44)
        result = place.call("stage 2", **second)
        assert result.returncode == 2 and "cannot resume" in result.stderr and "start was" in result.stderr

    def test_a_run_goes_on_only_on_the_same_base(self, place: Place) -> None:
        base = Path(shutil.copytree(place.base, place.folder / "another" / "base"))
        flags = {"model_name_or_path": base, "resume": True}
        place.finish("on a base", **flags)
        assert "finished before" in place.finish("on a base", **flags).stderr
        content = bytearray((base / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (base / "model.safetensors").write_bytes(content)
        assert "finished before" not in place.finish("on a base", **flags).stderr


def test_rows_unlike_those_of_training_are_told(place: Place) -> None:
    flags = UNSAID | {"checkpoint_dir": place.model("odd"), "do_train": False}
    assert "other rows" not in place.finish("same rows", **flags).stderr
    wider = save_rows(place.folder / "wider", kind="predict", window=5)
    told = place.finish("wider rows", data_dir=wider, **flags).stderr
    assert "was trained on other rows than these: historical_window 2, these 5\n" in told


class TestFourBits:
    """An adapter of QLoRA on a machine without bitsandbytes: nobody may take the whole base instead."""

    @pytest.fixture
    def quantized(self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(quantization, "find_spec", lambda name: None)
        return copied(place, "odd", tmp_path / "quantized", quantize="nf4")

    def test_scoring(self, place: Place, quantized: Path) -> None:
        flags = UNSAID | {"checkpoint_dir": quantized}
        assert_one_line_error(place.call("refused", do_train=False, **flags), "weights in 4 bits", LACKING)
        assert_one_line_error(place.call("refused", do_train=False, quantize="none", **flags), "--quantize none")
        assert_one_line_error(place.call("refused", do_train=False, compile_layers=True, **flags), "layers in 4 bits")

    def test_predicting(self, quantized: Path) -> None:
        dialogue = REPOSITORY / "demo" / "dialogue.txt"
        result = call_script(predict.main, "--checkpoint", quantized, "--input", dialogue)
        assert_one_line_error(result, "weights in 4 bits", LACKING)

    def test_exporting(self, quantized: Path, tmp_path: Path) -> None:
        def run(kind: str) -> CompletedProcess[str]:
            flags = ("--checkpoint_dir", quantized, "--output_dir", tmp_path / kind, "--kind", kind)
            return call_script(export.main, *flags)

        assert_one_line_error(run("merged"), "weights in 4 bits", "choose adapter")
        assert run("adapter").returncode == 0


class TestVersions:
    NEW = ("quantize", "precision", "frame_sha256", "base_sha256", "weights_sha256", "files_sha256")

    def test_the_first_is_read(self, place: Place, tmp_path: Path, capsys) -> None:
        model = copied(place, "odd", tmp_path / "model")
        path = model / "erc_config.json"
        content = {name: value for name, value in json.loads(path.read_text()).items() if name not in self.NEW}
        path.write_text(json.dumps(content | {"version": 1}), encoding="utf-8")
        config = read_erc_config(model)
        assert [getattr(config, name) for name in self.NEW] == [None] * 6
        place.finish("first version", checkpoint_dir=model, do_train=False, **UNSAID | {"precision": "fp32"})
        assert place.predictions("first version") == place.predictions("odd")
        EmotionRecognizer.from_pretrained(model)
        assert "does not tell the chat frame" in capsys.readouterr().err

    def test_of_the_second_what_it_tells_is_compared(self, place: Place, tmp_path: Path) -> None:
        model = copied(place, "odd", tmp_path / "model", version=2, files_sha256=None)
        text = (model / "adapter_config.json").read_text(encoding="utf-8")
        (model / "adapter_config.json").write_text(text.replace('"lora_alpha": 5', '"lora_alpha": 7'), encoding="utf-8")
        place.finish("second version", checkpoint_dir=model, do_train=False, **UNSAID)
        assert place.predictions("second version") != place.predictions("odd")
        change_config(model, weights_sha256="0" * 64)
        assert_one_line_error(place.call("refused", checkpoint_dir=model, **UNSAID), "its weights are not those")

    @pytest.mark.parametrize("version", [5, 0, None, "2"])
    def test_others_are_not(self, place: Place, tmp_path: Path, version: object) -> None:
        model = copied(place, "odd", tmp_path / "model", version=version)
        with pytest.raises(UserError, match="version"):
            find_erc_config(model)
        assert_one_line_error(place.call("refused", checkpoint_dir=model, **UNSAID), "version")


def test_a_model_from_elsewhere_has_nothing_to_say(place: Place, tmp_path: Path) -> None:
    model = copied(place, "odd", tmp_path / "model")
    (model / "erc_config.json").unlink()
    flags = UNSAID | ASKED | {"precision": "fp32"}
    place.finish("from elsewhere", checkpoint_dir=model, do_train=False, **flags)
    assert place.predictions("from elsewhere") == place.predictions("odd")
    kind = json.loads((model / "adapter_config.json").read_text()) | {"peft_type": "IA3"}
    (model / "adapter_config.json").write_text(json.dumps(kind))
    assert_one_line_error(place.call("refused", checkpoint_dir=model, **UNSAID), "kind IA3", "LORA")


def test_a_calibrated_checkpoint_may_generate_and_is_then_not_called_calibrated(place: Place) -> None:
    place.finish("generated", checkpoint_dir=place.model("odd"), do_train=False, **UNSAID | {"decode": "generate"})
    assert place.results("generated")["arguments"]["calibrate"] is False


def test_what_a_file_of_version_1_does_not_know_it_does_not_decide(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    folder = copied(place, "odd", tmp_path / "old", version=1)
    config = json.loads((folder / "erc_config.json").read_text(encoding="utf-8"))
    for name in ("quantize", "precision", "frame_sha256", "base_sha256", "weights_sha256", "files_sha256"):
        del config[name]
    (folder / "erc_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert find_erc_config(folder).quantize is None
    result = place.call("four bits", checkpoint_dir=folder, do_train=False, **UNSAID | {"quantize": "nf4"})
    assert_one_line_error(result, f"trained over weights in 4 bits (nf4), {LACKING}")
