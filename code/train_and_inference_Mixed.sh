#!/usr/bin/env bash
# Several datasets as one, in the unified labels of the feeling wheel (arXiv 2309.11911, unified labels and data
# scaling): trained on a mix of them, or on one after the other, scored on every set's own test split.
#
#   bash code/train_and_inference_Mixed.sh                # the sample corpus in unified labels: a few minutes
#   datasets=iemocap,meld,EmoryNLP bash code/train_and_inference_Mixed.sh              # hours on a CPU
#   datasets=meld,EmoryNLP mix=ratio data_percent=0.25 bash code/train_and_inference_Mixed.sh
#   datasets=meld,EmoryNLP mix=single train_on=meld bash code/train_and_inference_Mixed.sh
#   datasets=meld,EmoryNLP mode=sequence bash code/train_and_inference_Mixed.sh
#
# The first run also sets up .venv and gets the base. Scores, figures and logs: experiments/; the best adapter
# or model: checkpoint/. Each line below can be set from the environment; settings.sh lists the other knobs.

declare -A default=(
    [FLAG]=1
    [MODEL_NAME]=SmolLM2-135M
    [Experiments_setting]=lora
    [dataset]=unified
    [datasets]=sample
    [mode]=mixed
    [mix]=total
    [train_on]=""
    [historical_window]=12
    [data_percent]=1
)
rows_of=mixed
# shellcheck source=code/pipeline.sh
source "$(dirname "${BASH_SOURCE[0]}")/pipeline.sh"
