"""Settings -> what the scripts run: flags of each program, the launcher, the names of the result folders."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bases.table import ADAPTER_CONFIG, NAME_OF_HUB_ID
from knobs.checks import Place, is_own_folder
from knobs.environment import Settings
from knobs.knob import NOTHING, Knob
from knobs.readers import ALL_PARAMETERS, LORA, MAIN, MIXED, WRITER, ZERO_SHOT
from knobs.table import KNOBS

SETTING_FLAGS: Mapping[str, tuple[str, ...]] = {
    ZERO_SHOT: ("--zero_shot", "True", "--do_train", "False", "--lora", "False"),
    LORA: (),
    ALL_PARAMETERS: ("--lora", "False"),
}
OUR_DEEPSPEED = "code/data_utils/deepspeed_config.json"
# Knobs that the shell scripts read as variables of their own.
SHOWN = ("FLAG", "DRY_RUN", "MODEL_NAME", "dataset", "datasets", "encoder")
SHOWN += ("domain_base", "speaker_task", "speaker_epochs", "mode")
# File of a checkpoint to start from -> the knobs that it settles: main_new.py reads them there and refuses others. The
# scripts pass such a flag on only where the user has set the knob.
DECIDED_BY_START: Mapping[str, tuple[str, ...]] = {
    ADAPTER_CONFIG: ("lora_dim", "lora_alpha", "lora_dropout", "lora_module_name", "rslora", "dora", "quantize"),
    "erc_config.json": ("max_length", "chat_template", "calibrate", "precision"),
}
EXPORTED = ("ERC_ORIGINAL_DATA", "ERC_PYTHON", "ERC_TORCH")
READABLE_CHARACTERS = 64  # of a result folder's name, before the digest
DIGEST_CHARACTERS = 8


@dataclass(frozen=True)
class Commands:
    """The commands of one experiment.

    gpus: those that it may use, see `visible_gpus`. further: arguments of the script itself. port: where the processes
    of a run meet; empty: DeepSpeed's default, which two runs on one machine would share.
    """

    settings: Settings
    gpus: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    port: str = ""

    @property
    def batch_size(self) -> int:
        """Rows of an optimizer step."""
        return int(self.settings["graphics_card"]) * int(self.settings["accumulations"])

    @property
    def processes(self) -> int:
        """Processes on each machine."""
        return int(self.settings["NPROC"] or (min(len(self.gpus), int(self.settings["graphics_card"])) or 1))

    @property
    def needs_deepspeed(self) -> bool:
        """Whether DeepSpeed's launcher starts the training: on several GPUs or machines, or where a knob asks for it.

        Of several processes on a CPU, main_new.py starts the others itself.
        """
        asked = self.settings["deepspeed_config"] != NOTHING or self.settings["offload_optimizer"] == "True"
        return (self.processes > 1 and bool(self.gpus)) or bool(self.settings["HOSTFILE"]) or asked

    @property
    def summary(self) -> str:
        """The run in one line."""
        settings, cards, more = self.settings, self.settings["graphics_card"], self.settings["accumulations"]
        return (
            f"{settings['Experiments_setting']} on {settings['dataset']} with {settings['MODEL_NAME']}, batches of "
            f"{cards} x {more} = {self.batch_size} rows, processes: {self.processes} -> experiments/{self.result}"
        )

    @property
    def result(self) -> str:
        """The folder below experiments/: <base>/<setting>/<dataset>/<rows and what differs from the defaults>."""
        settings = self.settings
        base = result_name(settings["MODEL_NAME"], settings.place)
        return "/".join((base, settings["Experiments_setting"], settings["dataset"], self._variant()))

    def _variant(self) -> str:
        """The kind of rows; then the knobs that differ from their defaults, cut short, and a digest of all of them."""
        settings, changed = self.settings, self.settings.changed
        usual = int(settings.usual("graphics_card")) * int(settings.usual("accumulations"))
        if settings["Experiments_setting"] != ZERO_SHOT and self.batch_size != usual:
            changed |= {"batch": str(self.batch_size)}
        rows = settings.rows
        if any(settings.is_read(reader) for reader in KNOBS["historical_window"].readers):
            rows += f"_{settings['historical_window']}"
        named = deciding_arguments(self.further)
        if not changed and not named:
            return rows
        suffixes = {name: KNOBS[name].suffix if name in KNOBS else name for name in changed}
        words = [rows, *(f"{suffixes[name]}_{value}" for name, value in changed.items())]
        readable = "-".join([*words, *(["_".join(named)] if named else [])]).replace(",", "+")
        readable = re.sub(r"[^A-Za-z0-9_.=+-]", "_", readable)[:READABLE_CHARACTERS]
        identity = json.dumps([rows, changed, named]).encode()
        return f"{readable}-{hashlib.sha256(identity).hexdigest()[:DIGEST_CHARACTERS]}"

    def writer_flags(self) -> list[str]:
        """The flags of the row writer, but for the folder of the encoder."""
        dataset = [] if self.settings.rows == MIXED else ["--dataset", self.settings["dataset"]]
        return dataset + self._flags(WRITER)

    def main_flags(self) -> list[str]:
        """The flags of main_new.py, but for dataset and folders."""
        setting = SETTING_FLAGS.get(self.settings["Experiments_setting"], ())
        flags = [*setting, "--batch_size", str(self.batch_size), *self._flags(MAIN)]
        if self.processes > 1 and not self.needs_deepspeed:
            flags += ["--processes", str(self.processes)]
        if self.needs_deepspeed and self.settings["deepspeed_config"] == NOTHING:
            flags += ["--deepspeed_config", OUR_DEEPSPEED]
        return flags

    def _flags(self, program: str) -> list[str]:
        """The flags of a program: knobs that decide the result, and others where they differ from their default."""
        found, decided = [], self._decided_by_start()
        told, left = decided & self.settings.given, decided - self.settings.given
        for knob in KNOBS.values():
            value = self.settings.values[knob.name]
            read = any(reader.program == program and self.settings.is_read(reader) for reader in knob.readers)
            usual = self.settings.usual(knob.name)
            changed = value != usual
            said = changed or (not knob.later and (knob.suffix or program == WRITER))
            if program == MAIN and knob.name in left:
                continue
            says_nothing = value in (None, "") or (value == NOTHING == usual and knob.name not in told)
            if read and (said or knob.name in told) and not says_nothing:
                found += [f"--{knob.name}", value]
        return found

    def _decided_by_start(self) -> set[str]:
        start = self.settings.place.repository / self.settings["checkpoint_dir"]
        return {name for file, names in DECIDED_BY_START.items() if (start / file).is_file() for name in names}

    def launcher(self) -> list[str]:
        """The words of DeepSpeed's launcher between `python` and `code/main_new.py`; none where it is not needed."""
        if not self.needs_deepspeed:
            return []
        hosts, processes = self.settings["HOSTFILE"], self.settings["NPROC"]
        words = ["-m", "deepspeed.launcher.runner", *(["--master_port", self.port] if self.port else [])]
        if hosts:
            return [*words, "--hostfile", hosts, *(["--num_accelerators", processes] if processes else [])]
        if self.processes <= len(self.gpus):
            # How many alone would mean the first ones of the machine, whatever CUDA_VISIBLE_DEVICES says.
            return [*words, "--include", "localhost:" + ",".join(self.gpus[: self.processes])]
        return [*words, "--num_accelerators", str(self.processes)]

    def shell_variables(self) -> str:
        """All of these as shell assignments, one a line, which the scripts evaluate."""
        values = {name: self.settings[name] for name in SHOWN} | {"summary": self.summary, "result": self.result}
        arrays = {
            "exported": [f"{name}={self.settings[name]}" for name in EXPORTED if self.settings[name]],
            "writer_flags": self.writer_flags(),
            "main_flags": self.main_flags(),
            "launcher": self.launcher(),
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
        return "\n".join([*lines, *(f"{name}=({shlex.join(words)})" for name, words in arrays.items())])


def result_name(base: str, place: Place) -> str:
    """The name of a base in result folders; bases of the same last name get different ones.

    A hub id that is not in the table is called owner--name, and a folder outside LLM_bases <name>-<digest of its path>.
    """
    named = NAME_OF_HUB_ID.get(base)
    # By now the path is relative to the repository, or absolute.
    inside = Place(place.repository, place.repository)
    if named is None and is_own_folder(base, inside):
        folder = inside.of_caller(base).resolve()
        if folder.parent == (place.repository / "LLM_bases").resolve():
            return folder.name
        return f"{folder.name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:DIGEST_CHARACTERS]}"
    return named or base.replace("/", "--")


def deciding_arguments(further: Sequence[str]) -> list[str]:
    """Those further arguments of a script that decide the result, without leading dashes; `--a=b` is `--a b`."""
    kept = list(_drop_silent(further))
    return [part for word in kept for part in (word[2:].split("=", 1) if word.startswith("--") else [word])]


def _drop_silent(words: Sequence[str]) -> Iterator[str]:
    silent = {f"--{knob.name}" for knob in KNOBS.values() if has_no_effect_on_result(knob)}
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word.partition("=")[0] in silent:
            is_value = "=" not in word
        else:
            yield word


def has_no_effect_on_result(knob: Knob) -> bool:
    """Whether a flag of main_new.py only says where and how fast a run is computed, not what it results in."""
    return not knob.suffix and any(reader.program == MAIN for reader in knob.readers)
