#!/usr/bin/env bash
# Measures this engine beside other ways to train and score, on the CPU, from any folder:
#
#     bash benchmarks/run.sh              # on two cores that do nothing else, some 50 minutes
#     bash benchmarks/run.sh --quick      # a few minutes: shows that it runs; its numbers are worth little
#     bash benchmarks/run.sh --full       # also the prediction task, all settings of TRL compiled, epochs over 1/8, 1/4,
#                                         # 1/2 and all of MELD, and rows grouped three ways against weighted F1: two
#                                         # hours and more beside that
#     bash benchmarks/run.sh --sections scoring neighbours        # some sections alone
#     bash benchmarks/run.sh --sections training --contenders earlier trl_patched     # beside these alone
#
# A processor with wide units can be held to what most laptops have; its results get a folder of their own:
#
#     ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 bash benchmarks/run.sh
#
# It follows the processor: where that does not multiply in bf16 all contenders compute in fp32. The first makes
# results/<processor>/*.json and from them the tables of README.md here, the paragraph of the front page and the charts;
# --quick, and what is measured of another --base, goes to quick/ and the terminal alone. Stopped, it leaves no process
# behind. Needs MELD's pickle where the scripts of code/ look for it; IEMOCAP and EmoryNLP are used where they are there.
set -euo pipefail

case ${1:-} in
    --quick | --full) effort=${1#--} && shift ;;
    *) effort=default ;;
esac
# shellcheck source=benchmarks/prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" benchmarks.arguments --effort "$effort" "$@"

if [[ $effort != quick ]]; then
    make_rows meld predict
    for dataset in iemocap EmoryNLP; do
        for kind in window predict; do
            make_rows "$dataset" "$kind" || say "$dataset, $kind: left out"
        done
    done
fi
exec "$python" -m benchmarks.measure --effort "$effort" "$@"
