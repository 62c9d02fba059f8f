"""The README.md that lies beside saved weights."""

from collections.abc import Sequence
from dataclasses import asdict

from bases.find import find_row
from basics.files import shown_path
from training.arguments import Arguments

OWN_CODE, OWN_CORPUS = "Apache-2.0", "CC0 1.0"


def render_licences(dataset: str, base: str) -> str:
    """What may be done with the weights, as far as this program knows the licences of what they came from."""
    row = find_row(base)
    known = f"Licences: code {OWN_CODE}" + (f"; base {row.licence}" if row else "")
    if dataset == "sample":
        return f"{known}; `sample`, the corpus that it learned from, {OWN_CORPUS}."
    return f"{known}. What it learned from `{dataset}` may only be passed on as that dataset's licence allows."


def render_model_card(arguments: Arguments, base: str, labels: Sequence[str]) -> str:
    """What the weights are, what they were trained on, and how to score with them; `base`: its public name."""
    model, data, training = arguments
    kind = "LoRA adapter" if model.lora else "model with all parameters fine-tuned"
    settings = "\n".join(
        f"| {name} | {shown_path(str(value))} |"
        for group in arguments
        for name, value in asdict(group).items()
        if name != "local_rank"
    )
    command = (
        f"python code/main_new.py --do_train False --checkpoint_dir {shown_path(training.model_dir)} "
        f"--dataset {data.dataset} --data_dir {shown_path(data.data_dir)} "
        f"--model_name_or_path {shown_path(model.model_name_or_path)} --output_dir scored --model_dir none"
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

    {command}

{render_licences(data.dataset, base)}

| setting | value |
|---|---|
{settings}
"""
    )
