"""export.py --push_to_hub, with a hub that only notes what it is asked: card and all, one line where it cannot be."""

from pathlib import Path

import huggingface_hub
import pytest

import export
from commands import assert_one_line_error, call_script


class Hub:
    """What HfApi is asked for, and the files of what is uploaded."""

    endpoint = "hub"
    asked: list[tuple] = []

    def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
        self.asked.append((repository, private, exist_ok))

    def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.asked.append((repo_id, {path.name for path in Path(folder_path).iterdir()}))


def run_export(trained: Path, output: Path, repository: str):
    command = ("--checkpoint_dir", trained / "run" / "model", "--output_dir", output, "--kind", "adapter")
    return call_script(export.main, *command, "--push_to_hub", repository)


def test_what_is_exported_is_uploaded_with_its_card(trained: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "asked", [])
    result = run_export(trained, tmp_path / "adapter", "somebody/some-name")
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'adapter'}\n"), result.stderr
    assert result.stderr.endswith("uploaded to hub/somebody/some-name\n")
    (made, uploaded) = Hub.asked
    assert made == ("somebody/some-name", True, True)
    assert uploaded[1] >= {"README.md", "adapter_config.json", "adapter_model.safetensors", "erc_config.json"}


def test_a_hub_that_says_no_is_one_line_and_the_folder_stays(trained: Path, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_, **__) -> None:
        raise ConnectionError("401\nUnauthorized")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "upload_folder", refuse)
    assert_one_line_error(run_export(trained, tmp_path / "adapter", "a/b"), "401 Unauthorized", "hf auth login")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("said", "name", "line"),
    [("1", "a/b", "HF_HUB_OFFLINE=1"), ("true", "a/b", "HF_HUB_OFFLINE=true"), ("1", "no name", "somebody/some-name")],
)
def test_what_is_refused_before_the_export(
    trained: Path, tmp_path: Path, monkeypatch, said: str, name: str, line: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", said)
    assert_one_line_error(run_export(trained, tmp_path / "adapter", name), line)
    assert not (tmp_path / "adapter").exists()
