"""A trained adapter or model -> a folder for other programs: merged weights, or the adapter. Whole or not there."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bases.adapters import load_adapter
from bases.find import public_name, sha256_of_weights
from bases.load import DTYPES, load_model, load_tokenizer, resolve_base
from bases.table import ADAPTER_CONFIG, NO_QUANTIZATION
from basics.errors import UserError, disk_named, raise_together
from basics.files import find_repository, public_path, write_atomically
from basics.json_files import read_json
from engine.layers import shared_weights
from knobs.checks import holds_model
from own_dialogues.checkpoint import check_base_precision, find_base
from own_dialogues.exports.portable import make_portable
from training.checkpoints import is_adapter, replaced_folder
from training.decoding import TRANSITIONS_FILE
from training.erc_config import (
    ERC_CONFIG_FILE,
    TOKENIZER_CONFIG,
    ErcConfig,
    decisive_files,
    find_erc_config,
    refuse_changed_files,
    refuse_other_base,
    sits_on_other_weights,
)
from training.rows.trained_texts import TRAINED_TEXTS_FILE

CPU = torch.device("cpu")
CARD, TITLE = "README.md", "\n# InstructERC"
KEPT = ("LLM_bases", "checkpoint")  # folders of the repository that hold what exports are made from
# What converters of other programs read of a base, and tokenizers of transformers do not write.
EXTRA_TOKENIZER_FILES = ("tokenizer.model",)


def find_output_problems(checkpoint: Path, output: Path) -> list[str]:
    """One line per way in which the export would replace something else."""
    new, old = output.resolve(), checkpoint.resolve()
    others = {"--checkpoint_dir": old, "the current folder": Path.cwd(), "the repository": find_repository()}
    problems = [
        f"--output_dir {output} would replace {name}: give a folder of its own"
        for name, other in others.items()
        if new == other or new in other.parents
    ]
    kept = next((place for place in KEPT if find_repository().resolve() / place in new.parents), None)
    if kept and new.exists():
        problems.append(f"--output_dir {output} is in {kept}/, of which nothing is replaced: give a folder of its own")
    elif new.exists() and not (new.is_dir() and (holds_export(new) or not any(new.iterdir()))):
        problems.append(f"--output_dir {output} holds something else than an export: it is not replaced")
    return problems


def holds_export(folder: Path) -> bool:
    """Whether a folder is what an export leaves: a model, an adapter or a GGUF file, with the card of ours."""
    card = folder / CARD
    is_ours = card.is_file() and TITLE in card.read_text(encoding="utf-8", errors="replace")
    return is_ours and (holds_model(folder) or any(folder.glob("*.gguf")))


def base_of(checkpoint: Path, named: str | None, config: ErcConfig | None) -> str:
    """The folder or hub id of an adapter's base: as named, else what the adapter says.

    Raises:
        UserError: it is not there, the adapter was trained on another, or over weights in 4 bits.
    """
    base = resolve_base(named) if named else find_base(checkpoint)
    refuse_other_base(str(checkpoint), public_name(base))
    if sits_on_other_weights(config, base):
        raise UserError(
            f"{checkpoint} was trained over other weights than those in {base}: name the folder of its training"
        )
    if config and config.quantize not in (None, NO_QUANTIZATION):
        told = f"{checkpoint} was trained over weights in 4 bits, and answers otherwise over whole ones"
        raise UserError(f"--kind merged or gguf: {told}; choose adapter")
    return base


def export_merged(checkpoint: Path, output: Path, base: str | None, precision: str) -> None:
    """Writes a transformers folder with whole weights; products of adapters are added in fp32 and rounded once.

    Raises:
        UserError: the base or the checkpoint cannot be loaded, or overflows in that precision; or the output would
            replace something else.
    """
    raise_together(find_output_problems(checkpoint, output))
    card, config = merged_card(read_card(checkpoint), output, precision), find_erc_config(checkpoint)
    source = source_of(checkpoint, base, config, precision)
    model, tokenizer = load_merged(checkpoint, source, precision), tokenizer_of(checkpoint, source)
    with disk_named(output), replaced_folder(output) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        for weights in new.glob("*.safetensors"):
            weights.chmod(0o644)  # the library lets nobody else read them
        make_portable(new)
        for name in EXTRA_TOKENIZER_FILES:
            if (Path(source) / name).is_file():
                shutil.copy(Path(source) / name, new / name)
        write_atomically(new / CARD, card)
        for name in (TRAINED_TEXTS_FILE, TRANSITIONS_FILE):
            if (checkpoint / name).is_file():
                shutil.copy(checkpoint / name, new / name)
        if config:
            digests = {"weights_sha256": sha256_of_weights(new), "files_sha256": decisive_files(new)}
            config = replace(config, precision=precision, base_sha256=None, **digests)
            write_atomically(new / ERC_CONFIG_FILE, config.render())


def source_of(checkpoint: Path, base: str | None, config: ErcConfig | None, precision: str) -> str:
    """The folder or hub id of the weights below an adapter, or of a whole model.

    Raises:
        UserError: as `export_merged`, as far as it is seen before anything is loaded.
    """
    refuse_changed_files(checkpoint, config)
    if base and not is_adapter(checkpoint):
        raise UserError(f"--model_name_or_path {base}: {checkpoint} holds a whole model, without a base; leave it away")
    source = base_of(checkpoint, base, config) if is_adapter(checkpoint) else str(checkpoint)
    check_base_precision(checkpoint, source, precision)
    return source


def load_merged(checkpoint: Path, source: str, precision: str):
    """The whole model of a checkpoint on the CPU, its adapter in its weights; source: see `source_of`."""
    model = load_model(source, DTYPES[precision], CPU)
    if is_adapter(checkpoint):
        model = merge(load_adapter(model, str(checkpoint), trainable=False, in_fp32=True))
    model.config.use_cache = True
    return model


def tokenizer_of(checkpoint: Path, source: str):
    """The tokenizer that lies beside the weights, else that of their base."""
    return load_tokenizer(str(checkpoint) if (checkpoint / TOKENIZER_CONFIG).is_file() else source)


def merge(model):
    """The base with the products of its adapters added to its weights: each layer in fp32, rounded once.

    A head that is the embeddings too becomes a weight of its own, as these are not adapted with it.
    """
    from peft.tuners.lora import LoraLayer

    shared = shared_weights(model)
    for layer in [module for module in model.modules() if isinstance(module, LoraLayer)]:
        base = layer.get_base_layer()
        if id(base.weight) in shared:
            base.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=False)
            model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False
        precision = base.weight.dtype
        layer.float()
        layer.merge()
        layer.to(precision)
    return model.unload()


def export_adapter(checkpoint: Path, output: Path) -> None:
    """Copies an adapter with tokenizer and model card; its base goes by the name that others can find.

    Raises:
        UserError: it is no adapter, or not the one that was trained, or the output would replace something else.
    """
    if not is_adapter(checkpoint):
        raise UserError(f"--kind adapter: {checkpoint} holds a whole model; choose merged")
    raise_together(find_output_problems(checkpoint, output))
    card, asked = moved_card(read_card(checkpoint), output), find_erc_config(checkpoint)
    refuse_changed_files(checkpoint, asked)
    config = read_json(checkpoint / ADAPTER_CONFIG)
    config["base_model_name_or_path"] = public_name(str(find_repository() / config["base_model_name_or_path"]))
    with disk_named(output), replaced_folder(output) as new:
        for path in sorted(path for path in checkpoint.iterdir() if path.is_file()):
            shutil.copy(path, new / path.name)
        write_atomically(new / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
        make_portable(new)
        write_atomically(new / CARD, card)
        if asked and asked.files_sha256:
            write_atomically(new / ERC_CONFIG_FILE, replace(asked, files_sha256=decisive_files(new)).render())


def read_card(checkpoint: Path) -> str:
    """The model card that the run wrote.

    Raises:
        UserError: there is none, so nobody would know what the weights were trained on.
    """
    path = checkpoint / CARD
    if not path.is_file():
        raise UserError(f"{checkpoint} holds no {CARD}, the model card that main_new.py writes beside what it saves")
    return path.read_text(encoding="utf-8")


def moved_card(card: str, output: Path) -> str:
    """The card with the new place in its command."""
    return _with_flag(card, "checkpoint_dir", public_path(str(output)))


def merged_card(card: str, output: Path, precision: str) -> str:
    """The card of an adapter once it is part of the weights; that of a whole model says what it said."""
    card = card.replace("library_name: peft", "library_name: transformers", 1)
    card = card.replace("InstructERC: LoRA adapter for", "InstructERC: LoRA adapter, merged into its base, for", 1)
    return moved_card(_with_flag(card, "precision", precision), output)


def _with_flag(card: str, name: str, value: str) -> str:
    """The card with another value of a flag in its command."""
    return re.sub(rf"--{name} ('[^']*'|\S+)", lambda _: f"--{name} {shlex.quote(value)}", card)
