"""The pages and charts show what was measured, processor by processor, and nothing that was not."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from basics.errors import UserError
from basics.markdown import replace_section
from benchmarks import machine, report, tables
from benchmarks.ceiling import BANDWIDTH
from benchmarks.chart import CHART, draw_speeds
from benchmarks.contenders.training import rivals
from benchmarks.figures_of_merit import Spread, factors, merits
from benchmarks.gpu.profile import _table
from benchmarks.gpu.profile_table import render_gpu_profile
from benchmarks.sections import cost
from benchmarks.sections.cost import render_cost
from benchmarks.sections.neighbours import render_neighbours
from benchmarks.summary import render_summary
from tiny_models import small_rows

MACHINE = {"versions": {"torch": "2"}, "processor": "P", "unit": "AVX2", "cores": 2, "commit": "abc"}


def section(**seconds: list[float]) -> dict:
    """A section in which the contenders, named by their precision at the end, took this long."""
    return {
        "precision": "bf16",
        "work": {"rows": 32, "tokens": 6400, "nodes": 3200, "pairs": 1, "kept": 64},
        "flops": 8e12,
        "ceiling": {"bf16": {"small": 1e12, "large": 2e12}, BANDWIDTH: {"a + 2 b": 15e9}},
        "contenders": {
            name: {"title": name, "precision": name.rsplit("_", 1)[1], "seconds": times, "peak_memory": 1 << 30}
            for name, times in seconds.items()
        },
    }


def test_merit_is_the_median_of_the_repetitions() -> None:
    merit = merits(section(engine_bf16=[8.0, 4.0, 16.0]))["engine_bf16"]
    assert (merit.samples.least, merit.samples.median, merit.samples.most) == (2.0, 4.0, 8.0)
    assert (merit.tokens, merit.nodes, merit.share) == (800.0, 400.0, 0.5)


def test_a_share_is_of_the_ceiling_of_its_precision() -> None:
    measured = section(engine_fp32=[8.0], engine_bf16=[4.0])
    found = merits(measured)
    assert (found["engine_fp32"].share, found["engine_bf16"].share) == (None, 1.0)
    measured["ceiling"]["fp32"] = {"small": 2.5e12}
    assert merits(measured)["engine_fp32"].share == 0.4
    assert tables.ceiling_line(measured["ceiling"]) == (
        "ceiling 2.00 TFLOP/s in bf16, 2.50 TFLOP/s in fp32, memory 15.0 GB/s"
    )


def test_factor_is_over_the_fastest_rival_that_ran() -> None:
    """Round by round: a round that was slow for both says as much as another."""
    measured = section(engine_bf16=[4.0, 8.0, 4.0], padded_bf16=[16.0] * 3, trl_bf16=[12.0, 24.0, 10.0])
    measured["contenders"]["trl_patched_bf16"] = {"title": "", "precision": "bf16", "error": "not installed"}
    found = factors(measured, "engine_bf16", rivals("bf16"))
    assert found == {"the best of padded batches and TRL in bf16": Spread(3.0, 2.5, 3.0)}
    (line,) = tables.factor_lines(measured, "trains", "engine_bf16", rivals("bf16"))
    assert line == (
        "In bf16 this engine trains **3.0 times** (2.5 to 3.0) as fast as the best of padded batches and TRL in bf16."
    )
    del measured["contenders"]["engine_bf16"]["seconds"]
    measured["contenders"]["engine_bf16"]["error"] = "failed"
    assert tables.factor_lines(measured, "trains", "engine_bf16", rivals("bf16")) == []


def test_both_shares_stand_above_a_table() -> None:
    measured = section(engine_bf16=[4.0]) | {"epoch": {"rows": 100, "tokens": 19_000, "nodes": 9_880}}
    line = tables.work_line("MELD", measured)
    assert "6,400 tokens, 3,200 of them distinct (50.0%; of the epoch that they are drawn from 52.0%;" in line
    assert "200 tokens a row, of the epoch 190)" in line


def test_a_processor_has_a_folder_by_its_name_and_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        ("Intel(R) Xeon(R) Processor", "AMX"): "intel-xeon-amx",
        ("AMD EPYC 7763 64-Core Processor", "AVX2"): "amd-epyc-7763-avx2",
        ("AMD EPYC", "AVX-512 bf16"): "amd-epyc-avx-512-bf16",
        ("Intel(R) Core(TM) i7-1165G7 CPU @ 2.80GHz", None): "intel-core-i7-1165g7",
    }
    assert [machine.slug_of({"processor": name, "unit": unit}) for name, unit in names] == list(names.values())
    assert machine.native_precision() in ("bf16", "fp32")
    here = machine.describe_machine("cpu")
    assert here["processor"] and here["cores"] > 0 and machine.slug_of(here)
    monkeypatch.setenv(machine.LIMIT, "AVX2")
    assert machine.slug_of(machine.describe_machine("cpu")) == f"{machine.slug_of(here)}-held-to-avx2"


def test_every_folder_of_results_is_its_processors() -> None:
    processors = report.read_processors(report.RESULTS)
    assert processors
    for name, sections in processors.items():
        slugs = {machine.slug_of(one["machine"]) for one in sections.values()}
        assert slugs == {name}


def test_sections_between_marks_are_replaced() -> None:
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    readme = f"above\n{begin}\nold\n{end}\nbelow\n"
    assert replace_section(readme, "new") == f"above\n{begin}\nnew\n{end}\nbelow\n"
    with pytest.raises(UserError, match="missing"):
        replace_section("no markers", "new")


@pytest.mark.parametrize(("page", "marks", "text"), report.pages(report.RESULTS), ids=["benchmarks", "front page"])
def test_pages_show_the_committed_results(page: Path, marks: str, text: str) -> None:
    """`python benchmarks/render.py` renders them anew."""
    shown = page.read_text(encoding="utf-8")
    assert text and replace_section(shown, text, marks=marks) == shown


def test_charts_show_the_committed_results(tmp_path: Path) -> None:
    """`python benchmarks/render.py` draws them anew; equal results give equal bytes."""
    drawn = [
        (report.RESULTS / name / CHART, sections)
        for name, sections in report.read_processors(report.RESULTS).items()
        if sections.keys() >= report.DRAWN
    ]
    assert drawn and {path for path, _ in drawn} == set(report.RESULTS.glob(f"*/{CHART}"))
    for path, sections in drawn:
        draw_speeds(tmp_path / CHART, sections)
        assert (tmp_path / CHART).read_bytes() == path.read_bytes(), path


def test_the_pages_tell_of_every_processor(tmp_path: Path) -> None:
    """Of two, of which one has not been scored on; what is shared is told once, and no estimate without rates."""
    trained = {"workloads": {"window": window()}, "machine": MACHINE, "took": 60}
    scored = section(engine_bf16=[2.0], generate_bf16=[8.0]) | {"machine": MACHINE, "took": 60}
    scored["adapter"] = {"steps": 1, "first_loss": 2.0, "last_loss": 1.0}
    for entry in scored["contenders"].values():
        entry |= {"agreement": None, "accuracy": 0.5, "without_label": 0}
    other = trained | {"machine": MACHINE | {"processor": "Q", "unit": None}}
    report.write_results(tmp_path / "p" / "training.json", trained)
    report.write_results(tmp_path / "p" / "scoring.json", scored)
    report.write_results(tmp_path / "q" / "training.json", other)
    report.write_results(tmp_path / "trees.json", trees())
    text = report.render(tmp_path)
    assert [line for line in text.splitlines() if line.startswith("###") and line[3] in " #"] == [
        "### P, AVX2",
        "#### Training",
        "#### Cost against work",
        "#### Scoring",
        "### Q",
        "#### Training",
        "#### Cost against work",
        "### What rows share",
    ]
    assert text.count(f"(results/p/{CHART})") == 1 and f"(results/q/{CHART})" not in text
    runs = {"one": gpu_run(52, 60.0), "two": gpu_run(20, None)}
    told = render_summary(report.read_processors(tmp_path), {"gpu_runs": runs}).splitlines()
    assert told[0].count("<img") == 1 and told[2:] == [
        "- P, AVX2, 2 cores, bf16: training goes **4.0** times (3.0 to 5.0) as fast as the released program's loop in "
        "fp32; scoring **4.0** times (4.0 to 4.0) as fast as the best `generate` in batches of 8 (MELD; medians of the "
        "rounds, and their range; commit abc).",
        "- H: 2 epochs of MELD's 1,000 rows in 52 seconds.",
    ]


def test_the_front_page_tells_of_the_released_loop_and_of_the_strongest_rival() -> None:
    times = {
        "released_fp32": 32.0,
        "padded_bf16": 24.0,
        "trl_patched_bf16": 12.0,
        "earlier_bf16": 5.0,
        "engine_bf16": 4.0,
    }
    trained = section(**{name: [took] * 3 for name, took in times.items()})
    scored = section(engine_bf16=[2.0], generate_bf16=[8.0], label_logits_bf16=[6.0])
    sections = {
        "training": {"workloads": {"window": trained}, "machine": MACHINE},
        "scoring": scored | {"machine": MACHINE},
    }
    told = render_summary({"p": sections}, {})
    assert (
        "training goes **8.0** times (8.0 to 8.0) as fast as the released program's loop in fp32, **3.0** times" in told
    )
    assert "with its head patched, the strongest rival; scoring **" in told and "6.0** times" not in told
    assert "this engine at" not in told and "1.2** times" not in told


def test_the_front_page_is_silent_on_what_has_no_rival() -> None:
    """As after `--contenders earlier`, or where this engine failed."""
    alone = section(earlier_bf16=[5.0], engine_bf16=[4.0])
    scored = section(engine_bf16=[2.0], generate_bf16=[8.0]) | {"machine": MACHINE | {"commit": "def"}}
    sections = {"training": {"workloads": {"window": alone}, "machine": MACHINE}, "scoring": scored}
    assert render_summary({"p": sections}, {}).endswith(
        "- P, AVX2, 2 cores, bf16: scoring **4.0** times (4.0 to 4.0) as fast as the best `generate` in batches of 8 "
        "(MELD; medians of the rounds, and their range; commit def)."
    )
    sections["training"]["workloads"]["window"] = section(trl_bf16=[16.0], trl_patched_bf16=[8.0], engine_bf16=[4.0])
    told = render_summary({"p": sections}, {})
    assert "goes **2.0** times (2.0 to 2.0) as fast as TRL in bf16 with its head patched, the strongest rival;" in told
    assert "**4.0** times (4.0 to 4.0) as fast as the best of padded" not in told
    del scored["contenders"]["generate_bf16"]
    sections["training"]["workloads"]["window"] = alone
    assert "P, AVX2" not in render_summary({"p": sections}, {})


def test_a_gpus_profile_is_told_part_by_part() -> None:
    """Of some parts alone, as with `--parts`; a part that failed has its error in place of its lines."""
    laps = dict.fromkeys(("pack", "copy", "forward", "backward", "optimizer"), [2.0, 4.0, 3.0])
    found = {"machine": MACHINE, "took": 60, "split_eager": laps, "profiled_eager": "OutOfMemoryError: no"}
    _, launched, table = render_gpu_profile({"gpu_profile": found})
    told = "pack 3.0, copy 3.0, forward 3.0, backward 3.0, optimizer 3.0."
    assert launched == f"Launched one by one under a dense mask, ms: {told}" and table.startswith("| a step")
    found |= {"launches": {"us_a_launch": 17.6}, "profiled_eager": ["7 kernels", "busy"]}
    _, launched, _, kernels = render_gpu_profile({"gpu_profile": found})
    assert launched.endswith(f"{told} A launch takes 18 us here.")
    assert kernels == "Kernels of a step launched one by one: 7 kernels; busy."


def test_operations_of_a_profile_are_printed_and_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows what is kept on one line."""
    cpu = torch.device("cpu")
    assert _table(lambda: torch.ones(3).add(1), cpu, "self_cpu_time_total") == ["0 kernels, busy 0.0 ms"]
    assert "aten::add" in capsys.readouterr().out


def window(**others: list[float]) -> dict:
    """A workload of training, in three rounds."""
    measured = section(released_fp32=[12.0, 16.0, 20.0], engine_bf16=[4.0] * 3, **others)
    for name, entry in measured["contenders"].items():
        entry |= {"reduction": "row", "loss": 1.0, "warm_up": 9.0, "options": {"compile": True}}
        entry["options"] |= {"packing": "tree"} if name.startswith(("engine", "earlier")) else {}
    return measured | {"reference": {"row": {"losses": [1.0]}}}


def trees() -> dict:
    part = {"rows": 320, "tokens": 64_000, "nodes": 32_000, "seconds": 0.25}
    return {"fractions": {"window": {"1": part}}, "sharing": {"meld": {"window": {"8": 2.0}}}, "machine": MACHINE}


def gpu_run(seconds: float, score: float | None) -> dict:
    return {"device": "H", "rows": 1000, "epochs": 2, "seconds": seconds, "weighted_f1": score}


def test_an_epoch_costs_what_the_rates_say() -> None:
    """32,000 distinct tokens at 800 a second, 320 rows at 2 a second."""
    *_, table = render_cost({"training": {"workloads": {"window": window()}}, "trees": trees()})
    assert table.splitlines()[2] == "| 1 of train | 320 | 64,000 | 32,000 | 0.7 min | 2.7 min |"


def test_an_epoch_of_whoever_shares_prefixes_costs_its_distinct_tokens() -> None:
    """A part whose rows share less than those measured: an engine that is half as fast takes twice the time there."""
    counted = trees()
    counted["fractions"]["window"] = {"1/8": {"rows": 160, "tokens": 32_000, "nodes": 24_000}}
    *_, table = render_cost({"training": {"workloads": {"window": window(earlier_bf16=[8.0] * 3)}}, "trees": counted})
    assert table.splitlines()[2] == "| 1/8 of train | 160 | 32,000 | 24,000 | 0.5 min | 1.3 min | 1.0 min |"


def test_an_epoch_is_measured_once_the_layers_are_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the rates are, which the column beside it follows from."""
    asked: list[int] = []
    worker = MagicMock()
    worker.__enter__.return_value.run.side_effect = lambda steps: asked.append(steps) or SimpleNamespace(seconds=1.0)
    monkeypatch.setattr(cost, "Worker", lambda *given: worker)
    rows = small_rows(count=16, turns=20)[:320]
    found = cost.measure_epochs(SimpleNamespace(base="", train_rows=lambda *kind: rows), "fp32", tmp_path)
    assert [part["rows"] for part in found["fractions"].values()] == [40, 80, 160, 320]
    assert asked == [1, 2, 1, 3, 1, 5, 1, 10]


def test_how_much_slower_it_is_beside_others() -> None:
    seconds = {"alone": [6.0, 12.0, 9.0], "beside": [18.0, 21.0, 12.0]}
    measured = {"seconds": seconds, "steps": 6, "cores": 2, "precision": "bf16", "machine": MACHINE, "took": 60}
    _, table, told = render_neighbours({"neighbours": measured})
    assert "| beside one busy program | 3.00 (2.00 to 3.50) |" in table and "**1.8 times** (1.3 to 3.0)" in told
