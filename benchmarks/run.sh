#!/usr/bin/env bash
# Measures this engine beside other ways to train and score, on the CPU, from any folder:
#
#     bash benchmarks/run.sh              # about an hour on two cores that do nothing else
#     bash benchmarks/run.sh --quick      # a quarter of an hour: shows that it runs; its numbers are worth little
#     bash benchmarks/run.sh --full       # also epochs over 1/8, 1/4, 1/2 and all of MELD, and rows grouped three
#                                         # ways against weighted F1: an hour and a half more
#
# The first makes results/*.json, and from them the tables and the chart of README.md; --quick writes to
# results/quick/ and the terminal alone. Further arguments go to benchmarks/measure.py (--sections scoring, ...).
# Needs MELD's pickle where the scripts of code/ look for it; IEMOCAP and EmoryNLP are used where they are there.
set -euo pipefail

case ${1:-} in
    --quick | --full) effort=${1#--} && shift ;;
    *) effort=default ;;
esac
# shellcheck source=benchmarks/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

if [[ $effort != quick ]]; then
    make_rows meld predict
    for dataset in iemocap EmoryNLP; do
        for kind in window predict; do
            make_rows "$dataset" "$kind" || say "$dataset, $kind: left out"
        done
    done
fi
exec "$python" -m benchmarks.measure --effort "$effort" "$@"
