# shellcheck shell=bash disable=SC2016,SC2154
# One experiment: settings -> checks -> environment -> base -> rows -> training and scores. Sourced by
# train_and_inference_*.sh, which bring `rows_of` (window or plain) and their defaults.
#
# Every knob of settings.sh is set from the environment; further arguments go to code/main_new.py as they are
# and may repeat its flags (the last one counts). Relative paths start in the caller's folder, those among the
# further arguments in the repository. All problems are reported at once, one line each, with exit code 2,
# before anything is installed or written.
#   FLAG=0      check, say what would run, stop
#   DRY_RUN=1   print the commands, a script that does the same, and run nothing
#   NPROC       processes on each machine; unset: the visible GPUs, graphics_card at most, and 1 without any.
#               The batch is graphics_card x accumulations rows all the same: fewer processes take more each.
#   HOSTFILE    the machines, for a run on several, as DeepSpeed reads it
set -euo pipefail
if ((BASH_VERSINFO[0] < 5)); then
    printf 'error: this is bash %s: use bash 5 or newer\n' "$BASH_VERSION" >&2
    exit 2
fi
caller=$PWD
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# shellcheck source=code/settings.sh
source "$repository/code/settings.sh"
# shellcheck source=code/checks.sh
source "$repository/code/checks.sh"

row_flags=() main_flags=() variant=""

# The default of a knob, the most particular one there is; nothing where main_new.py decides.
find_default() {
    local selector
    for selector in "@$base_name@$Experiments_setting" "@$base_name@$dataset" "@$base_name@$rows_of" \
        "@$rows_of" "@$base_name" "@$dataset" "@$Experiments_setting" ""; do
        if [[ -n ${default[$1$selector]+there} ]]; then
            printf '%s' "${default[$1$selector]}"
            return
        fi
    done
}

# A path of the caller's as it is called in the repository, which is where the commands run.
from_repository() {
    local path=$1
    [[ $path == /* ]] || path=$caller/$path
    printf '%s' "${path#"$repository/"}"
}

# A knob that is set under its other name; set under both, it must say the same.
adopt_other_names() {
    local name other
    for name in "${!other_name[@]}"; do
        other=${other_name[$name]}
        [[ -n ${!other-} ]] || continue
        if [[ -z ${!name+set} ]]; then
            printf -v "$name" '%s' "${!other}"
        elif [[ ${!name} != "${!other}" ]]; then
            complain "$other" "${!other}" "$name=${!name} is the same knob and says otherwise; set one of them"
        fi
    done
}

# Sets the variable of a knob, and files it where it is read: row_flags, main_flags, variant.
settle_knob() {
    local name=$1 reader=$2 allowed=$3 suffix=$4 usual value
    usual=$(find_default "$name")
    value=${!name-$usual}
    if ! is_read "$reader"; then
        [[ $value == "$usual" ]] || complain "$name" "$value" \
            "${read_under[$reader]+only ${read_under[$reader]} reads it; }Experiments_setting=$Experiments_setting on \
$rows_of rows has no use for it"
        return
    fi
    [[ -z ${!name+set} ]] || check_value "$name" "$value" "$allowed"
    if is_path "$allowed" "$value"; then value=$(from_repository "$value"); fi
    printf -v "$name" '%s' "$value"
    [[ $suffix == - || $value == "$usual" ]] || variant+="-${suffix}_$value"
    case $reader in
        shell | fetched | stage_1) ;;
        rows | window | history | mixed | domain) [[ -z $value ]] || row_flags+=("--$name" "$value") ;;
        drawn) if [[ $rows_of == mixed ]]; then row_flags+=("--$name" "$value"); else main_flags+=("--$name" "$value"); fi ;;
        *) [[ -z $value || $value == none ]] || main_flags+=("--$name" "$value") ;;
    esac
}

count_gpus() {
    local gpus
    gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
    if ((gpus > 0)) && [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c '^[^-]' || true)
    fi
    printf '%s' "$gpus"
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

run() { if ((DRY_RUN)); then show "$@"; else "$@"; fi; }

# capture NAME COMMAND...: the command's stdout becomes the variable NAME.
capture() {
    # shellcheck disable=SC2034
    local -n target=$1
    if ((DRY_RUN)); then
        printf '%s=$(%s)\n' "$1" "$(show "${@:2}")"
        target="\$$1"
    else
        target=$("${@:2}")
    fi
}

# name_further ARGUMENT...: what the further arguments add to the names of the result folders: nothing for
# those that leave the result as it is.
name_further() {
    local word name reader allowed suffix silent="" is_value=0 kept=()
    for word in "${knobs[@]}"; do
        read -r name reader allowed suffix <<<"$word"
        [[ $reader == shell || $suffix != - ]] || silent+=" --$name"
    done
    for word in "$@"; do
        if ((is_value)); then
            is_value=0
        elif is_listed "${word%%=*}" "$silent"; then
            [[ $word == *=* ]] || is_value=1
        else
            kept+=("${word#--}")
        fi
    done
    printf '%s' "${kept[*]+-${kept[*]}}"
}

# 1. Settings. The first three decide on the defaults of the others.
for name in ERC_ORIGINAL_DATA ERC_PYTHON ERC_TORCH HOSTFILE NPROC; do
    [[ -n ${!name-} ]] || unset "$name" # set to nothing is how a caller unsets them for one command
done
adopt_other_names
MODEL_NAME=${MODEL_NAME-${default[MODEL_NAME]}}
Experiments_setting=${Experiments_setting-${default[Experiments_setting]}}
dataset=${dataset-${default[dataset]}}
name_base "$MODEL_NAME"
for knob in "${knobs[@]}"; do
    read -r name reader allowed suffix <<<"$knob"
    settle_knob "$name" "$reader" "$allowed" "$suffix"
done
check_decoding
check_modules
check_mix
if ((${#problems[@]})); then
    for problem in "${problems[@]}"; do
        printf 'error: %s\n' "${problem//$'\n'/ }" >&2
    done
    exit 2
fi

# 2. What follows from them: the batch, the processes, the folders of the result.
batch_size=$((graphics_card * accumulations))
usual_batch_size=$(($(find_default graphics_card) * $(find_default accumulations)))
[[ $Experiments_setting == zero_shot ]] || ((batch_size == usual_batch_size)) || variant+="-batch_$batch_size"
variant=$rows_of${historical_window:+_$historical_window}$variant
variant+=$(name_further "$@")
variant=${variant//,/+}
result=$result_name/$Experiments_setting/$dataset/${variant//[^A-Za-z0-9_.=+-]/_}
gpus=$(count_gpus)
processes=${NPROC:-$((gpus == 0 ? 1 : gpus < graphics_card ? gpus : graphics_card))}
summary="$Experiments_setting on $dataset with $MODEL_NAME, batches of $graphics_card x $accumulations = \
$batch_size rows, processes: $processes -> experiments/$result"
if ((FLAG == 0)); then
    printf 'the settings are fine; FLAG=1 would run %s\n' "$summary"
    exit 0
fi

# 3. Environment, base, rows.
cd "$repository"
if ((DRY_RUN)); then
    printf 'set -euo pipefail\n'
    show cd "$repository"
    for name in ERC_ORIGINAL_DATA ERC_PYTHON ERC_TORCH; do
        [[ -z ${!name} ]] || show export "$name=${!name}"
    done
else
    printf '%s\n' "$summary" >&2
fi
capture python bash envs/setup.sh
capture base "$python" LLM_bases/fetch.py "$MODEL_NAME"
if is_read fetched; then
    capture encoder "$python" LLM_bases/fetch.py "$encoder"
    row_flags+=(--encoder "$encoder")
fi
if [[ $rows_of == mixed ]]; then row_flags+=(--seed "$seed"); else row_flags=(--dataset "$dataset" "${row_flags[@]}"); fi
capture rows "$python" "${row_writer[$rows_of]}" "${row_flags[@]}"

# 4. Train and score. DeepSpeed builds its operators with tools of the environment.
launcher=("$python")
if ((DRY_RUN)); then show source envs/allocator.sh; else source envs/allocator.sh; fi
if ((processes > 1)) || [[ $HOSTFILE || $deepspeed_config != none || ${offload_optimizer-} == True ]]; then
    [[ $deepspeed_config != none ]] || main_flags+=(--deepspeed_config code/data_utils/deepspeed_config.json)
    if ((DRY_RUN)); then echo 'export PATH="${python%/*}:$PATH"'; else export PATH="${python%/*}:$PATH"; fi
    launcher=("$python" -m deepspeed.launcher.runner ${HOSTFILE:+--hostfile "$HOSTFILE"})
    [[ -n $HOSTFILE && -z $NPROC ]] || launcher+=(--num_accelerators "$processes")
fi
read -ra flags <<<"${setting_flags[$Experiments_setting]}"

# train_and_score ROWS RESULTS MODEL ARGUMENT...: one run of main_new.py.
train_and_score() {
    run "${launcher[@]}" code/main_new.py --dataset "$dataset" --data_dir "$1" --model_name_or_path "$base" \
        --output_dir "experiments/$2" --model_dir "checkpoint/$3" "${flags[@]}" \
        --batch_size "$batch_size" "${main_flags[@]}" "${@:4}"
}

# Stages, each from the weights of the one before: who speaks, then what is felt; or one dataset after the other.
stages=1
if [[ ${speaker_task-} == True ]]; then stages=2; fi
if [[ ${mode-} == sequence ]]; then
    commas=${datasets//[^,]/}
    stages=$((1 + ${#commas}))
fi
if ((stages == 1)); then
    train_and_score "$rows" "$result" "$result" "$@"
    exit
fi
if ((DRY_RUN)); then printf '%s\n' 'IFS=, read -ra folders <<<"$rows"'; else IFS=, read -ra folders <<<"$rows"; fi
for ((stage = 1; stage <= stages; stage++)); do
    if ((DRY_RUN)); then folder="\${folders[$((stage - 1))]}"; else folder=${folders[stage - 1]}; fi
    # The last model takes the whole place of an older one, so those that lead to it lie beside it.
    place=$result model=$result stage_flags=()
    ((stage == stages)) || place=$result/stage_$stage model=$result-stages/stage_$stage
    if ((stage > 1)); then stage_flags+=(--checkpoint_dir "checkpoint/$result-stages/stage_$((stage - 1))"); fi
    if ((stage == 1)) && is_read stage_1; then stage_flags+=(--num_train_epochs "$speaker_epochs"); fi
    train_and_score "$folder" "$place" "$model" "${stage_flags[@]}" "$@"
done
