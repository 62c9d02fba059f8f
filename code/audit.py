"""What repeats between the splits and datasets, and what shifts: duplicates, shared scenes, labels.

    python code/audit.py                                         # the sample corpus
    python code/audit.py --datasets iemocap,meld,EmoryNLP --json audit.json
    python code/audit.py --datasets iemocap,meld,EmoryNLP --output original_data/README.md

It prints tables; --json writes every figure, --output puts the tables between the marks of a page. None of them holds
text of a corpus. To leave shared scenes out of train: code/data_process_mixed.py --without_shared_scenes True.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from basics.argument_parsing import LineParser, output_file
from basics.files import write_atomically
from basics.scripts import run_script

MARKS = "audit"


def main() -> None:
    """Arguments -> tables on stdout."""
    arguments = parse_arguments()
    from auditing.findings import audit
    from auditing.tables import render_findings
    from basics.markdown import open_section
    from data_utils.corpora.registry import find_dataset
    from data_utils.dialogues import find_original_data, load_dialogues

    places = {name: arguments.original_data or find_original_data(name) for name in arguments.datasets}
    specs = {name: find_dataset(name, place) for name, place in places.items()}
    corpora = {name: load_dialogues(name, place, check_counts=arguments.check_counts) for name, place in places.items()}
    write_section = open_section(arguments.output, MARKS)
    findings = audit(corpora, specs)
    tables = render_findings(findings)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(asdict(findings), indent=1) + "\n")
    write_section(tables)
    print(tables)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    from knobs.flags import add_knob
    from knobs.table import KNOBS

    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_knob(parser, replace(KNOBS["datasets"], meaning="which corpora are compared, joined by commas"))
    add_knob(parser, KNOBS["check_counts"])
    parser.add_argument(
        "--original_data",
        type=Path,
        help="folder of <dataset>/<dataset>.pkl (default: $ERC_ORIGINAL_DATA, else original_data/)",
    )
    parser.add_argument("--json", type=output_file, help="file for all figures")
    parser.add_argument(
        "--output",
        type=output_file,
        help=f"page that gets the tables, between its marks <!-- {MARKS}: begin --> and <!-- {MARKS}: end -->",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
