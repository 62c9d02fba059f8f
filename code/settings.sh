# shellcheck shell=bash disable=SC2034
# The settings of an experiment as data; pipeline.sh reads them. A new knob is one line in `knobs`, a new
# value of a knob one word there, the recipe of a new base a few entries in `default`.

# Who reads a knob: shell = pipeline.sh itself, rows = the row writers, window, mixed = one of them, history = both
# of these, drawn = whoever draws training rows (mixed: the row writer, else main_new.py), domain = the same for demonstrations, fetched = LLM_bases/fetch.py for them; and of main_new.py:
# every = all settings, train = those that train, lora = those with adapters, stage_1 = the speaker stage alone.
# A value other than the default gets `-<suffix>_<value>` in the names of the result folders; - is for what
# leaves the result as it is or stands in their names already; further arguments likewise.
knobs=(
    # name                  reader  allowed                                         suffix
    "FLAG                   shell   oneof:0,1                                       -"
    "DRY_RUN                shell   oneof:0,1                                       -"
    "MODEL_NAME             shell   base                                            -"
    "Experiments_setting    shell   oneof:zero_shot,lora,all_parameters             -"
    "dataset                shell   dataset                                         -"
    "graphics_card          shell   count                                           -"
    "accumulations          shell   count                                           -"
    "NPROC                  shell   count                                           -"
    "HOSTFILE               shell   file                                            -"
    "ERC_ORIGINAL_DATA      shell   folder                                          -"
    "ERC_PYTHON             shell   program                                         -"
    "ERC_TORCH              shell   oneof:cpu,cuda                                  -"
    "historical_window      history whole                                           -"
    "datasets               mixed   datasets                                        sets"
    "mode                   mixed   oneof:mixed,sequence                            mode"
    "mix                    mixed   oneof:total,ratio,single                        mix"
    "train_on               mixed   optional                                        trained_on"
    "speaker_task           window  oneof:None,True,True_mixed                      speaker"
    "domain_base            window  oneof:False,True                                domain_base"
    "emotion_prediction     window  oneof:False,True                                prediction"
    "encoder                fetched encoder                                         encoder"
    "demonstrations         domain  count                                           top"
    "pairing                domain  oneof:all,paper                                 pairing"
    "position               domain  oneof:last,role                                 position"
    "domain_balance         domain  oneof:True,False                                balance"
    "exclude_identical      domain  oneof:False,True                                exclude_identical"
    "speaker_epochs         stage_1 count                                           speaker_epochs"
    "clean_text             rows    oneof:False,True                                clean_text"
    "check_counts           rows    oneof:True,False                                check_counts"
    "max_length             every   count                                           max_length"
    "eval_batch_size        every   count                                           -"
    "chat_template          every   oneof:False,True                                chat"
    "decode                 every   oneof:score,generate                            decode"
    "calibrate              every   oneof:False,True                                calibrate"
    "num_beams              every   count                                           beams"
    "max_new_tokens         every   count                                           max_new_tokens"
    "repair_answers         every   oneof:False,True                                repair_answers"
    "score_on               every   oneof:valid,test                                score"
    "precision              every   oneof:auto,bf16,fp32,fp16                       precision"
    "packing                every   oneof:tree,rows                                 packing"
    "token_budget           every   whole                                           -"
    "compile_layers         train   oneof:auto,True,False                           -"
    "seed                   every   whole                                           seed"
    "checkpoint_dir         train   model                                           from"
    "deepspeed_config       every   file                                            deepspeed"
    "num_train_epochs       train   count                                           epochs"
    "learning_rate          train   positive                                        rate"
    "warmup_ratio           train   share                                           warmup"
    "weight_decay           train   number                                          decay"
    "clip_norm              train   number                                          clip"
    "data_percent           drawn   fraction                                        data"
    "rows_per_dialogue      train   count                                           rows_per_dialogue"
    "beta                   train   number                                          beta"
    "select_on              train   oneof:valid,test                                select"
    "gradient_checkpointing train   oneof:False,True                                -"
    "offload_optimizer      train   oneof:False,True                                -"
    "save_steps             train   whole                                           -"
    "resume                 train   oneof:False,True                                -"
    "lora_dim               lora    count                                           lora_dim"
    "lora_alpha             lora    count                                           lora_alpha"
    "lora_dropout           lora    share                                           dropout"
    "lora_module_name       lora    names                                           lora_on"
    "rslora                 lora    oneof:False,True                                rslora"
    "dora                   lora    oneof:False,True                                dora"
    "quantize               lora    oneof:none,nf4                                  quantize"
)
# Knob -> another name under which it may be set.
declare -A other_name=([encoder]=ENCODER)
declare -A readers=(
    [zero_shot]="shell rows every"
    [lora]="shell rows every train drawn lora"
    [all_parameters]="shell rows every train drawn"
)
declare -A row_readers=([window]="window history" [plain]="" [mixed]="mixed history drawn")
# Readers that are there only under another knob's value.
declare -A read_under=([domain]="domain_base=True" [fetched]="domain_base=True" [stage_1]="speaker_task=True")
declare -A setting_flags=(
    [zero_shot]="--zero_shot True --do_train False --do_eval True --lora False"
    [lora]="--zero_shot False --do_train True --do_eval True --lora True"
    [all_parameters]="--zero_shot False --do_train True --do_eval True --lora False"
)
declare -A row_writer=(
    [window]=code/data_process.py [plain]=code/data_process_plain.py [mixed]=code/data_process_mixed.py
)
declare -A pattern=(
    [whole]='^(0|[1-9][0-9]{0,8})$'
    [count]='^[1-9][0-9]{0,8}$'
    [number]='^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?$'
    [positive]='^([0-9]*[1-9][0-9]*\.?[0-9]*|[0-9]*\.[0-9]*[1-9][0-9]*)([eE][-+]?[0-9]{1,2})?$'
    [fraction]='^(1(\.0*)?|0?\.[0-9]*[1-9][0-9]*)$'
    [share]='^(0(\.[0-9]*)?|\.[0-9]+)$'
    [hub_id]='^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$'
    [names]='^[A-Za-z0-9_.]+(,[A-Za-z0-9_.]+)*$'
)
declare -A meaning=(
    [whole]="give a whole number, 0 or more"
    [count]="give a whole number, 1 or more"
    [number]="give a number, 0 or more, with an exponent of two digits at most"
    [positive]="give a number above 0, with an exponent of two digits at most"
    [fraction]="give a number above 0 and up to 1"
    [share]="give a number from 0 to below 1"
    [names]="give names joined by commas, all or auto"
)
# Knobs that only decode=generate reads -> main_new.py's default.
declare -A read_by_generate=([eval_batch_size]=8 [num_beams]=1 [max_new_tokens]=16 [repair_answers]=False)
known_datasets="sample iemocap meld EmoryNLP dailydialog"
published="meld EmoryNLP" # original_data/fetch.py gets them
# LLM_bases/fetch.py --list says what each is.
bases="SmolLM2-135M LLaMA LLaMA2 Bloom-560m ChatGLM ChatGLM2 Llama-3.2-1B Llama-3.1-8B Qwen2.5-0.5B Qwen2.5-7B Qwen3-0.6B Qwen3-8B Gemma-3-1B Gemma-3-4B Mistral-7B GLM-4-9B"
encoders="all-MiniLM-L6-v2"
declare -A base_of_hub_id=(
    [HuggingFaceTB/SmolLM2-135M-Instruct]=SmolLM2-135M
    [huggyllama/llama-7b]=LLaMA
    [meta-llama/Llama-2-7b-hf]=LLaMA2
    [bigscience/bloom-560m]=Bloom-560m
    [THUDM/chatglm-6b]=ChatGLM
    [THUDM/chatglm2-6b]=ChatGLM2
    [meta-llama/Llama-3.2-1B-Instruct]=Llama-3.2-1B
    [meta-llama/Llama-3.1-8B-Instruct]=Llama-3.1-8B
    [Qwen/Qwen2.5-0.5B-Instruct]=Qwen2.5-0.5B
    [Qwen/Qwen2.5-7B-Instruct]=Qwen2.5-7B
    [Qwen/Qwen3-0.6B]=Qwen3-0.6B
    [Qwen/Qwen3-8B]=Qwen3-8B
    [google/gemma-3-1b-it]=Gemma-3-1B
    [google/gemma-3-4b-it]=Gemma-3-4B
    [mistralai/Mistral-7B-Instruct-v0.3]=Mistral-7B
    [zai-org/GLM-4-9B-0414]=GLM-4-9B
)

# knob@base, @dataset, @setting or @rows, or two of them: where it is set so; pipeline.sh takes the most
# particular. What is absent is left to main_new.py. The paper's and its released scripts' values (four cards,
# two for plain) but for those of SmolLM2-135M, which are ours.
default+=(
    [DRY_RUN]=0 [clean_text]=False [check_counts]=True [repair_answers]=False [decode]=score
    [precision]=auto [packing]=tree [seed]=42 [select_on]=valid
    [score_on]=test
    [checkpoint_dir]=none [deepspeed_config]=none [gradient_checkpointing]=False [offload_optimizer]=False
    [resume]=False
    [graphics_card]=4 [graphics_card@plain]=2
    [graphics_card@SmolLM2-135M]=1 [graphics_card@SmolLM2-135M@plain]=1
    [accumulations]=8 [accumulations@SmolLM2-135M]=32 [accumulations@SmolLM2-135M@sample]=16
    [accumulations@SmolLM2-135M@plain]=16
    [max_length]=1024 [max_length@iemocap]=1200 [max_length@plain]=300 [max_length@mixed]=1200
    [num_train_epochs@mixed]=8 [num_train_epochs@SmolLM2-135M@mixed]=3 [accumulations@SmolLM2-135M@mixed]=16
    [num_train_epochs]=6 [num_train_epochs@SmolLM2-135M]=2 [num_train_epochs@SmolLM2-135M@sample]=3
    [learning_rate]=2e-4 [learning_rate@all_parameters]=2e-5
    [learning_rate@SmolLM2-135M]=1e-3 [learning_rate@SmolLM2-135M@all_parameters]=1e-4
    [encoder]=all-MiniLM-L6-v2 [demonstrations]=1 [pairing]=all [position]=last [domain_balance]=True
    [exclude_identical]=False [speaker_epochs]=3 [speaker_epochs@SmolLM2-135M]=1
    [lora_dim]=16 [lora_alpha]=16 [lora_dropout]=0.05 [lora_dropout@SmolLM2-135M]=0
    [quantize]=none [lora_module_name]=auto [lora_module_name@SmolLM2-135M]=all
    [lora_module_name@LLaMA]="q_proj,k_proj,v_proj,query_key_value"
    [lora_module_name@LLaMA2]="q_proj,k_proj,v_proj,query_key_value"
    [lora_module_name@Bloom-560m]="q_proj,k_proj,v_proj,query_key_value"
)
