"""Fine-tunes a base on emotion rows, keeps the best epoch, and scores the test split once.

    python code/data_process.py --dataset sample
    python code/main_new.py --dataset sample --data_dir data/sample/window --model_name_or_path SmolLM2-135M \\
        --output_dir experiments/try --model_dir checkpoint/try --lora_module_name all --learning_rate 1e-3

The base is the language model that is trained. The scripts code/train_and_inference_*.sh call this program with their
defaults. On a CPU `--processes 4` is four that share the work; on several GPUs `deepspeed` starts it.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
from typing import TYPE_CHECKING

from basics.errors import raise_together
from basics.stopping import advised
from training.arguments import Arguments, Said, find_contradictions, parse_arguments

if TYPE_CHECKING:
    from training.run import Run


def main() -> None:
    train_and_score(*parse_arguments(__doc__))


def train_and_score(arguments: Arguments, said: Said) -> None:
    """All that the flags ask for. said: those that stood on the command line."""
    # Late: --help and what is wrong with a flag need no torch. At once: what is pulled meanwhile is of the next run.
    from results.card import render_model_card
    from results.summary import finished_before, report_run
    from training.folders import claimed_folders
    from training.rows.encoding import report_shortened, warn_of_cut_labels
    from training.run import build_model, load_best
    from training.stages import fine_tune, fit_transitions, is_left_to_score, score_finished, score_other_tasks

    run = prepare(arguments, said)
    world, training = run.world, run.arguments[2]
    if training.resume and world.from_first(lambda: finished_before(run)):
        return
    if world.is_first:
        report_shortened(run.encoded)
        warn_of_cut_labels(run.encoder, run.row_sets, run.arguments[2])
    model = build_model(run)
    how = "the same command with --resume True, or resume=True before a script, goes on"
    with world.all_here(), claimed_folders(run.arguments, world), advised(how if training.do_train else ""):
        # Training; the best epoch lies in model_dir afterwards.
        progress = None
        if training.do_train:
            progress = fine_tune(run, model, render_model_card)
            model = None  # the one on disk takes its place
            model = load_best(run) if is_left_to_score(run) else None
            fit_transitions(run, model)

        # Test, once (or the split that was asked for), and what is left behind.
        predictions = score_finished(run, model) if training.do_eval else []
        others = score_other_tasks(run, model) if training.do_eval else {}
        if world.is_first:
            report_run(run, progress, predictions, others)
    world.leave()


def prepare(arguments: Arguments, said: Said) -> "Run":
    """Processes, rows, base and tokenizer."""
    from bases.load import resolve_base
    from data_utils.row_sets import load_row_sets
    from engine.distributed import join_world
    from training.as_trained import as_trained
    from training.deepspeed_engine import wants_deepspeed
    from training.folders import find_folder_problems
    from training.run import prepare_run

    arguments = as_trained(arguments, said)
    # Once more: a checkpoint has decided flags that were not said.
    raise_together(find_contradictions(*arguments) or find_folder_problems(arguments))
    model, data, training = arguments
    world = join_world(training.local_rank, alone_too=wants_deepspeed(training), processes=training.processes)
    row_sets = load_row_sets(data.data_dir, data.dataset)
    return prepare_run(arguments, resolve_base(model.model_name_or_path), row_sets, world)


if __name__ == "__main__":
    run_script(main)
