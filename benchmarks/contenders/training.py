"""The table of training contenders."""

from benchmarks.contenders.definition import Contender

LOOP = "benchmarks.contenders.plain_loops:build_loop"
TRL = "benchmarks.contenders.trl_loop:build_trl"
ENGINE = "benchmarks.contenders.engine_loop:build_engine"
REFERENCE = "benchmarks.contenders.reference:build_reference"

RELEASED = {"collator": "one row"}
PADDED = {"collator": "padded", "size": 8, "fused": True}
TREE, ROWS = {"packing": "tree"}, {"packing": "rows"}
COMPILED = {"compile": True}  # the decoder layers, as main_new.py does for runs that are long enough
# The fastest of trl_loop.SETTINGS takes the place of the size.
AS_IT_IS = {"size": 8}
PATCHED = {"size": 8, "targets_only": True}

CONTENDERS = (
    Contender("released_fp32", "released program's loop", "fp32", "row", LOOP, RELEASED),
    Contender("released_bf16", "released program's loop", "bf16", "row", LOOP, RELEASED),
    Contender("padded_bf16", "padded batches of 8", "bf16", "token", LOOP, PADDED),
    Contender("padded_compiled_bf16", "padded batches of 8, compiled", "bf16", "token", LOOP, PADDED | COMPILED),
    Contender("trl_bf16", "TRL SFTTrainer", "bf16", "token", TRL, AS_IT_IS),
    Contender("trl_patched_bf16", "TRL SFTTrainer, head patched", "bf16", "token", TRL, PATCHED),
    Contender("engine_rows_bf16", "this engine, nothing shared", "bf16", "row", ENGINE, ROWS | COMPILED),
    Contender("engine_plain_bf16", "this engine, not compiled", "bf16", "row", ENGINE, TREE),
    Contender("engine_fp32", "this engine", "fp32", "row", ENGINE, TREE | COMPILED),
    Contender("engine_bf16", "this engine", "bf16", "row", ENGINE, TREE | COMPILED),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}
OURS = "engine_bf16"
# What the engine's speed is divided by: a name -> the contenders of which the fastest counts.
RIVALS = {
    "the released program's loop in fp32": ("released_fp32",),
    "the best of padded batches and TRL in bf16": ("padded_bf16", "padded_compiled_bf16", "trl_bf16"),
    "TRL in bf16 with its head patched": ("trl_patched_bf16",),
}
