# shellcheck shell=bash disable=SC2016,SC2034,SC2064,SC2154
# What the three scripts share. Every setting stands in code/knobs/table.py and is set from the environment. Further
# arguments go to code/main_new.py, whose flags they may repeat (the last counts), but what knobs and stages hand on; of
# stages, epochs are those of the last. Relative paths start in the caller's folder, those among them in the repository.
#   FLAG=0      check, say what would run, stop
#   DRY_RUN=1   print the commands, a script that does the same, and run nothing
set -euo pipefail
if ((BASH_VERSINFO[0] < 5)); then
    printf 'error: this is bash %s: use bash 5 or newer\n' "$BASH_VERSION" >&2
    exit 2
fi
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# settle ROWS ARGUMENT...: checks all settings, before anything is installed or written, and makes them variables.
settle() {
    local interpreter assignments
    interpreter=$(bash "$repository/envs/setup.sh" --interpreter)
    if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then
        sed -nE '/^(# shellcheck|[^#])/q; 2,$ s/^# ?//p' "$0"
        printf '\n'
        "$interpreter" "$repository/code/settings.py" "$1" --help
        exit
    fi
    assignments=$("$interpreter" "$repository/code/settings.py" "$@") || exit
    source /dev/stdin <<<"$assignments"
    if ((FLAG == 0)); then
        printf 'the settings are fine; FLAG=1 would run %s\n' "$summary"
        exit
    fi
    ((DRY_RUN)) || printf '%s\n' "$summary" >&2
    cd "$repository"
    ((!DRY_RUN)) || printf 'set -euo pipefail\n%s\n' "$(show cd "$repository")"
    ((!${#exported[@]})) || do_or_show export "${exported[@]}"
}

# Prints words as a line for a shell; those that name a variable of the dry run stay variables.
show() {
    local word line=""
    for word in "$@"; do
        case $word in
            '$python' | '$base' | '$encoder' | '$rows' | '${folders['[0-9]']}') word="\"$word\"" ;;
            *[!A-Za-z0-9_./:=,+@%-]* | "") word=${word@Q} ;;
        esac
        line+="${line:+ }$word"
    done
    printf '%s\n' "$line"
}

do_or_show() { if ((DRY_RUN)); then show "$@"; else "$@"; fi; }

# The same for what comes last: it takes the place of this shell, so that `kill` reaches what can save. A launcher does
# not hand it on.
do_last() { if ((${#launcher[@]} || DRY_RUN)); then do_and_wait "$@"; else exec "$@"; fi; }

# The same where this shell stays, as others follow or a launcher would be left alone: what this shell is told reaches
# the command and all that it has started; once told, it waits for all of them, and nothing follows.
do_and_wait() {
    local name second code=0
    if ((DRY_RUN)); then show "$@" && return; fi
    started="" told=0 handed=0
    for name in INT TERM HUP QUIT; do trap "hand_on $name" "$name"; done
    trap 'kill -s STOP -- "-$started" $$ || true; kill -s CONT -- "-$started" || true' TSTP # Ctrl-Z, and what fg does
    set -m # a group of its own: what the terminal sends comes from here alone
    "$@" &
    started=$!
    set +m
    ((!told || handed)) || kill -s TERM -- "-$started" 2>/dev/null || true # told before there was anybody to tell
    while kill -0 "$started" 2>/dev/null; do wait "$started" || true; done
    for ((second = 0; told && second < 60; second++)); do
        kill -0 -- "-$started" 2>/dev/null || break
        sleep 1
    done
    trap - INT TERM HUP QUIT TSTP
    wait "$started" || code=$?
    return $((code ? code : told))
}

hand_on() {
    told=$((128 + $(kill -l "$1")))
    [[ -z $started ]] || { handed=1 && kill -s "$1" -- "-$started" 2>/dev/null || true; }
}

# capture NAME COMMAND...: the command's stdout becomes the variable NAME.
capture() {
    local -n target=$1
    if ((DRY_RUN)); then
        printf '%s=$(%s)\n' "$1" "$(show "${@:2}")"
        target="\$$1"
    else
        target=$("${@:2}")
    fi
}

# What long runs need: memory kept by the allocator, and for DeepSpeed, which builds its operators, .venv's tools.
prepare_training() {
    do_or_show source envs/allocator.sh
    ((${#launcher[@]})) || return 0
    if ((DRY_RUN)); then echo 'export PATH="${python%/*}:$PATH"'; else export PATH="${python%/*}:$PATH"; fi
}

# train_and_score ROWS RESULTS MODEL ARGUMENT...: one run of main_new.py.
train_and_score() {
    "${run_by:-do_last}" "$python" "${launcher[@]}" code/main_new.py --dataset "$dataset" --data_dir "$1" \
        --model_name_or_path "$base" --output_dir "experiments/$2" --model_dir "checkpoint/$3" "${main_flags[@]}" "${@:4}"
}

# split_rows: the folders of rows, one for each stage, become the array `folders`.
split_rows() {
    if ((DRY_RUN)); then
        printf '%s\n' 'IFS=, read -ra folders <<<"$rows"'
        folders=('${folders['{0..9}']}')
    else
        IFS=, read -ra folders <<<"$rows"
    fi
}

# train_stage NUMBER COUNT ARGUMENT...: one of several runs, each from the weights of the one before. The last model
# takes the whole place of an older one, so those that lead to it lie beside it.
train_stage() {
    local place=$result model=$result start=() run_by=do_last
    (($1 == $2)) || place=$result/stage_$1 model=$result-stages/stage_$1 run_by=do_and_wait
    (($1 == 1)) || start=(--checkpoint_dir "checkpoint/$result-stages/stage_$(($1 - 1))")
    train_and_score "${folders[$1 - 1]}" "$place" "$model" "${start[@]}" "${@:3}"
}
