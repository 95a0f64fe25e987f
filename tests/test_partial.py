"""`worldwidth plots --partial` on a study that is not finished: `pytest tests/test_partial.py`."""

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import run, smoke, write_params
from worldwidth.commands import preview
from worldwidth.commands.preview import draw_partial
from worldwidth.commands.under_way import curves_under_way
from worldwidth.core.errors import WorldwidthError
from worldwidth.evaluation import tables
from worldwidth.model.safe_tensors import save_tensors
from worldwidth.plots import so_far
from worldwidth.plots.heatmap import Mark
from worldwidth.settings.compute import parameter_count, training_steps
from worldwidth.settings.paths import EVALUATIONS, SCORES
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task
from worldwidth.training.resume import STATE, VALUES, states_folder

FIGURES = {"plug1.png", "ftwb1.png", "ftwb2.png", "difference.png", "answers.png"}


def write_evaluation(settings: Settings, model: str) -> None:
    """Per-line scores and the statistics that the matrices need, in the pipeline's formats."""
    rng = np.random.default_rng(list(settings.models).index(model))
    lines: dict[str, Any] = {}
    report: dict[str, Any] = {}
    for task, population in itertools.product(settings.tasks, ("world", "atlantis")):
        easy = population == "world" or task in settings.finetunes.get(model, ())
        right = (rng.random(40) < (0.9 if easy else 0.4)).astype(np.float32)
        error = rng.integers(1, 20 if easy else 200, 40).astype(np.float32)
        lines[f"{task}.{population}"] = right if load_task(task).labels else error
        mean = float(lines[f"{task}.{population}"].mean())
        report.setdefault(task, {})[population] = {
            "mean": mean, "n": 40, "constant_mean": 0.5 if load_task(task).labels else 50
        }  # fmt: skip
    report["multitask"] = {"exact_match": 0.5, "n": 40}
    report["model"] = {"name": model, "weights": "sha"}
    for folder in (EVALUATIONS, SCORES):
        folder.mkdir(parents=True, exist_ok=True)
    (EVALUATIONS / f"{model}.json").write_text(json.dumps(report))
    np.savez_compressed(SCORES / f"{model}.npz", model=np.array([model, "sha"]), **lines)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The working directory is empty but for the results and plots of an earlier, finished run."""
    monkeypatch.chdir(tmp_path)
    for name in ("results/summary.json", "results/matrices.csv", "plots/ftwb1.png", "plots/training.png", "dvc.lock"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"committed {name}")
    return smoke()


def hashes(*outside: str) -> dict[str, str]:
    """Path -> hash of every file below the working directory that is not below ``outside``."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.parts[0] not in outside]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_three_of_all_models(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    done = ("base", "ftwb1-3", "ftwb2-2")
    for model in done:
        write_evaluation(settings, model)
    before = hashes()
    assert len(before) == 5 + 6
    draw_partial(settings)
    assert hashes("partial") == before
    assert {path.name for path in Path("partial").iterdir()} == FIGURES
    assert all((Path("partial") / name).read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    output = capsys.readouterr().out.splitlines()
    assert f"evaluated: 3 of {len(settings.models)} models" in output
    (missing,) = (line for line in output if line.startswith("missing: "))
    assert missing.removeprefix("missing: ").split(", ") == [m for m in settings.models if m not in done]
    assert all(f"partial/{name}" in output[0] for name in FIGURES)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be drawn, instead of the pictures: the arguments of every call of draw_study."""
    calls: list[tuple[Any, ...]] = []

    def draw_study(*arguments: Any) -> list[Path]:
        calls.append(arguments)
        return []

    monkeypatch.setattr(preview, "draw_study", draw_study)
    return calls


def test_only_the_base_model(
    settings: Settings, drawn: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    write_evaluation(settings, "base")
    draw_partial(settings)
    assert drawn == [(settings, [], {}, Path("partial"), frozenset(settings.finetunes))]
    assert f"evaluated: 1 of {len(settings.models)} models" in capsys.readouterr().out


def test_a_finished_study_is_drawn_as_the_pipeline_does(
    settings: Settings, drawn: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    for model in settings.models:
        write_evaluation(settings, model)
    draw_partial(settings)
    output = capsys.readouterr().out
    assert f"evaluated: {len(settings.models)} of {len(settings.models)} models" in output
    assert "missing" not in output
    cells, headline = tables.compute_matrices(tables.load_study(settings, settings.models), 100)
    assert drawn == [(settings, cells, headline, Path("partial"), frozenset())]


def test_the_number_of_resamples_is_the_one_in_params(settings: Settings, drawn: list[tuple[Any, ...]]) -> None:
    for model in ("base", "ftwb1-1"):
        write_evaluation(settings, model)
    fewer = replace(settings.selected, statistics=replace(settings.selected.statistics, resamples=300))
    draw_partial(replace(settings, scales={**settings.scales, "smoke": fewer}))
    cells, _ = tables.compute_matrices(tables.load_study(settings, ("base", "ftwb1-1")), 300)
    assert drawn[0][1] == cells


def test_before_the_base_model_is_evaluated_the_answers_are_drawn_as_they_are(
    settings: Settings, drawn: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    write_evaluation(settings, "ftwb1-1")
    before = hashes()
    draw_partial(settings)
    assert hashes("partial") == before
    assert drawn == []
    assert [path.name for path in Path("partial").iterdir()] == ["answers.png"]
    output = capsys.readouterr().out
    assert output.startswith("drawn: partial/answers.png\ntrained: 0 of ")
    assert output.endswith("compare with it: `dvc repro evaluate@base`\n")


def test_a_skill_is_0_for_the_constant_answer_and_1_without_an_error(settings: Settings) -> None:
    values = {"distance": {"mean": 10.0, "constant_mean": 40.0}, "inside": {"mean": 0.75, "constant_mean": 0.5}}
    reports = {"ftwb1-1": {task: {"atlantis": of_task} for task, of_task in values.items()}}
    marks = {task: so_far._mark(settings, "ftwb1-1", "atlantis", task, reports) for task in values}
    assert marks["distance"] == Mark(0.75, below="10", trained=True)
    assert marks["inside"] == Mark(0.5, below="0.75")
    values["inside"]["constant_mean"] = 1.0
    assert so_far._mark(settings, "ftwb1-1", "atlantis", "inside", reports).value is None


def test_without_anything_there_is_nothing_to_draw(settings: Settings) -> None:
    before = hashes()
    with pytest.raises(WorldwidthError, match=r"^nothing to draw yet: no model is trained, and none"):
        draw_partial(settings)
    assert hashes() == before
    assert not Path("partial").exists()


def save_state(settings: Settings, name: str, steps: int, points: int, size: int, folder: str = "") -> None:
    """The state of a training under way, as training/resume.py writes it."""
    point = {"tokens": 100, "flops": 1, "loss": 2.0, "learning_rate": 0.1, "validation_loss": None}
    curve = [{"step": i, **point, "gradient_norm": 1.0, "order": "1-a"} for i in range(1, points + 1)]
    path = states_folder() / (folder or f"{name}-0123") / STATE
    path.parent.mkdir(parents=True)
    values = json.dumps({"name": name, "step": points, "steps": steps, "curve": curve})
    save_tensors({"weights": np.zeros(size, np.float32)}, path, {VALUES: values})


def test_curves_of_trainings_under_way_are_drawn(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    size = parameter_count(settings.selected, settings.sizes)
    steps = {name: training_steps(settings, name) for name in settings.models}
    save_state(settings, "base", steps["base"], 3, size)
    save_state(settings, "ftwb1-1", steps["ftwb1-1"], 1, size)  # no line yet
    save_state(settings, "ftwb1-2", steps["ftwb1-2"], 3, size + 1)  # of another width
    save_state(settings, "ftwb1-3", steps["ftwb1-3"] + 1, 3, size)  # of another length
    (states_folder() / "cut").mkdir()
    (states_folder() / "cut" / STATE).write_bytes(b"\xff" * 20)
    assert {name: len(curve) for name, curve in curves_under_way(settings).items()} == {"base": 3}
    draw_partial(settings)
    assert f"trained: 0 of {len(settings.models)} models; under way: base at step 3\n" in capsys.readouterr().out
    assert [path.name for path in Path("partial").iterdir()] == ["training.png"]


def test_a_model_counts_once_both_its_files_are_there(
    settings: Settings, drawn: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("base", "ftwb1-1", "ftwb1-2"):
        write_evaluation(settings, model)
    (EVALUATIONS / "ftwb1-1.json").unlink()
    (SCORES / "ftwb1-2.npz").unlink()
    draw_partial(settings)
    output = capsys.readouterr().out
    assert f"evaluated: 1 of {len(settings.models)} models" in output
    assert "ftwb1-1, ftwb1-2" in output
    assert drawn[0][-1] == frozenset(settings.finetunes)


def test_a_damaged_evaluation_is_one_clear_line_and_no_picture(settings: Settings) -> None:
    for model in ("base", "ftwb1-1"):
        write_evaluation(settings, model)
    (SCORES / "ftwb1-1.npz").write_text("no archive")
    with pytest.raises(WorldwidthError, match=r"results/scores/ftwb1-1\.npz.*`dvc repro evaluate@ftwb1-1`"):
        draw_partial(settings)
    assert not Path("partial").exists()


def test_the_command_line_draws_a_part(
    settings: Settings,
    drawn: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for model in ("base", "ftwb1-1"):
        write_evaluation(settings, model)
    write_params()
    assert run(monkeypatch, "plots", "--partial") == 0
    assert f"evaluated: 2 of {len(settings.models)} models" in capsys.readouterr().out
    (SCORES / "base.npz").write_text("no archive")
    assert run(monkeypatch, "plots", "--partial") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("worldwidth: ")
