#!/usr/bin/env bash
# The utterance alone, without role or history: the published "LoRA + Backbone" baseline (arXiv 2309.11911).
# What train_and_inference_Uni.sh gains over it is what the conversation is worth.
#
#   bash code/train_and_inference_Plain.sh                # the sample corpus, SmolLM2-135M: a few minutes
#   dataset=meld bash code/train_and_inference_Plain.sh   # the real benchmark; an hour or more on a CPU
#   dataset=EmoryNLP MODEL_NAME=LLaMA2 seed=7 bash code/train_and_inference_Plain.sh
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter or
# model: checkpoint/. Every setting can be set from the environment, as above; code/README.md has the table of them.
# shellcheck source=code/experiment.sh disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/experiment.sh"

# 1. Settings: checked before anything is installed, fetched or written.
settle plain "$@"

# 2. Environment, base and rows.
capture python bash envs/setup.sh
capture base "$python" LLM_bases/fetch.py "$MODEL_NAME"
capture rows "$python" code/data_process_plain.py "${writer_flags[@]}"

# 3. Train, choose the epoch on valid, score test once.
prepare_training
train_and_score "$rows" "$result" "$result" "$@"
