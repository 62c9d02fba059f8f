"""Turn what a run has saved into a folder for other programs.

    python code/export.py --checkpoint_dir checkpoint/SmolLM2-135M/lora/sample/window_12 --output_dir exports/sample
    python code/export.py --checkpoint_dir ... --output_dir exports/adapter --kind adapter
    python code/export.py --checkpoint_dir ... --output_dir exports/gguf --kind gguf --precision q8_0

--kind merged   a plain transformers folder: the adapter added to the weights of its base, or a whole model.
                AutoModelForCausalLM of transformers 4 and 5 loads it, but for ChatGLM-6B, which loads with this project
                alone. vLLM and llama.cpp's convert_hf_to_gguf.py read this layout, but were not run on one.
--kind adapter  the adapter alone, with its model card, which names its base.
--kind gguf     one file for llama.cpp: merged weights, tokenizer, chat template. For bases that are LLaMA, Qwen 2 or
                Qwen 3 inside and split text by bytes. q8_0 takes a byte for each weight.

An adapter that was trained over weights in 4 bits is not merged: over whole ones it answers otherwise. Merged weights
in bf16 are the sums rounded, which hides small updates; --precision fp32 keeps them. The folder appears whole or not at
all, and its name is printed. --push_to_hub somebody/some-name uploads it, card and all, to a repository of the model
hub, which is private unless it is there already.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from bases.table import GGUF_STORAGES, PRECISIONS
from basics.argument_parsing import LineParser
from basics.errors import UserError
from knobs.checks import holds_model
from own_dialogues.exports.hub import check_hub, push_to_hub
from own_dialogues.shipped import find_shipped, list_shipped

KINDS = ("merged", "adapter", "gguf")
USUAL = "bf16"


def main() -> None:
    arguments = parse_arguments()
    checkpoint, output = find_model(arguments.checkpoint_dir), arguments.output_dir
    if arguments.push_to_hub:
        check_hub(arguments.push_to_hub)
    # Late: --help and what is wrong with a flag need no torch.
    from own_dialogues.exports.folders import export_adapter, export_merged
    from own_dialogues.exports.gguf_file import export_gguf

    with redirect_stdout(sys.stderr):  # libraries print notices
        if arguments.kind == "adapter":
            export_adapter(checkpoint, output)
        elif arguments.kind == "gguf":
            export_gguf(checkpoint, output, arguments.model_name_or_path, arguments.precision)
        else:
            export_merged(checkpoint, output, arguments.model_name_or_path, arguments.precision)
        if arguments.push_to_hub:
            print(f"uploaded to {push_to_hub(output, arguments.push_to_hub)}")
    print(output)


def find_model(named: Path) -> Path:
    """The folder of an adapter or a model, or that of a shipped one by its name; UserError: it is neither."""
    if holds_model(named):
        return named
    shipped = find_shipped(str(named))
    if shipped is None:
        names = ", ".join(list_shipped())
        raise UserError(
            f"--checkpoint_dir {named}: no adapter or model there, and none that ships ({names}) is called so"
        )
    return shipped


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint_dir",
        type=Path,
        required=True,
        help="name of a shipped one (meld, EmoryNLP, sample), or folder that training saved",
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write; an earlier export is replaced")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="what to write (default: %(default)s)")
    base_help = "base of the adapter: a folder, a name, a hub id (default: the one it was trained on)"
    parser.add_argument("--model_name_or_path", help=base_help)
    parser.add_argument("--push_to_hub", help="repository of the model hub that the folder is uploaded to")
    of_weights = f"of the merged weights; q8_0: of a GGUF file alone (default: {USUAL})"
    parser.add_argument("--precision", choices=tuple(GGUF_STORAGES), help=of_weights)
    arguments = parser.parse_args()
    if arguments.precision and arguments.kind == "adapter":
        raise UserError(f"--precision {arguments.precision}: an adapter is exported as it is; leave it away")
    if arguments.model_name_or_path and arguments.kind == "adapter":
        told = "an adapter is exported without its base"
        raise UserError(f"--model_name_or_path {arguments.model_name_or_path}: {told}; leave it away")
    arguments.precision = arguments.precision or USUAL
    if arguments.precision not in PRECISIONS and arguments.kind != "gguf":
        raise UserError(f"--precision {arguments.precision} is for --kind gguf: choose {', '.join(PRECISIONS)}")
    return arguments


if __name__ == "__main__":
    run_script(main)
