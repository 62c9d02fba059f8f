#!/usr/bin/env bash
# One dataset, each utterance with the turns before it: InstructERC's main setting (arXiv 2309.11911).
#
#   bash code/train_and_inference_Uni.sh                # the sample corpus, SmolLM2-135M, LoRA: a few minutes
#   dataset=meld bash code/train_and_inference_Uni.sh   # a corpus of the paper: some 76 minutes on two CPU cores
#   Experiments_setting=zero_shot bash code/train_and_inference_Uni.sh
#   dataset=iemocap MODEL_NAME=LLaMA2 decode=generate num_beams=4 bash code/train_and_inference_Uni.sh
#   DRY_RUN=1 dataset=iemocap MODEL_NAME=LLaMA2 bash code/train_and_inference_Uni.sh
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter or
# model: checkpoint/. Every setting can be set from the environment, as above; code/README.md has the table of them.
# shellcheck source=code/experiment.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"

# 1. Settings: checked before anything is installed, fetched or written.
settle window "$@"

# 2. Environment, base and rows; with domain_base=True the rows hold demonstrations that an encoder finds.
capture python bash envs/setup.sh
capture base "$python" LLM_bases/fetch.py "$MODEL_NAME"
if [[ $domain_base == True ]]; then
    capture encoder "$python" LLM_bases/fetch.py "$encoder"
    writer_flags+=(--encoder "$encoder")
fi
capture rows "$python" code/data_process.py "${writer_flags[@]}"

# 3. Train, choose the epoch on valid, score test once; with speaker_task=True who speaks comes first.
prepare_training
if [[ $speaker_task == True ]]; then
    split_rows
    train_stage 1 2 "$@" --num_train_epochs "$speaker_epochs"
    train_stage 2 2 "$@"
else
    train_and_score "$rows" "$result" "$result" "$@"
fi
