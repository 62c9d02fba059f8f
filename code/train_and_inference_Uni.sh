#!/usr/bin/env bash
# One dataset, each utterance with the turns before it: InstructERC's main setting (arXiv 2309.11911).
#
#   bash code/train_and_inference_Uni.sh                # the sample corpus, SmolLM2-135M, LoRA: a few minutes
#   dataset=meld bash code/train_and_inference_Uni.sh   # the real benchmark; hours on a CPU
#   Experiments_setting=zero_shot bash code/train_and_inference_Uni.sh
#   dataset=iemocap MODEL_NAME=LLaMA2 decode=generate bash code/train_and_inference_Uni.sh --num_beams 4
#   DRY_RUN=1 dataset=iemocap MODEL_NAME=LLaMA2 bash code/train_and_inference_Uni.sh
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter
# or model: checkpoint/. Each line below can be set from the environment; settings.sh lists the other knobs.

declare -A default=(
    [FLAG]=1
    [MODEL_NAME]=SmolLM2-135M
    [Experiments_setting]=lora
    [dataset]=sample
    [historical_window]=12
    [speaker_task]=None
    [domain_base]=False
    [emotion_prediction]=False
    [data_percent]=1
)
rows_of=window
# shellcheck source=code/pipeline.sh
source "$(dirname "${BASH_SOURCE[0]}")/pipeline.sh"
