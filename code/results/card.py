"""The README.md that lies beside saved weights."""

import shlex
from collections.abc import Mapping

from bases.find import find_row
from bases.table import NO_QUANTIZATION
from basics.files import public_path
from data_utils.labels import DATASETS, DatasetSpec
from scoring.metrics import NONE_OF_OWN
from training.arguments import Arguments, TrainingArguments, values_of
from training.erc_config import ErcConfig

# Flags of the scoring command: how the weights are asked (from erc_config.json), and how answers become scores.
ASKED = ("max_length", "precision", "chat_template", "calibrate", "quantize")
SCORED = ("decode", "num_beams", "max_new_tokens", "repair_answers", "eval_batch_size", "score_on", "packing")
SCORED += ("token_budget",)
OWN_CODE, OWN_CORPUS = "Apache-2.0", "CC0 1.0"


def render_licences(dataset: str, base: str, own: Mapping[str, DatasetSpec] = NONE_OF_OWN) -> str:
    """The licences of code, base and dataset, as far as this program knows them: they limit the use of the weights.

    own: corpora of one's own that they learned from.
    """
    row = find_row(base)
    notice = f" ({row.terms.notice})" if row and row.terms else ""
    known = f"Licences: code {OWN_CODE}" + (f"; base {row.licence}{notice}" if row else "")
    if dataset == "sample":
        return f"{known}; `sample`, the corpus that it learned from, {OWN_CORPUS}."
    of = {name: spec for name, spec in {**DATASETS, **own}.items() if spec.licence and name in (dataset, *own)}
    said = "".join(f" Licence of `{name}`: {spec.licence}." for name, spec in of.items())
    return f"{known}. What it learned from `{dataset}` may only be passed on as that dataset's licence allows.{said}"


def render_model_card(arguments: Arguments, config: ErcConfig, own: Mapping[str, DatasetSpec] = NONE_OF_OWN) -> str:
    """The README.md of saved weights, in Markdown: base, labels, settings, licences, and the command that scores them.

    own: corpora of one's own that they learned from.
    """
    model, data, training = arguments
    kind = "LoRA adapter" if model.lora else "model with all parameters fine-tuned"
    base, labels = public_path(config.base), config.labels
    settings = "\n".join(
        f"| {name} | {public_path(value) if isinstance(value, str) else value} |"
        for name, value in values_of(arguments).items()
        if name != "local_rank"
    )
    header = ["---", f"base_model: {base}", "tags: [emotion-recognition-in-conversation]"]
    header += ["library_name: " + ("peft" if model.lora else "transformers"), "---"]
    return (
        "\n".join(header)
        + f"""

# InstructERC: {kind} for {data.dataset}

Emotion recognition in conversation (method: arXiv 2309.11911). Base: `{base}`.
Labels, in prompt order: {", ".join(labels)}.
Epoch chosen on {training.select_on}{" (the paper's way: not a held-out choice)" * (training.select_on == "test")}.

Scored again by

    {scoring_command(arguments, config)}

{render_licences(data.dataset, config.base, own)}

| setting | value |
|---|---|
{settings}
"""
    )


def scoring_command(arguments: Arguments, config: ErcConfig) -> str:
    """The command that scores the weights again, to the same numbers; of folders elsewhere only the name."""
    _, data, training = arguments
    flags = {"do_train": False, "checkpoint_dir": training.model_dir, "dataset": data.dataset}
    flags |= {"data_dir": data.data_dir, "model_name_or_path": config.base, "output_dir": "scored", "model_dir": "none"}
    flags |= {name: value for name in ASKED if (value := getattr(config, name)) not in (False, None, NO_QUANTIZATION)}
    usual = TrainingArguments("", "")
    flags |= {name: value for name in SCORED if (value := getattr(training, name)) != getattr(usual, name)}
    words = [word for name, value in flags.items() for word in (f"--{name}", public_path(str(value)))]
    return shlex.join(["python", "code/main_new.py", *words])
