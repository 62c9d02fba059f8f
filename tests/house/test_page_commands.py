"""Every command of the pages is tried: as a dry run here, or by the test that is named for it."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from commands import REPOSITORY, call_script

PAGES = [
    path for pattern in ("*.md", "*/*.md") for path in sorted(REPOSITORY.glob(pattern)) if path.parent.name[0] != "."
]
# What stands in a command -> the test that runs it, or why none does.
ELSEWHERE = {
    "envs/setup.sh": "tests/scripts/test_setup.py",
    "source .venv": "tests/scripts/test_setup.py",
    "tests/run.sh": "is what runs the tests",
    "docker ": "needs Docker, which the tests do without",
    "pip install": "tests/scripts/test_setup.py",
    "export ERC_PYTHON": "tests/scripts/test_setup.py",
    "export HF_TOKEN": "tests/bases/test_base_hub.py",
    "fetch.py": "tests/bases/test_fetch_base.py",
    "original_data/fetch.py": "tests/data_utils/test_fetch_data.py",
    "my_corpus": "tests/data_utils/test_own_corpora.py",
    "code/plan.py": "tests/planning/test_planning.py",
    "code/export.py": "tests/own_dialogues/test_export.py",
    "score_with_evidence.py": "tests/experiment_utils/beyond/test_score_with_evidence.py",
    "code/baselines.py": "tests/scoring/test_baselines.py",
    "calls/*": "tests/own_dialogues/test_predict_files.py",
    "--output emotions": "tests/own_dialogues/test_emotion_files.py",
    "predict.py --follow": "tests/own_dialogues/test_following.py",
    "demo/app.py": "tests/demo/test_app_browser.py",
    "benchmarks/run": "tests/house/test_benchmarks.py",
    "benchmarks/profile_gpu.sh": "needs a GPU",
    "HOSTFILE=": "tests/scripts/test_pipeline.py",
    "reproduce.py --table": "tests/experiment_utils/test_reproduce.py",
    "reproduce.py --report": "tests/experiment_utils/test_report.py",
    "reproduce.py --check": "tests/experiment_utils/test_evidence.py",
}
# What makes a command dry, beside DRY_RUN=1.
DRY_FLAGS = {"code/predict.py": "--preview True", "reproduce.py --condition": "--dry-run"}


def commands_of(page: Path) -> list[str]:
    """The commands of a page's blocks, without comments, those of `a && b` one by one."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.S | re.M)).replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in blocks.splitlines()]
    return [command for line in lines if line for command in line.split(" && ")]


COMMANDS = {
    command: page.relative_to(REPOSITORY).as_posix() for page in reversed(PAGES) for command in commands_of(page)
}
DRY = [command for command in COMMANDS if not any(part in command for part in ELSEWHERE)]


def test_the_tests_that_run_commands_exist() -> None:
    named = {test for test in ELSEWHERE.values() if test.startswith("tests/")}
    assert {test for test in named if not (REPOSITORY / test).is_file()} == set()
    assert {part for part in ELSEWHERE if not any(part in command for command in COMMANDS)} == set()
    assert len(DRY) > 20 and "README.md" in {COMMANDS[command] for command in DRY}


@pytest.mark.parametrize("command", DRY)
def test_a_command_of_a_page_runs_dry(command: str, pickles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = re.sub(r"\b(?:chat\.txt|talk\.vtt)", "demo/dialogue.txt", command)
    dry = " ".join([typed, *(flag for part, flag in DRY_FLAGS.items() if part in command and flag not in command)])
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": beside_python, "HOME": str(pickles), "DRY_RUN": "1", "ERC_PYTHON": sys.executable}
    own |= {"ERC_ORIGINAL_DATA": str(pickles)}
    program = re.fullmatch(r"python code/(\w+)\.py(?: ([^|<>;$`]*))?", dry)
    if program:  # here, where what it imports is there
        monkeypatch.setattr(os, "environ", own)
        monkeypatch.chdir(REPOSITORY)
        done = call_script(importlib.import_module(program[1]).main, *shlex.split(program[2] or ""))
    else:
        options = {"cwd": REPOSITORY, "env": own, "capture_output": True, "text": True, "timeout": 120}
        done = subprocess.run(["bash", "-c", dry], **options)
    assert done.returncode == 0, f"{COMMANDS[command]}: {done.stderr}"
    assert done.stdout
