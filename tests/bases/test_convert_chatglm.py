"""The conversion of ChatGLM2 and 3: files, resumption, refusals, the script, and fetching."""

import errno
import importlib.util
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bases import fetch as base_sources
from bases.chatglm import conversion2 as weights_module
from bases.chatglm.conversion2 import convert_chatglm2
from bases.find import is_current
from bases.table import BASES
from basics.errors import UserError
from basics.locks import alone_at, lock_beside
from commands import REPOSITORY, assert_one_line_error, call_script
from published_layouts import FolderHub
from tiny_chatglm import save_chatglm2

SCRIPT = REPOSITORY / "LLM_bases" / "convert_chatglm.py"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chatglm2(tmp_path_factory.mktemp("published") / "chatglm2-6b")


@pytest.fixture(scope="module")
def native(published: Path) -> Path:
    return convert_chatglm2(published, published.with_name("native"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def copy_of(published: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in published.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_folder_is_complete_and_holds_no_code(published: Path, native: Path) -> None:
    names = {path.name for path in native.iterdir()}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert names >= shards | {"config.json", "model.safetensors.index.json", "tokenizer.json", "MODEL_LICENSE"}
    assert not [name for name in names if name.endswith((".py", ".bin", ".tmp"))]
    config = json.loads((native / "config.json").read_text())
    assert config["model_type"] == "glm" and "auto_map" not in config and config["dtype"] == "float16"
    listed = json.loads((native / "model.safetensors.index.json").read_text())["weight_map"]
    assert {name for shard in shards for name in load_file(native / shard)} == listed.keys()
    tokenizer = AutoTokenizer.from_pretrained(native)
    assert tokenizer("neutral")["input_ids"][1] == len(tokenizer) - 2  # sop


def test_safetensors_of_chatglm3_convert_to_the_same_weights(published: Path, native: Path, tmp_path: Path) -> None:
    source = save_chatglm2(tmp_path / "chatglm3-6b", suffix="safetensors")
    converted = convert_chatglm2(source, tmp_path / "native")
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        before, after = load_file(native / name), load_file(converted / name)
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    roles = AutoTokenizer.from_pretrained(converted)
    assert roles.convert_tokens_to_ids("<|user|>") == len(AutoTokenizer.from_pretrained(native)) + 1


def wait_for(child: int) -> int:
    """Its exit code; ended by a signal after a few minutes."""
    given_up = time.monotonic() + 300
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > given_up:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])


def test_of_two_conversions_at_once_one_waits(published: Path, native: Path, tmp_path: Path) -> None:
    """Else one would write on in files that the other has given their names."""
    target, children = tmp_path / "native", []
    for _ in range(2):
        if not (child := os.fork()):
            try:
                os._exit(convert_chatglm2(published, target) != target)
            finally:
                os._exit(1)
        children.append(child)
    assert [wait_for(child) for child in children] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["native"]
    files = [path for path in native.iterdir() if path.suffix != ".md"]
    assert all((target / path.name).read_bytes() == path.read_bytes() for path in files)


def test_two_folders_are_not_converted_to_one_at_once(published: Path, native: Path, tmp_path: Path) -> None:
    """As two of one name are by default; the second would take away what the first has done."""
    target = tmp_path / "native"
    with alone_at(lock_beside(target), "it"), pytest.raises(UserError, match=f"^another program is writing {target}:"):
        convert_chatglm2(published, target)
    assert not list(tmp_path.iterdir())
    assert convert_chatglm2(published, target) == target


def test_a_lock_goes_that_a_killed_conversion_left_once_it_was_whole(published: Path, tmp_path: Path) -> None:
    target = convert_chatglm2(published, tmp_path / "native")
    lock_beside(target).touch()
    convert_chatglm2(published, target)
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_converted_is_found_where_nothing_can_be_written(
    published: Path, native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    target = convert_chatglm2(published, tmp_path / "native")
    monkeypatch.setattr(os, "open", refused)
    assert convert_chatglm2(published, target) == target


def test_stopped_conversion_goes_on_with_the_shard_where_it_stopped(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = weights_module.read_shard, []

    def stop_at_second(path: Path) -> dict[str, torch.Tensor]:
        seen.append(path.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(weights_module, "read_shard", stop_at_second)
    target = tmp_path / "native"
    with pytest.raises(KeyboardInterrupt):
        convert_chatglm2(published, target)
    assert not target.exists()
    (work,) = tmp_path.iterdir()
    (work / ".tmpA1b2C3").write_bytes(b"half of it, as SIGKILL leaves what safetensors writes")
    assert convert_chatglm2(published, target) == target
    assert not [path.name for path in target.iterdir() if path.name.startswith(".")]
    assert seen == [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2, 2)]
    assert {path.name for path in tmp_path.iterdir()} == {"native"}
    convert_chatglm2(published, target)  # nothing is left to do
    assert len(seen) == 3


def test_target_that_was_made_from_something_else_is_left_alone(published: Path, native: Path, tmp_path: Path) -> None:
    other = copy_of(published, tmp_path / "other")
    with pytest.raises(UserError, match="made from something else"):
        convert_chatglm2(other, native)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(UserError, match="made from something else"):
        convert_chatglm2(other, tmp_path / "mine")
    assert (tmp_path / "mine" / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rope_ratio": 16}, "rope_ratio 16, not 1"),
        ({"add_bias_linear": True}, "add_bias_linear True, not False"),
        ({"multi_query_attention": False}, "multi_query_attention False"),
        ({"quantization_bit": 4}, "quantization_bit 4"),
        ({"model_type": "llama"}, "of another model"),
        ({"num_layers": 3}, "do not fit config.json: model.layers.2"),
        ({"multi_query_group_num": 1}, "rows, not 48 as its config.json says"),
        ({"ffn_hidden_size": 50}, "do not fit config.json: model.layers.0.mlp"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(published: Path, changes: dict, told: str, tmp_path: Path) -> None:
    source = copy_of(published, tmp_path / "source")
    change_config(source, **changes)
    with pytest.raises(UserError, match=told) as caught:
        convert_chatglm2(source, tmp_path / "native")
    assert "\n" not in str(caught.value) and not (tmp_path / "native").exists()


def test_files_that_are_missing_or_broken_are_one_line(published: Path, tmp_path: Path) -> None:
    name = "pytorch_model-00002-of-00002.bin"
    harmful = tmp_path / "harmful.bin"
    torch.save({"weight": SCRIPT}, harmful)  # an object that only a pickle that runs code could make
    damages = {
        "cut": ((published / name).read_bytes()[:-200], "cannot be read as weights"),
        "foreign": (harmful.read_bytes(), "cannot be read as weights"),
        "missing": (None, f"lacks {name}"),
    }
    for damage, (content, told) in damages.items():
        source = copy_of(published, tmp_path / damage)
        (source / name).unlink()
        if content is not None:
            (source / name).write_bytes(content)
        with pytest.raises(UserError, match=told):
            convert_chatglm2(source, tmp_path / "native")
    source = copy_of(published, tmp_path / "no tokenizer")
    (source / "tokenizer.model").unlink()
    with pytest.raises(UserError, match="lacks tokenizer.model"):
        convert_chatglm2(source, tmp_path / "native")


def test_weights_of_another_model_are_named(published: Path, tmp_path: Path) -> None:
    source = copy_of(published, tmp_path / "source")
    torch.save({"model.embed_tokens.weight": torch.ones(2, 2)}, source / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(UserError, match="holds model.embed_tokens.weight, which neither ChatGLM2 nor 3 has"):
        convert_chatglm2(source, tmp_path / "native")


def test_script_prints_the_folder_and_tells_faults_in_one_line(published: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("convert_chatglm_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    done = call_script(script.main, published, "--output_dir", tmp_path / "native")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'native'}\n"), done.stderr
    for arguments, told in (((), "folder is missing"), ((tmp_path,), "config.json cannot be read")):
        assert_one_line_error(call_script(script.main, *arguments), told)


def test_fetching_needs_the_weights_twice(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything comes; what a stopped conversion has written counts as there."""
    page = copy_of(published, tmp_path / "page")
    (page / "configuration_chatglm.py").touch()
    weights = sum(path.stat().st_size for path in page.glob("*.bin"))
    asked: list[float] = []

    def need_space(folder: Path, needed_bytes: float, name: str) -> None:
        asked.append(needed_bytes)
        raise UserError("enough for this test")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: FolderHub(page))
    monkeypatch.setattr(base_sources, "need_space", need_space)
    for name, content in ((None, b""), ("model-00001-of-00002.safetensors", b"x" * 1000)):
        if name:
            converting = tmp_path / ".ChatGLM2.THUDM--chatglm2-6b.native.converting"
            converting.mkdir()
            (converting / name).write_bytes(content)
        with pytest.raises(UserError, match="enough for this test"):
            base_sources.fetch_from_hub(BASES["ChatGLM2"], tmp_path, tmp_path / "work")
    assert asked[0] > 2.1 * weights > 0
    assert asked[1] == pytest.approx(asked[0] - 1050)
    (page / "configuration_chatglm.py").unlink()  # as of a base that is not converted
    with pytest.raises(UserError):
        base_sources.fetch_from_hub(BASES["ChatGLM2"], tmp_path, tmp_path / "work")
    assert asked[2] == pytest.approx(asked[0] - 1.05 * weights)


def test_fetching_from_the_hub_converts(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hub id it comes from; the download goes to the folder that is removed afterwards."""
    cache, work = tmp_path / "cache", tmp_path / "work"
    cache.mkdir(), work.mkdir()
    download = copy_of(published, cache / "ChatGLM2.hub")
    native = base_sources._convert_published(download, cache / "ChatGLM2.native", work)
    assert native == cache / "ChatGLM2.native" and [path.name for path in cache.iterdir()] == ["ChatGLM2.native"]
    assert (work / "ChatGLM2.hub" / "config.json").is_file()
    base_sources.write_source(native, BASES["ChatGLM2"], {}, base_sources.describe_files(native))
    assert is_current(native, BASES["ChatGLM2"])
    assert base_sources._convert_published(native, cache / "again", work) is None
