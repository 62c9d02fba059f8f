"""Mutation testing: puts one small fault at a time into a module and looks whether the tests of its subject notice.

    python tests/faults/mutants/mutate.py                     # 60 mutants of each module of SUBJECTS, drawn with a seed
    python tests/faults/mutants/mutate.py --all scoring/metrics    # every mutant of one

Each mutant lives in the memory of a process of its own (trials.py): no file is changed. Prints a row of a table for
each module and its survivors; exits with 1 where one is not in survivors.yaml, which says why it changes nothing that
anybody could see.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mutations import Mutant, list_mutants
from trials import REPOSITORY, Tried, try_mutants

HERE = Path(__file__).resolve().parent
FILES = "tests/dialogue_files"
# Not those of great files, nor those that load a model.
SHORT = "not memory and not owners_publish and not preview and not take_a_time and not too_large_to_hold"
# The quick ones first, which notice most.
READERS = (
    *(f"{FILES}/test_{name}.py" for name in ("names", "turns", "report", "no_text", "reader_lines", "reader_refusals")),
    *(f"{FILES}/test_{name}.py" for name in ("tables", "times_beside_names")),
    *(f"{FILES}/test_{name}.py" for name in ("subtitles", "transcripts", "live")),
    *(
        f"{FILES}/readers/test_{name}.py"
        for name in (
            "services",
            "service_layouts",
            "screenplays",
            "headings",
            "cues",
            "captions",
            "table_columns",
            "days_apart",
            "json_turns",
        )
    ),
    *(f"{FILES}/test_tool_files.py", f"{FILES}/test_dialogue_files.py", f"{FILES}/test_encodings.py"),
    *(f"{FILES}/test_dialogue_round_trips.py", "-k", SHORT),
)
# A module of code/ -> what must notice its faults: pytest's arguments.
SUBJECTS: dict[str, Sequence[str]] = {
    "scoring/metrics": (
        *("tests/scoring/test_metrics.py", "tests/scoring/test_extract_label.py", "tests/scoring/test_copying.py"),
        *("tests/scoring/test_transitions.py", "tests/data_utils/test_mixing.py"),
    ),
    "scoring/transitions": (
        *("tests/scoring/test_transitions.py", "tests/training/test_decoding.py::TestRows"),
        "tests/faults/test_numbers.py::test_shares_after_transitions_add_up_to_one",
        *(
            f"tests/own_dialogues/test_followed_beliefs.py::{name}"
            for name in ("test_a_follower_goes_on_from_its_state", "test_a_first_turn_has_the_models_own_probability")
        ),
    ),
    "experiment_utils/dialogue_counts": (
        *("tests/experiment_utils/test_dialogue_counts.py", "tests/experiment_utils/test_significance.py"),
        *("-k", "not p_is_small"),
    ),
    # Without its longest, how often p is small where nothing differs.
    "experiment_utils/significance": ("tests/experiment_utils/test_significance.py", "-k", "not p_is_small"),
    "data_utils/prompts": ("tests/data_utils/test_prompts.py", "tests/data_utils/test_retrieval.py"),
    "data_utils/retrieval": ("tests/data_utils/test_retrieval.py",),
    "engine/prefix_tree": ("tests/engine/test_prefix_tree.py", "tests/engine/attention/test_tree_blocks.py"),
    "engine/packing": (
        *("tests/engine/test_packing.py", "tests/engine/test_running_prompts.py", "tests/engine/test_label_loss.py"),
        *("tests/engine/test_tree_training.py", "-k", "test_packing or llama or gemma"),
    ),
    "experiment_utils/beyond/beside": ("tests/experiment_utils/beyond/test_score_with_evidence.py",),
    "experiment_utils/beyond/together": ("tests/experiment_utils/beyond/test_seeds_together.py",),
    "plan": ("tests/planning/test_plan_script.py", "-k", "not without_weights"),
    "dialogue_files/turns": READERS,
    "dialogue_files/names": READERS,
    "dialogue_files/reading": READERS,
    "dialogue_files/report": READERS,
    **{
        f"dialogue_files/readers/{name}": READERS
        for name in (
            *("chats/discord", "chats/kakao", "chats/line", "chats/messages", "chats/whatsapp", "chats/zoom"),
            *("chat_exports", "corpora", "cues", "encodings", "headings", "json_dialogues", "json_stream"),
            *("layouts", "lines", "screenplays", "services", "subtitles", "tables", "transcripts"),
        )
    },
}
SAMPLE = 60
SEED = 22


@dataclass(frozen=True)
class Outcome:
    """Of the mutants of a module. possible: all there are."""

    possible: int
    tried: int
    survivors: Sequence[Mutant]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help=f"of {', '.join(SUBJECTS)}; default: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants of each module; default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="of the draw; default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--verbose", action="store_true", help="one mutant after the other, with its end")
    chosen = parser.parse_args()
    if unknown := set(chosen.modules) - SUBJECTS.keys():
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    known = read_survivors()
    unexplained = 0
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:  # what killed processes leave behind
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        for module in chosen.modules or SUBJECTS:
            outcome = try_module(module, None if chosen.all else chosen.sample, chosen.seed, chosen.verbose)
            unexplained += tell(module, outcome, known.get(module, {}))
    return unexplained > 0


def read_survivors() -> dict[str, dict[str, str]]:
    """Module -> key of a mutant that no test can notice -> why."""
    return yaml.safe_load((HERE / "survivors.yaml").read_text(encoding="utf-8"))


def tell(module: str, outcome: Outcome, why: dict[str, str]) -> int:
    """Print a module's row and its survivors; returns how many of these nobody has explained."""
    killed = outcome.tried - len(outcome.survivors)
    explained = [one for one in outcome.survivors if one.key in why]
    share = killed / outcome.tried if outcome.tried else 1.0
    counted = (outcome.possible, outcome.tried, f"{killed} ({share:.1%})", len(explained))
    print(f"| {module} | {' | '.join(map(str, counted))} |")
    for one in outcome.survivors:
        print(f"    {module}.py:{one.line}: {one.key}{' (explained)' if one in explained else ''}")
    sys.stdout.flush()
    return len(outcome.survivors) - len(explained)


def try_module(module: str, sample: int | None, seed: int, verbose: bool) -> Outcome:
    """Run the tests of a module on its mutants."""
    path = REPOSITORY / "code" / f"{module}.py"
    possible = list_mutants(path.read_text(encoding="utf-8"))
    wanted = len(possible) if sample is None else min(sample, len(possible))
    drawn = random.Random(f"{seed}/{module}").sample(possible, wanted)
    survivors = []

    def take(tried: Tried) -> None:
        one = possible[tried.number]
        if not tried.killed:
            survivors.append(one)
        if verbose:
            print(f"    {one.line} {one.key} {'' if tried.killed else 'SURVIVES'} {tried.seconds:.1f} s", flush=True)

    try_mutants(SUBJECTS[module], path, drawn, take)
    return Outcome(len(possible), len(drawn), sorted(survivors, key=lambda one: one.number))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
