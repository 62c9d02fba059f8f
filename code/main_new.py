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
from bases.load import resolve_base
from basics.errors import raise_together
from basics.stopping import advised
from data_utils.row_sets import load_row_sets
from engine.distributed import join_world
from results.card import render_model_card
from results.summary import finished_before, report_run
from training.arguments import parse_arguments
from training.as_trained import as_trained
from training.deepspeed_engine import wants_deepspeed
from training.folders import claimed_folders, find_folder_problems
from training.rows.encoding import report_shortened
from training.run import build_model, load_best, prepare_run
from training.stages import fine_tune, fit_transitions, is_left_to_score, score_finished, score_other_tasks


def main() -> None:
    arguments = as_trained(*parse_arguments(__doc__))
    raise_together(find_folder_problems(arguments))
    model_arguments, data_arguments, training_arguments = arguments

    # 1. processes, rows, base, tokenizer
    deepspeed, processes = wants_deepspeed(training_arguments), training_arguments.processes
    world = join_world(training_arguments.local_rank, alone_too=deepspeed, processes=processes)
    row_sets = load_row_sets(data_arguments.data_dir, data_arguments.dataset)
    run = prepare_run(arguments, resolve_base(model_arguments.model_name_or_path), row_sets, world)
    if training_arguments.resume and world.from_first(lambda: finished_before(run)):
        return

    # 2. the model as it starts
    if world.is_first:
        report_shortened(run.encoded)
    model = build_model(run)
    how = "the same command with --resume True, or resume=True before a script, goes on"
    with world.all_here(), claimed_folders(arguments, world), advised(how if training_arguments.do_train else ""):
        # 3. training; the best epoch lies in model_dir afterwards
        progress = None
        if training_arguments.do_train:
            progress = fine_tune(run, model, render_model_card)
            model = None  # the one on disk takes its place
            model = load_best(run) if is_left_to_score(run) else None
            fit_transitions(run, model)

        # 4. test, once (or the split that was asked for), and what is left behind
        predictions = score_finished(run, model) if training_arguments.do_eval else []
        others = score_other_tasks(run, model) if training_arguments.do_eval else {}
        if world.is_first:
            report_run(run, progress, predictions, others)
    world.leave()


if __name__ == "__main__":
    run_script(main)
