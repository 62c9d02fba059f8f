"""The environment of a script: settings misspelt, set twice, or unread; and names of result folders."""

from pathlib import Path

import pytest

from bases.tensor_files import PICKLE
from corpora import rows_of, write_own_corpus, write_table
from knobs.checks import Place
from knobs.commands import READABLE_CHARACTERS, Commands
from knobs.environment import find_misspelt, read_settings
from knobs.readers import MIXED, PLAIN, WINDOW
from knobs.table import KNOBS
from settings import find_problems_of_arguments

LONGEST_FILE_NAME = 255


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("data_precent", "data_percent"),
        ("Dataset", "dataset"),
        ("DATASET", "dataset"),
        ("epochs", "num_train_epochs"),
        ("epoch", "num_train_epochs"),
        ("warmup", "warmup_ratio"),
        ("max_grad_norm", "clip_norm"),
        ("max_len", "max_length"),
        ("beams", "num_beams"),
        ("lr", "learning_rate"),
        ("model", "MODEL_NAME"),
        ("model_name", "MODEL_NAME"),
        ("MODELNAME", "MODEL_NAME"),
        ("experiments_setting", "Experiments_setting"),
        ("nproc", "NPROC"),
        ("ERC_TORHC", "ERC_TORCH"),
        ("batch_size", "accumulations"),
        ("LEARNING_RATE", "learning_rate"),
        ("seeds", "seed"),
        ("sede", "seed"),
        ("historic_window", "historical_window"),
        ("chat_templates", "chat_template"),
        ("quantise", "quantize"),
        ("decoding", "decode"),
        ("window_size", "historical_window"),
        ("dropout", "lora_dropout"),
    ],
)
def test_a_misspelt_knob_is_found(name: str, meant: str) -> None:
    (line,) = find_misspelt({name: "1"})
    assert line.startswith(f"{name}=1: no setting is called so; did you mean ") and meant in line.split()[-1]


def test_variables_of_others_are_left_alone() -> None:
    names = [
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "TERM",
        "SHELL",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "DISPLAY",
        "EDITOR",
        "LOGNAME",
        "MAIL",
        "TZ",
        "TMPDIR",
        "HOSTNAME",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ftp_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "npm_config_registry",
        "container",
        "debian_chroot",
        "CI",
        "MODE",
        "SEED",
        "RESUME",
        "DATA",
        "MODEL",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "HF_HOME",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "TOKENIZERS_PARALLELISM",
        "ERC_CHECKPOINT",
        "ENCODER",
        "WORLD_SIZE",
        "RANK",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "SLURM_JOB_ID",
        "PIP_CONSTRAINT",
        "MALLOC_TOP_PAD_",
        "GLIBC_TUNABLES",
        "ATEN_CPU_CAPABILITY",
        "BASH_FUNC_module%%",
        "data_dir",
        "user",
        "home",
        "lang",
        "cwd",
        "prompt",
        "line",
        "name",
        *[
            "CFLAGS",
            "CXXFLAGS",
            "FLAGS",
            "LFLAGS",
            "FFLAGS",
            "NPROCS",
            "MODULE_NAME",
            "PE_HOSTFILE",
            "module",
            "speed",
            "windows",
            "eta",
            "PRECISE",
        ],
    ]
    assert find_misspelt(dict.fromkeys([*names, *KNOBS], "1")) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("retrieval_seed=7 domain_balance=False", "retrieval_seed=7: only domain_balance=True reads it"),
        ("retrieval_seed=42 domain_balance=False", None),
        ("retrieval_seed=7", None),
        (
            "pairing=paper Experiments_setting=zero_shot",
            "pairing=paper: Experiments_setting=zero_shot on window rows has no use for it",
        ),
        ("pairing=paper", None),
    ],
)
def test_what_demonstrations_cannot_show_is_refused(given: str, told: str | None, place: Place) -> None:
    values = dict(word.split("=") for word in given.split())
    assert read_settings(WINDOW, {"domain_base": "True"} | values, place)[1] == ([told] if told else [])


def test_two_settings_never_share_a_folder_and_a_name_stays_short(place: Place) -> None:
    environments = [
        {},
        {"seed": "7"},
        {"seed": "7", "data_percent": "0.5"},
        {"checkpoint_dir": "a/b"},
        {"checkpoint_dir": "a_b"},
        {"lora_module_name": "a.b"},
        {"lora_module_name": "a,b"},
        {"accumulations": "8"},
        {"lora_dim": "3", "lora_alpha": "33"},
        {"lora_dim": "33", "lora_alpha": "3"},
    ]
    many = "seed=7 data_percent=0.5 lora_dim=8 lora_alpha=8 dora=True rslora=True select_on=test beta=2 clip_norm=3"
    many += " warmup_ratio=0.5 weight_decay=0.125 learning_rate=3e-4 max_length=512 num_train_epochs=9 packing=rows"
    environments.append(dict(word.split("=") for word in many.split()))
    assert len(environments[-1]) == 15
    results = [Commands(read_settings(WINDOW, one, place)[0]).result for one in environments]
    names = [result.rpartition("/")[2] for result in results]
    assert len(set(results)) == len(results)
    assert names[0] == "window_12" and names[1].startswith("window_12-seed_7-")
    assert max(map(len, names)) <= READABLE_CHARACTERS + 9 < LONGEST_FILE_NAME


@pytest.mark.parametrize(
    ("knob", "texts"),
    [
        ("learning_rate", ("1e-3", "0.001", "1E-03", ".001")),  # the default
        ("learning_rate", ("5e-4", "0.0005", "0.50e-3")),
        ("data_percent", ("0.5", ".5", "5e-1")),
        ("data_percent", ("1", "1.0", "1.")),
        ("beta", ("0.1", "0.10")),  # which nothing reads here: only another number than the default is refused
    ],
)
def test_a_number_is_one_setting_however_it_is_written(place: Place, knob: str, texts: tuple[str, ...]) -> None:
    read = [read_settings(WINDOW, {knob: text}, place) for text in texts]
    assert {problem for _, problems in read for problem in problems} == set()
    assert len({Commands(settings).result for settings, _ in read}) == 1
    assert len({settings[knob] for settings, _ in read}) == 1 and {*read[0][0].changed} <= {knob}


def test_a_flag_that_repeats_a_default_is_read_or_not_however_it_is_written(place: Place) -> None:
    settings, _ = read_settings(WINDOW, {}, place)
    for text, count in (("0.1", 0), ("0.10", 0), ("1e-1", 0), ("0.2", 1)):
        assert len(find_problems_of_arguments(["--beta", text], settings)) == count, text


def test_all_of_train_is_no_draw_however_it_is_written(place: Place) -> None:
    asked = ["--seed", "7"]
    for text, count in (("1", 0), ("1.0", 0), ("1e0", 0), ("0.5", 1)):
        settings, _ = read_settings(WINDOW, {"data_percent": text}, place)
        assert len(find_problems_of_arguments(asked, settings)) == count, text


def test_further_arguments_that_decide_the_result_are_in_the_name(place: Place) -> None:
    settings, problems = read_settings(PLAIN, {}, place)
    assert problems == []
    names = {Commands(settings, (), tuple(words.split())).result for words in ("", "--resume True", "--save_steps=5")}
    assert len(names) == 1
    seven, eight, joined = (
        Commands(settings, (), tuple(words.split())).result for words in ("--seed 7", "--seed 8", "--seed=7")
    )
    assert len({*names, seven, eight}) == 3 and joined == seven


def test_what_training_minimises_is_said_only_where_it_is_not_as_ever(place: Place) -> None:
    recipe = {"loss": "labels", "label_smoothing": "0.1", "class_weights": "0.5", "average_weights": "0.95"}
    recipe |= {"score_every": "100", "patience": "3"}
    usual, other = (Commands(read_settings(WINDOW, given, place)[0]) for given in ({}, recipe))
    assert not {f"--{name}" for name in recipe} & set(usual.main_flags()) and usual.result.endswith("/window_12")
    flags = other.main_flags()
    assert {name: flags[flags.index(f"--{name}") + 1] for name in recipe} == recipe
    words = "loss_labels-smoothing_0.1-class_weights_0.5"
    assert other.result.rpartition("/")[2].startswith(f"window_12-{words}")


def test_paths_are_called_as_seen_from_the_repository(tmp_path: Path) -> None:
    repository, caller = tmp_path / "repository", tmp_path / "repository" / "sub"
    (caller / "pickles").mkdir(parents=True)
    place = Place(caller, repository)
    for given, called in (
        ("pickles", "sub/pickles"),
        (f"{repository}/", "."),
        (str(repository), "."),
        ("/tmp", "/tmp"),
    ):
        settings, problems = read_settings(MIXED, {"ERC_ORIGINAL_DATA": given}, place)
        assert (settings["ERC_ORIGINAL_DATA"], problems) == (called, [])


def test_a_corpus_without_unified_labels_cannot_be_mixed(tmp_path: Path) -> None:
    """Said before anything is set up or fetched."""
    place = Place(tmp_path, tmp_path / "repository")
    corpus = write_own_corpus(tmp_path / "data" / "mine")
    told = {"ERC_ORIGINAL_DATA": "data", "datasets": "sample,mine"}
    assert read_settings(MIXED, told, place)[1] == []
    (corpus / "corpus.yaml").write_text("labels: [sad, joyful]\n")
    (problem,) = read_settings(MIXED, told, place)[1]
    assert problem.startswith("datasets=sample,mine: mine has no unified labels, so it cannot be mixed; corpus.yaml")
    assert read_settings(WINDOW, {"ERC_ORIGINAL_DATA": "data", "dataset": "mine"}, place)[1] == []


def test_a_small_train_has_the_recipe_of_the_sample(tmp_path: Path) -> None:
    """By its size, wherever it lies, as the caller and as the repository call the place."""
    place = Place(tmp_path / "caller", tmp_path / "repository")
    write_own_corpus(tmp_path / "caller" / "data" / "mine")
    write_own_corpus(tmp_path / "repository" / "original_data" / "ours")
    write_table(tmp_path / "caller" / "data" / "large.csv", rows_of("d", 500))
    told = {"ERC_ORIGINAL_DATA": "data"}
    recipes = {
        "sample": ("16", "3"),
        "mine": ("16", "3"),
        "ours": ("16", "3"),
        "large": ("32", "2"),
        "meld": ("32", "2"),
    }
    for dataset, wanted in recipes.items():
        settings, _ = read_settings(WINDOW, told | {"dataset": dataset}, place)
        assert (settings["accumulations"], settings["num_train_epochs"]) == wanted, dataset
        assert settings.usual("num_train_epochs") == wanted[1] and settings.changed == {}
    settings, _ = read_settings(WINDOW, told | {"dataset": "mine", "MODEL_NAME": "LLaMA2"}, place)
    assert settings["num_train_epochs"] == "6", "the paper's recipes know no sizes"


@pytest.mark.parametrize("rows", [WINDOW, PLAIN, MIXED])
def test_a_base_may_have_the_recipe_of_another(place: Place, rows: str) -> None:
    """Gemma-3-270M has SmolLM2-135M's; Llama-3.2-1B, of which nothing was tuned, the paper's."""
    for setting in ("lora", "all_parameters"):
        bases = ("SmolLM2-135M", "Gemma-3-270M", "google/gemma-3-270m", "Llama-3.2-1B")
        found = []
        for base in bases:
            settings, _ = read_settings(rows, {"MODEL_NAME": base, "Experiments_setting": setting}, place)
            assert set(settings.changed) <= {"MODEL_NAME"}
            found.append({name: settings[name] for name in KNOBS if name != "MODEL_NAME"})
        assert found[0] == found[1] == found[2] != found[3]


@pytest.mark.parametrize(
    "written",
    ["mine/model/", "./mine/model", "mine//model", "{here}/mine/model", "/{here}/mine/model", "code/../mine/model"],
)
def test_a_path_is_one_setting_however_it_is_written(tmp_path: Path, written: str) -> None:
    """Tab completion ends a folder in a slash: the same run had another folder of results, and began anew."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "adapter_config.json").touch()
    (tmp_path / "code").mkdir()
    place = Place(tmp_path, tmp_path)
    usual, _ = read_settings(WINDOW, {"checkpoint_dir": "mine/model"}, place)
    found, problems = read_settings(WINDOW, {"checkpoint_dir": written.format(here=tmp_path)}, place)
    assert not problems and found.values == usual.values
    (tmp_path / "code").rmdir()
    (tmp_path / "other" / "code").mkdir(parents=True)
    (tmp_path / "code").symlink_to(tmp_path / "other" / "code")
    elsewhere, _ = read_settings(WINDOW, {"checkpoint_dir": "code/../mine/model"}, place)
    assert elsewhere["checkpoint_dir"] == "code/../mine/model", "beside the folder that a link leads to"


def test_an_encoder_is_one_setting_by_its_name_and_by_its_hub_id(tmp_path: Path) -> None:
    asked = {"domain_base": "True", "encoder": "sentence-transformers/all-MiniLM-L6-v2"}
    found, problems = read_settings(WINDOW, asked, Place(tmp_path, tmp_path))
    assert not problems and "encoder" not in found.changed


def make_encoder(folder: Path) -> None:
    """The files by which a folder is known as one."""
    (folder / "modules.json").touch()
    (folder / "pytorch_model.bin").write_bytes(PICKLE)


@pytest.mark.parametrize("written", ["LLM_bases/all-MiniLM-L6-v2", "{here}/LLM_bases/all-MiniLM-L6-v2/"])
def test_an_encoder_that_was_fetched_is_one_setting_by_its_name_and_by_its_folder(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "LLM_bases" / "all-MiniLM-L6-v2"
    folder.mkdir(parents=True)
    make_encoder(folder)
    asked = {"domain_base": "True", "encoder": written.format(here=tmp_path)}
    found, problems = read_settings(WINDOW, asked, Place(tmp_path, tmp_path))
    assert not problems and "encoder" not in found.changed


@pytest.mark.parametrize("written", ["./all-MiniLM-L6-v2", "{here}/all-MiniLM-L6-v2"])
def test_a_folder_called_as_an_encoder_of_the_table_is_another_setting(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "all-MiniLM-L6-v2"
    folder.mkdir()
    make_encoder(folder)
    asked = {"domain_base": "True", "encoder": written.format(here=tmp_path)}
    found, problems = read_settings(WINDOW, asked, Place(tmp_path, tmp_path))
    assert not problems and found.changed["encoder"] == "./all-MiniLM-L6-v2"


def test_a_folder_called_as_an_encoder_on_the_hub_is_taken_itself(tmp_path: Path) -> None:
    hub_id = "sentence-transformers/all-MiniLM-L6-v2"
    (tmp_path / hub_id).mkdir(parents=True)
    make_encoder(tmp_path / hub_id)
    found, problems = read_settings(WINDOW, {"domain_base": "True", "encoder": hub_id}, Place(tmp_path, tmp_path))
    assert not problems and found["encoder"] == hub_id
