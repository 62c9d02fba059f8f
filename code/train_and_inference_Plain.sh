#!/usr/bin/env bash
# The utterance alone, without role or history: the published "LoRA + Backbone" baseline (arXiv 2309.11911).
# What train_and_inference_Uni.sh gains over it is what the conversation is worth.
#
#   bash code/train_and_inference_Plain.sh                # the sample corpus, SmolLM2-135M: a few minutes
#   dataset=meld bash code/train_and_inference_Plain.sh   # the real benchmark; an hour or more on a CPU
#   dataset=EmoryNLP MODEL_NAME=LLaMA2 seed=7 bash code/train_and_inference_Plain.sh
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter
# or model: checkpoint/. Each line below can be set from the environment; settings.sh lists the other knobs.

declare -A default=(
    [FLAG]=1
    [MODEL_NAME]=SmolLM2-135M
    [Experiments_setting]=lora
    [dataset]=sample
    [data_percent]=1
)
rows_of=plain
# shellcheck source=code/pipeline.sh
source "$(dirname "${BASH_SOURCE[0]}")/pipeline.sh"
