"""The table of training contenders."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.contenders import earlier
from benchmarks.contenders.definition import NATIVE, Contender, ours, settle

LOOP = "benchmarks.contenders.plain_loops:build_loop"
TRL = "benchmarks.contenders.trl_loop:build_trl"
ENGINE = "benchmarks.contenders.engine_loop:build_engine"
EARLIER = "benchmarks.contenders.earlier:build_earlier"

RELEASED = {"collator": "one row"}
PADDED = {"collator": "padded", "size": 8, "fused": True}
TREE, ROWS = {"packing": "tree"}, {"packing": "rows"}
COMPILED = {"compile": True}  # the decoder layers, as main_new.py does for runs that are long enough
TARGETS = {"targets_only": True}
# What is fastest of TRL's settings (sections/trl_search.py) takes the place of this.
UNSEARCHED = {"size": 4, "padding_free": False, "compile": True}

TABLE = (
    Contender("released", "released program's loop", "fp32", "row", LOOP, RELEASED),
    Contender("released", "released program's loop", NATIVE, "row", LOOP, RELEASED),
    Contender("padded", "padded batches of 8", NATIVE, "token", LOOP, PADDED),
    Contender("padded_compiled", "padded batches of 8", NATIVE, "token", LOOP, PADDED | COMPILED),
    Contender(
        "padded_targets", "padded batches of 8, target logits", NATIVE, "token", LOOP, PADDED | COMPILED | TARGETS
    ),
    Contender("trl", "TRL SFTTrainer", NATIVE, "token", TRL, UNSEARCHED),
    Contender("trl_patched", "TRL SFTTrainer, head patched", NATIVE, "token", TRL, UNSEARCHED | TARGETS),
    Contender("earlier", f"this engine at {earlier.COMMIT}", NATIVE, "row", EARLIER, TREE | COMPILED),
    Contender("engine_rows", "this engine, nothing shared", NATIVE, "row", ENGINE, ROWS | COMPILED),
    Contender("engine_plain", "this engine", NATIVE, "row", ENGINE, TREE),
    Contender("engine", "this engine", "fp32", "row", ENGINE, TREE | COMPILED),
    Contender("engine", "this engine", NATIVE, "row", ENGINE, TREE | COMPILED),
)
NAMES = tuple(dict.fromkeys(contender.name for contender in TABLE))
TWINS = ("padded_compiled", "engine_plain")  # each differs from another in being compiled, or not, alone


def training_contenders(
    native: str,
    trl: Mapping[bool, Mapping[str, Any]] | None = None,
    compiles: bool = True,
    only: Sequence[str] = (),
) -> tuple[Contender, ...]:
    """The contenders of a processor; titles tell which are compiled.

    native: its precision. trl: targets_only -> TRL's fastest options. compiles: whether there is time for it. only:
    those of `NAMES` that run beside this engine; none: all.
    """
    asked = {*(only or NAMES), "engine"} - (set() if compiles else set(TWINS))
    table = (_with_trl(contender, trl or {}) for contender in TABLE if contender.name in asked)
    return tuple(_titled(contender, compiles) for contender in settle(table, native))


def _with_trl(contender: Contender, trl: Mapping[bool, Mapping[str, Any]]) -> Contender:
    if contender.build != TRL:
        return contender
    return replace(
        contender, options={**contender.options, **trl.get(contender.options.get("targets_only", False), {})}
    )


def _titled(contender: Contender, compiles: bool) -> Contender:
    options = {**contender.options, "compile": compiles and contender.options.get("compile", False)}
    added = [f"batches of {options['size']}"] if contender.build == TRL else []
    added += ["padding-free"] if options.get("padding_free") else []
    if contender.build in (ENGINE, EARLIER):
        added += [] if options["compile"] else ["not compiled"]
    else:
        added += ["compiled"] if options["compile"] else []
    return replace(contender, title=", ".join([contender.title, *added]), options=options)


def our_contender(native: str, compiles: bool = True) -> Contender:
    """This engine as it trains on a processor of this precision."""
    return next(one for one in training_contenders(native, compiles=compiles) if one.name == ours(native))


RELEASED_LOOP = "the released program's loop in fp32"


def rivals(native: str) -> dict[str, tuple[str, ...]]:
    """What the engine's speed is divided by: a name -> the contenders of which the fastest counts."""
    return {
        RELEASED_LOOP: ("released_fp32",),
        f"the best of padded batches and TRL in {native}": (
            f"padded_{native}",
            f"padded_compiled_{native}",
            f"trl_{native}",
        ),
        f"padded batches in {native} with the logits of the targets alone": (f"padded_targets_{native}",),
        f"TRL in {native} with its head patched": (f"trl_patched_{native}",),
        f"this engine at {earlier.COMMIT}": (f"earlier_{native}",),
    }
