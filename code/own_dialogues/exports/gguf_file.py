"""A trained adapter or model -> a folder with one GGUF file, its model card and how it is asked."""

import shutil
from dataclasses import replace
from pathlib import Path

from bases.gguf_vocabulary import name_of_splitting
from bases.gguf_writing import refuse_other_models, write_gguf
from bases.load import load_config
from bases.table import PRECISIONS
from basics.errors import disk_named, raise_together
from basics.files import write_atomically
from own_dialogues.exports.folders import (
    CARD,
    find_output_problems,
    load_merged,
    read_card,
    source_of,
    tokenizer_of,
)
from training.checkpoints import replaced_folder
from training.decoding import TRANSITIONS_FILE
from training.erc_config import ERC_CONFIG_FILE, ErcConfig, find_erc_config

HOW_TO_ASK = """
`{file}` loads in llama.cpp. The prompt of a turn is what `EmotionRecognizer.seen_prompts` of
code/own_dialogues/recognizer.py gives, marks included; the answer is the label of erc_config.json that, with the end
token after it, has the greatest log p.
"""
CALIBRATED = """\
From each log p that of the same label after a prompt without content is taken first (`calibrate` in erc_config.json).
"""
FILTERED = f"""\
Of these log p {TRANSITIONS_FILE} makes the answers that the score above is of, turn by turn of a dialogue
(code/scoring/transitions.py); without it answers are other ones.
"""


def export_gguf(checkpoint: Path, output: Path, base: str | None, storage: str) -> None:
    """Writes `model-STORAGE.gguf`; products of adapters are added in fp32 and rounded once, for q8_0 to blocks.

    Raises:
        UserError: as `export_merged`, or the architecture or the tokenizer is one that is not written here.
    """
    raise_together(find_output_problems(checkpoint, output))
    config, name = find_erc_config(checkpoint), f"model-{storage}.gguf"
    card = gguf_card(read_card(checkpoint), _how_to_ask(checkpoint, config, name))
    precision = storage if storage in PRECISIONS else "fp32"
    source = source_of(checkpoint, base, config, precision)
    refuse_other_models(load_config(source).get_text_config())
    tokenizer = tokenizer_of(checkpoint, source)
    name_of_splitting(tokenizer)
    model = load_merged(checkpoint, source, precision)
    with disk_named(output), replaced_folder(output) as new:
        title = f"InstructERC {config.dataset if config else checkpoint.name}"
        write_gguf(model, tokenizer, new / name, title, storage)
        write_atomically(new / CARD, card)
        if config:  # how it is asked; the digests are those of other files
            asked = replace(config, weights_sha256=None, files_sha256=None)
            write_atomically(new / ERC_CONFIG_FILE, asked.render())
        if (checkpoint / TRANSITIONS_FILE).is_file():
            shutil.copy(checkpoint / TRANSITIONS_FILE, new)


def _how_to_ask(checkpoint: Path, config: ErcConfig | None, file: str) -> str:
    calibrated = CALIBRATED * bool(config and config.calibrate)
    return HOW_TO_ASK.format(file=file) + calibrated + FILTERED * (checkpoint / TRANSITIONS_FILE).is_file()


def gguf_card(card: str, how_to_ask: str) -> str:
    """The card of a checkpoint, with how the file is asked before the command that scores the checkpoint."""
    for library in ("peft", "transformers"):
        card = card.replace(f"library_name: {library}", "library_name: gguf", 1)
    card = card.replace("InstructERC: LoRA adapter for", "InstructERC: LoRA adapter, merged into its base, for", 1)
    lead, scored, rest = card.partition("\nScored again by\n")
    told = scored.replace("Scored again by", "The checkpoint that it was made from is scored again by")
    return lead + how_to_ask + told + rest
