"""Convert ChatGLM2 or ChatGLM3, as published, to the GLM architecture that transformers has.

    python LLM_bases/convert_chatglm.py PATH/chatglm2-6b

FOLDER holds config.json, tokenizer.model and the weights (pytorch_model-*.bin or model-*.safetensors with their
index). It takes as much disk again as the weights, and memory for one file of them; a conversion that was stopped goes
on. The new folder is printed; it is a base for MODEL_NAME. `fetch.py ChatGLM2` does this by itself; ChatGLM-6B, the
first generation, needs no conversion.
"""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

# First of all: from here on a missing library is one line.
from basics.scripts import run_script  # noqa: E402

# isort: split
from basics.argument_parsing import LineParser  # noqa: E402


def main() -> None:
    """Parse the command line, convert, print the new folder."""
    arguments = parse_arguments()
    source = arguments.folder.resolve()
    target = arguments.output_dir or HERE / f"{source.name}-glm"
    # Libraries print notices to stdout when they are imported, which is late: --help needs none of them.
    with redirect_stdout(sys.stderr):
        from bases.chatglm.conversion2 import convert_chatglm2

        folder = convert_chatglm2(source, target.resolve())
    print(folder)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = LineParser(description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the published folder")
    parser.add_argument("--output_dir", type=Path, help="where the result goes (default: LLM_bases/NAME-glm)")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
