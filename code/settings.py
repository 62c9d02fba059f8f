"""Check the settings of an experiment and print them as variables of a shell; the three scripts call it.

    dataset=meld python code/settings.py window --num_beams 4    # what train_and_inference_Uni.sh is told
    python code/settings.py --table                              # the README's table of settings

Knobs come from the environment, further arguments are those of code/main_new.py. All problems are told at once, one
line each, with exit code 2, before anything is installed or written. Any Python of 3.11 or newer will do, with the
standard library alone.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository
from basics.scripts import EXIT_USER_ERROR, run_script
from knobs.checks import Place
from knobs.commands import Commands
from knobs.environment import Settings, read_settings
from knobs.gpus import visible_gpus
from knobs.reference import render_table
from knobs.table import KNOBS, MIXED, PLAIN, WINDOW
from training.arguments import find_unusable

KINDS_OF_ROWS = (WINDOW, PLAIN, MIXED)


def main() -> None:
    """Kind of rows and further arguments -> variables on stdout."""
    kind, further = (sys.argv[1:] or [""])[0], sys.argv[2:]
    if kind == "--table":
        print(render_table())
        return
    if kind not in KINDS_OF_ROWS:
        raise UserError(f"{kind!r}: give the kind of rows, one of {', '.join(KINDS_OF_ROWS)}, or --table")
    place = Place(Path.cwd(), find_repository())
    settings, problems = read_settings(kind, os.environ, place)
    commands = Commands(settings, visible_gpus(os.environ), tuple(further), os.environ.get("MASTER_PORT", ""))
    problems += find_problems_of_place(settings, len(commands.gpus))
    if not problems:
        problems = find_problems_of_flags(commands, further)
    if problems:
        for problem in problems:
            print(f"error: {' '.join(problem.split())}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    print(commands.shell_variables())


def find_problems_of_place(settings: Settings, gpus: int) -> list[str]:
    """What cannot be done by this checkout, or on this machine. gpus: how many may be used."""
    problems = []
    if "," in str(settings.place.repository):
        problems.append(
            f"{settings.place.repository}: a comma joins folders of rows; move the checkout to a path without"
        )
    if settings["DRY_RUN"] != "0" or settings["HOSTFILE"]:
        return problems  # its commands are for another machine, or for others too
    if settings["quantize"] != KNOBS["quantize"].default and not gpus:
        problems.append(f"quantize={settings['quantize']}: needs a GPU, and there is none; choose none")
    processes = settings["NPROC"]
    if gpus and processes.isdecimal() and int(processes) > gpus:
        problems.append(f"NPROC={processes}: {gpus} GPUs are visible, and each process takes one; give {gpus} or fewer")
    return problems


def find_problems_of_flags(commands: Commands, further: Sequence[str]) -> list[str]:
    """What main_new.py would refuse of the arguments that follow the script's name."""
    knobs = [word for word in further if word.partition("=")[0] in KNOBS]
    if knobs:
        return [f"{word}: a setting stands before the command: {word} bash ..." for word in knobs]
    folders = ("--dataset", commands.settings["dataset"], "--data_dir", "rows", "--model_name_or_path", "base")
    folders += ("--output_dir", f"experiments/{commands.result}", "--model_dir", f"checkpoint/{commands.result}")
    return find_unusable([*folders, *commands.main_flags(), *further])


if __name__ == "__main__":
    run_script(main)
