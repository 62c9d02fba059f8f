"""A package that settings need and set-up does not install is told before anything is fetched."""

from pathlib import Path

import pytest

import settings
from commands import call_script


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What this Python is to have; the settings ask for two packages that it has not."""
    monkeypatch.chdir(Path.cwd())  # the script goes into the repository
    found = {"torch", "mlflow"}
    monkeypatch.setattr(settings, "find_spec", lambda name: found & {name} or None)
    for name, value in {"report_to": "tensorboard,mlflow,wandb", "quantize": "nf4", "DRY_RUN": "0"}.items():
        monkeypatch.setenv(name, value)
    return found


def test_each_is_told_with_the_setting_that_needs_it(installed: set[str]) -> None:
    result = call_script(settings.main, "window")
    told = [line.partition(", which is not installed")[0] for line in result.stderr.splitlines()]
    assert told == [
        "error: report_to=wandb: needs the package wandb",
        "error: quantize=nf4: needs the package bitsandbytes",
    ]
    assert (result.returncode, result.stdout) == (2, "")
    installed |= {"wandb", "bitsandbytes"}
    assert call_script(settings.main, "window").returncode == 0


def test_a_flag_behind_the_command_needs_it_too(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("report_to", "quantize"):
        monkeypatch.delenv(name)
    result = call_script(settings.main, "window", "--report_to", "wandb")
    assert result.stderr.startswith("error: report_to=wandb: needs the package wandb")


def test_a_dry_run_and_a_python_that_cannot_train_are_not_asked(
    installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands may be for another machine; before set-up any Python checks the settings."""
    monkeypatch.setenv("DRY_RUN", "1")
    assert call_script(settings.main, "window").returncode == 0
    monkeypatch.setenv("DRY_RUN", "0")
    installed.clear()
    assert call_script(settings.main, "window").returncode == 0
