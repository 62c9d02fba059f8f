"""Checkpoints on tiny bases whose tokenizer llama.cpp knows, and their exports."""

import json
from pathlib import Path
from subprocess import CompletedProcess

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import export
import main_new
from bases.gguf import REPAIRS
from commands import call_script
from tiny_models import SPECIAL, character_tokenizer, main_command, save_rows, tiny_model

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
BLANKS = "ĠĠ"
TOKENS = len(character_tokenizer(merges=[("Ġ", "Ġ")]))


def merging_tokenizer(**changes: object) -> PreTrainedTokenizerFast:
    """The character tokenizer with one merge, two blanks, and SmolLM's way to split; changes: to its BPE model."""
    parts = json.loads(character_tokenizer(merges=[("Ġ", "Ġ")]).backend_tokenizer.to_str())
    parts["model"] |= changes
    parts["pre_tokenizer"] = parts["model"].pop("pre_tokenizer", REPAIRS["gpt2", "smollm"]["pre_tokenizer"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(parts)), **SPECIAL)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_base(folder: Path, kind: str, **changes) -> Path:
    """A base whose table has one row more than there are tokens, and rows of whole blocks."""
    tiny_model(kind, vocab_size=TOKENS + 1, intermediate_size=64, **changes).save_pretrained(folder)
    merging_tokenizer().save_pretrained(folder)
    return folder


def train(folder: Path, kind: str, **changes) -> Path:
    """An adapter trained on such a base."""
    base, rows = save_base(folder / "base", kind, **changes), save_rows(folder)
    flags = main_command(base, rows, folder / "run", num_train_epochs=1, save_steps=0)
    result = call_script(main_new.main, *flags)
    assert result.returncode == 0, result.stderr
    return folder / "run" / "model"


def run_export(checkpoint: Path, output: Path, *flags: str) -> CompletedProcess[str]:
    """What export.py says of it."""
    return call_script(export.main, "--checkpoint_dir", checkpoint, "--output_dir", output, *flags)


def exported(checkpoint: Path, output: Path, precision: str, kind: str = "gguf") -> Path:
    """The folder of an export that went well."""
    result = run_export(checkpoint, output, "--kind", kind, "--precision", precision)
    assert (result.returncode, result.stdout) == (0, f"{output}\n"), result.stderr
    return output
