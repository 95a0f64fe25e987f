"""What the benchmarks report: ratios, turns, FLOPs. Their timings are no test's business.

pytest tests/test_benchmarks.py
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from plain_path import plain_loss, twin_of
from short_runs import Model
from worldwidth.data.corpus import Lines
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import Mixture

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package

import bench
import steps
import timing


def test_ratios_say_how_many_times_better() -> None:
    rates = timing.Comparison({"old": [2.0, 4.0, 4.0], "new": [8.0, 8.0, 40.0]}, reference="old").statistics()
    assert rates["new"]["ratio"] == 2.0
    assert rates["new"]["ratio_of_rounds"] == 4.0
    assert (rates["new"]["min"], rates["new"]["median"], rates["new"]["max"]) == (8.0, 8.0, 40.0)
    assert rates["old"]["ratio"] == rates["old"]["ratio_of_rounds"] == 1.0
    seconds = timing.Comparison({"old": [6.0], "new": [2.0]}, reference="old", less_is_better=True).statistics()
    assert seconds["new"]["ratio"] == 3.0


def test_variants_take_turns() -> None:
    called: list[str] = []

    def variant(name: str) -> Callable[[], float]:
        def measure() -> float:
            called.append(name)
            return float(len(called))

        return measure

    values = timing.take_turns({name: variant(name) for name in "abc"}, rounds=2, warm_up=True)
    assert called == list("abc") * 3
    assert values == {"a": [4.0, 7.0], "b": [5.0, 8.0], "c": [6.0, 9.0]}, "the warm-up counts for nothing"


@pytest.mark.parametrize("arch", ["narrow", "wide"])
def test_the_flops_of_a_step_are_those_that_torch_counts(
    arch: str, smoke: dict[str, Settings], small: Mixture, make_model: Callable[..., Model]
) -> None:
    """In the plain path, of lines of one length, so that nothing is padded."""
    rows = np.flatnonzero(small.lengths == np.bincount(small.lengths).argmax())
    model, scale = make_model(arch), smoke["cities"].selected
    twin = twin_of(*model, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        plain_loss(twin, small, rows, "all").backward()  # type: ignore[no-untyped-call]
    lines = Lines(small.tokens[rows], small.lengths[rows])
    d, vocabulary = model[0].hidden_size, model[0].vocab_size
    after_the_end = 6 * d * vocabulary * len(rows)  # transformers predicts what follows a line, too
    counted = counter.get_total_flops() - after_the_end
    assert steps.model_flops(scale.sizes_of(scale.archs[arch]), vocabulary, lines) == counted


def test_every_section_is_a_module() -> None:
    missing = [name for name in bench.SECTIONS if not (Path(bench.__file__).parent / f"{name}.py").is_file()]
    assert missing == []
