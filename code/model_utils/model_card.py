"""The README.md that lies beside saved weights."""

from collections.abc import Sequence
from dataclasses import asdict

from model_utils.arguments import Arguments


def render_model_card(arguments: Arguments, labels: Sequence[str]) -> str:
    """What the weights are, what they were trained on, and how to load them."""
    model, data, training = arguments
    kind = "LoRA adapter" if model.lora else "model with all parameters fine-tuned"
    settings = "\n".join(
        f"| {name} | {value} |" for group in arguments for name, value in asdict(group).items() if name != "local_rank"
    )
    header = ["---", f"base_model: {model.model_name_or_path}", "tags: [emotion-recognition-in-conversation]"]
    header += ["library_name: " + ("peft" if model.lora else "transformers"), "---"]
    return (
        "\n".join(header)
        + f"""

# InstructERC: {kind} for {data.dataset}

Emotion recognition in conversation (method: arXiv 2309.11911). Base: `{model.model_name_or_path}`.
Labels, in prompt order: {", ".join(labels)}.
Epoch chosen on {training.select_on}{" (the paper's way: not a held-out choice)" * (training.select_on == "test")}.

Loaded with its base by `code/main_new.py --do_train False --checkpoint_dir <this folder>`.

The adapter learned from the rows of `{data.dataset}` and may only be passed on as that dataset's licence allows.

| setting | value |
|---|---|
{settings}
"""
    )
