# shellcheck shell=bash disable=SC2034,SC2154
# What a knob may be set to: functions that pipeline.sh calls with the tables of settings.sh at hand. What is
# wrong is added to `problems`, one line each.
problems=()
complain() { problems+=("$1=$2: $3"); }

is_listed() {
    local word
    for word in $2; do
        [[ $word != "$1" ]] || return 0
    done
    return 1
}

# A base of the table is meant by its name, whatever the caller's folder holds.
is_base_folder() { [[ -d $1 ]] && ! is_listed "$1" "$bases"; }

# What the recipe and the result folders of a base go by. Two bases of the same last name share no results:
# a hub id that is not in the table is called owner--name, and a folder outside LLM_bases <name>-<CRC of its
# resolved path>. A recipe of settings.sh counts for every base of its name.
name_base() {
    local folder
    base_name=${base_of_hub_id[${1:-none}]-${1##*/}} result_name=${base_of_hub_id[${1:-none}]-${1//\//--}}
    if is_base_folder "$1"; then
        folder=$(cd -P -- "$1" && pwd)
        base_name=${folder##*/} result_name=${folder##*/}
        [[ ${folder%/*} == "$(cd -P "$repository" && pwd)/LLM_bases" ]] ||
            result_name+=$(printf -- '-%08x' "$(printf '%s' "$folder" | cksum | cut -d ' ' -f 1)")
    fi
}

# Whether the settings of this run have a use for a reader's knobs.
is_read() {
    local under=${read_under[$1]-}
    local knob=${under%%=*}
    if [[ $under ]]; then
        [[ ${!knob-} == "${under#*=}" ]] && is_listed window "$rows_of" &&
            { [[ $1 != stage_1 ]] || is_listed train "${readers[$Experiments_setting]-}"; }
    else
        is_listed "$1" "${readers[$Experiments_setting]-${readers[lora]}} ${row_readers[$rows_of]}"
    fi
}

# is_path ALLOWED VALUE: whether a value is a path of the caller's.
is_path() {
    case $1 in
        file | folder | model) [[ -n $2 && $2 != none ]] ;;
        program) [[ $2 == */* ]] ;;
        base) is_base_folder "$2" ;;
        encoder) [[ -d $2 ]] && ! is_listed "$2" "$encoders" ;;
        *) return 1 ;;
    esac
}

check_base() {
    if is_base_folder "$2"; then
        [[ -f $2/config.json ]] ||
            complain "$1" "$2" "this folder holds no config.json, so no transformers model"
    elif [[ ! -f $repository/LLM_bases/$2/config.json && ! $2 =~ ${pattern[hub_id]} ]]; then
        is_listed "$2" "$bases" ||
            complain "$1" "$2" "choose one of $bases, a folder with a transformers model, or a hub id (owner/name)"
    fi
}

check_encoder() {
    if [[ -d $2 ]] && ! is_listed "$2" "$encoders"; then
        [[ -f $2/modules.json || -f $2/config.json ]] ||
            complain "$1" "$2" "this folder holds no modules.json, so no sentence encoder"
    elif [[ ! -f $repository/LLM_bases/$2/modules.json && ! $2 =~ ${pattern[hub_id]} ]]; then
        is_listed "$2" "$encoders" ||
            complain "$1" "$2" "choose one of $encoders, a folder with a sentence encoder, or a hub id (owner/name)"
    fi
}

check_dataset() {
    local pickle=${ERC_ORIGINAL_DATA:-$repository/original_data}/$2/$2.pkl advice="see original_data/README.md"
    if [[ $1 == dataset && $rows_of == mixed ]]; then
        [[ $2 == unified ]] || complain "$1" "$2" "mixed rows are of several datasets; set datasets, joined by commas"
    elif ! is_listed "$2" "$known_datasets"; then
        complain "$1" "$2" "choose one of $known_datasets"
    elif [[ $2 != sample && ! -f $pickle ]]; then
        if is_listed "$2" "$published"; then
            advice="python original_data/fetch.py $2${ERC_ORIGINAL_DATA:+ --original_data $ERC_ORIGINAL_DATA} gets it"
        fi
        complain "$1" "$2" "there is no $pickle: $advice, or set ERC_ORIGINAL_DATA"
    fi
}

# A dry run may name a checkpoint that another run has yet to make.
check_checkpoint() {
    if ((DRY_RUN)) && [[ $2 == checkpoint/* && ! -e $2 ]]; then
        return
    elif [[ $2 != none && ! -d $2 ]]; then
        complain "$1" "$2" "there is no such folder"
    elif [[ $2 != none && ! -f $2/config.json && ! -f $2/adapter_config.json ]]; then
        complain "$1" "$2" "this folder holds no config.json or adapter_config.json, so no model and no adapter"
    fi
}

check_decoding() {
    local name
    [[ $decode == score || ${calibrate:-False} == False ]] ||
        complain calibrate "$calibrate" "decode=$decode has no use for it; set decode=score"
    [[ $decode == score ]] || return 0
    for name in "${!read_by_generate[@]}"; do
        [[ -z ${!name} || ${!name} == "${read_by_generate[$name]}" ]] ||
            complain "$name" "${!name}" "decode=score has no use for it; set decode=generate"
    done
}

# Names joined by commas, each once.
check_datasets() {
    local name names
    IFS=, read -ra names <<<"$2"
    for name in "${names[@]}"; do check_dataset "$1" "$name"; done
    [[ -n $2 && -z $(printf '%s\n' "${names[@]}" | sort | uniq -d) ]] ||
        complain "$1" "$2" "give each of $known_datasets at most once, joined by commas, and at least one"
}

check_mix() {
    [[ $rows_of == mixed ]] || return 0
    [[ $mode == mixed || $mix == total ]] ||
        complain mix "$mix" "mode=sequence draws of each set in turn; leave mix away"
    if [[ $mix == single ]]; then
        is_listed "$train_on" "${datasets//,/ }" ||
            complain train_on "$train_on" "mix=single trains on one of ${datasets//,/ }"
    elif [[ $train_on ]]; then
        complain train_on "$train_on" "only mix=single reads it"
    fi
}

# The modules that are there for training need a setting that trains.
check_modules() {
    local name
    [[ $Experiments_setting == zero_shot ]] || return 0
    for name in speaker_task emotion_prediction; do
        [[ ${!name-None} =~ ^(None|False)$ ]] ||
            complain "$name" "${!name}" "Experiments_setting=zero_shot trains nothing; choose lora or all_parameters"
    done
}

check_value() {
    local name=$1 value=$2 allowed=$3 choices=${3#oneof:}
    choices=${choices//,/ }
    case $allowed in
        oneof:*) is_listed "$value" "$choices" || complain "$name" "$value" "choose one of $choices" ;;
        dataset) check_dataset "$name" "$value" ;;
        datasets) check_datasets "$name" "$value" ;;
        optional) ;;
        base) check_base "$name" "$value" ;;
        encoder) check_encoder "$name" "$value" ;;
        file) [[ $value == none || -f $value ]] || complain "$name" "$value" "there is no such file" ;;
        folder) [[ $value == none || -d $value ]] || complain "$name" "$value" "there is no such folder" ;;
        model) check_checkpoint "$name" "$value" ;;
        program) [[ -n $(command -v "$value") ]] || complain "$name" "$value" "there is no such program" ;;
        *) [[ $value =~ ${pattern[$allowed]} ]] || complain "$name" "$value" "${meaning[$allowed]}" ;;
    esac
}
