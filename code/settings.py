"""Check the settings of an experiment and print them as variables of a shell; the three scripts call it.

    dataset=meld python code/settings.py window --seed 7         # what train_and_inference_Uni.sh is told
    python code/settings.py window --help                        # the settings that it reads
    python code/settings.py --table                              # the table of settings in code/README.md

The first argument is the kind of rows: window, plain (of train_and_inference_Plain.sh) or mixed (of _Mixed.sh). Knobs
come from the environment, further arguments are those of code/main_new.py. What is wrong is told, a line each, with
exit code 2, before anything is installed or written. Any Python of 3.11 or newer will do, with the standard library
alone.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository
from basics.scripts import EXIT_USER_ERROR, run_script
from basics.words import counted
from knobs.checks import Place
from knobs.commands import Commands
from knobs.environment import Settings, read_settings, why_unread
from knobs.gpus import visible_gpus
from knobs.readers import MIXED, PLAIN, WINDOW
from knobs.reference import render_help, render_table
from knobs.table import KNOBS
from training.arguments import find_unusable

KINDS_OF_ROWS = (WINDOW, PLAIN, MIXED)
NEEDS_A_GPU = {"precision": "fp16"}
# Setting -> value -> the package that it needs and no list of envs/ has.
NEEDS_A_PACKAGE = {"report_to": {"wandb": "wandb", "mlflow": "mlflow"}, "quantize": {"nf4": "bitsandbytes"}}
# What the scripts add to every command, as far as it can be checked before there is anything.
NEEDED = ("--dataset", "sample", "--data_dir", "rows", "--model_name_or_path", "base")
NEEDED += ("--output_dir", "results", "--model_dir", "model")
SET_BY_KNOBS = {"--dataset": "dataset", "--model_name_or_path": "MODEL_NAME", "--processes": "NPROC"}
SET_BY_KNOBS |= {"--checkpoint_dir": "checkpoint_dir", "--lora": "Experiments_setting"}
# Flags of main_new.py that are no settings. Those that name folders are left alone: other programs call theirs so.
SET_BEHIND = ("do_train", "do_eval", "zero_shot")
# Where one run follows another: each has its own, the next begins with the model of the one before.
SET_BY_STAGES = ("--data_dir", "--output_dir", "--model_dir")


def main() -> None:
    """Kind of rows and further arguments -> variables on stdout."""
    kind, further = (sys.argv[1:] or [""])[0], sys.argv[2:]
    if kind in ("-h", "--help"):
        print(__doc__)
        return
    if kind == "--table":
        print(render_table())
        return
    if kind not in KINDS_OF_ROWS:
        wrong = f"{kind!r} is no kind of rows" if kind else "the kind of rows is missing"
        raise UserError(f"{wrong}, allowed are {', '.join(KINDS_OF_ROWS)}, or --table")
    if {"-h", "--help"} & {*further}:
        print(render_help(kind))
        return
    place = Place(Path.cwd(), find_repository())
    os.chdir(place.repository)  # further arguments name paths as seen from there
    settings, problems = read_settings(kind, os.environ, place)
    commands = Commands(settings, visible_gpus(os.environ), tuple(further), os.environ.get("MASTER_PORT", ""))
    problems += find_flags_set_before(os.environ)
    problems += find_problems_of_place(commands)
    problems += find_problems_of_arguments(further, settings)
    problems = problems or find_problems_together(commands)
    if problems:
        for problem in problems:
            print(f"error: {' '.join(problem.split())}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    print(commands.shell_variables())


def find_flags_set_before(environment: Mapping[str, str]) -> list[str]:
    """The flags of main_new.py that stand before the command as settings do, where nothing reads them."""
    meant = {flag.removeprefix("--"): f"did you mean {knob}?" for flag, knob in SET_BY_KNOBS.items()}
    meant |= {name: f"set it behind the command: bash ... --{name} {environment.get(name)}" for name in SET_BEHIND}
    names = sorted(meant.keys() & environment.keys() - KNOBS.keys())
    return [f"{name}={environment[name]}: no setting is called so; {meant[name]}" for name in names]


def find_problems_of_place(commands: Commands) -> list[str]:
    """What cannot be done by this checkout, or on this machine."""
    settings, gpus = commands.settings, len(commands.gpus)
    problems = []
    if "," in str(settings.place.repository):
        problems.append(
            f"{settings.place.repository}: a comma joins folders of rows; move the checkout to a path without"
        )
    if not runs_here(settings):
        return problems
    for name, value in NEEDS_A_GPU.items():
        if settings[name] == value and not gpus:
            problems.append(f"{name}={value}: needs a GPU, and there is none; choose {KNOBS[name].default}")
    processes = settings["NPROC"]
    if gpus and processes.isdecimal() and int(processes) > gpus:
        problems.append(
            f"NPROC={processes}: {counted(gpus, 'visible GPU')}, and each process takes one; give {gpus} or fewer"
        )
    return problems


def find_lacking_packages(settings: Settings) -> list[str]:
    """The packages that settings need and this Python has not, where it is one that can train: set-up adds none."""
    needed = [
        (f"{name}={value}", package)
        for name, of_value in NEEDS_A_PACKAGE.items()
        for value, package in of_value.items()
        if value in settings[name].split(",")
    ]
    can_train = runs_here(settings) and find_spec("torch") is not None
    return [
        f"{given}: needs the package {package}, which is not installed: `{sys.executable} -m pip install {package}`, "
        "or leave it out"
        for given, package in needed
        if can_train and find_spec(package) is None
    ]


def runs_here(settings: Settings) -> bool:
    """Whether the run is for this machine alone; a dry run's commands may be for another, those of a HOSTFILE are."""
    return settings["DRY_RUN"] == "0" and not settings["HOSTFILE"]


def find_problems_of_arguments(further: Sequence[str], settings: Settings) -> list[str]:
    """What is wrong with the arguments that follow the script's name, by themselves.

    A flag is to be one of main_new.py with a value that it takes, and none that these settings never read or that the
    scripts set from a knob.
    """
    problems = []
    before = ""
    for word in further:
        name, has_value, value = word.partition("=")
        if name in KNOBS and has_value and not before.startswith("--"):
            problems.append(f"{word}: a setting stands before the command: {word} bash ...")
        if name == "--seed" and settings["data_percent"] != KNOBS["data_percent"].default:
            problems.append(
                f"--seed: of what is drawn of train, too; set it before the command: seed={value or '...'} bash ..."
            )
        if name in SET_BY_KNOBS:
            problems.append(f"{name}: set it before the command: {SET_BY_KNOBS[name]}=... bash ...")
        if name in SET_BY_STAGES and (stages := settings.stages):
            problems.append(f"{name}: {stages} makes several runs, each with a folder of its own; leave it out")
        before = "" if has_value else word
    flags = read_flags(further)
    if flags.get("do_train") == "False" and (stages := settings.stages):
        told = f"{stages} makes several runs, each from what the one before has trained"
        problems.append(f"--do_train False: {told}; leave one of them out")
    problems = problems or find_unusable([*NEEDED, *further])
    return problems or find_unread(flags, settings)


def read_flags(words: Sequence[str]) -> dict[str, str]:
    """Flag, without its dashes -> value, of words that are a command line."""
    found, flag = {}, ""
    for word in words:
        if word.startswith("--") and not flag:
            flag, has_value, value = word.removeprefix("--").partition("=")
            if has_value:
                found[flag], flag = value, ""
        elif flag:
            found[flag], flag = word, ""
    return found


def find_unread(flags: Mapping[str, str], settings: Settings) -> list[str]:
    """The flags that are knobs which nothing reads, given the settings and the other flags."""
    there = replace(settings, values={**settings.values, **flags})
    unread = [name for name in flags if name in KNOBS and not any(map(there.is_read, KNOBS[name].readers))]
    return [
        f"--{name} {flags[name]}: {why_unread(KNOBS[name], there)}"
        for name in unread
        if KNOBS[name].kind.spell(flags[name], settings.usual(name)) != settings.usual(name)
    ]


def find_problems_together(commands: Commands) -> list[str]:
    """What main_new.py would refuse of the knobs and further arguments together, and of a machine without a GPU."""
    flags = read_flags(commands.further)
    settings = replace(commands.settings, values={**commands.settings.values, **flags})
    missing = find_unusable([*NEEDED, *commands.further], look=True)
    together = find_unusable([*NEEDED, *commands.main_flags(), *commands.further], unread=True)
    of_place = find_problems_of_place(replace(commands, settings=settings))
    return missing or together or of_place or find_lacking_packages(settings) or find_unnumbered(commands)


def find_unnumbered(commands: Commands) -> list[str]:
    """GPUs that DeepSpeed's launcher cannot be told of, on the machine where it is to run."""
    if not runs_here(commands.settings) or not commands.needs_deepspeed or all(map(str.isdecimal, commands.gpus)):
        return []
    named = ",".join(commands.gpus)
    return [f"CUDA_VISIBLE_DEVICES={named}: DeepSpeed's launcher knows GPUs by number alone; name them so"]


if __name__ == "__main__":
    run_script(main)
