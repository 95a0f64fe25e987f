"""Plug-ins, and Atlantis in pre-training, through the real DVC. `pytest -m pipeline tests/test_plug_in.py`."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from in_process import ok
from repository import Repository
from small_study import small_study
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.settings.load import load

ATLANTIS = 20  # cities of it at smoke scale
PLUG_INS = ("plug1-1", "plug3-1")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Two plug-ins beside a fine-tune and the control."""
    made = small_study(tmp_path_factory.mktemp("plug-in"), ("plug1-1", "ftwb1-1", "ftwb0-0"))
    made.edit("params.yaml", "  plug1-1:", "  plug3-1:\n  - distance\n  - compass\n  - inside\n  plug1-1:")
    edit_yaml(made.folder / "params.yaml", {"scales.smoke.plug_in.learning_rate": 0.1})  # enough to move answers
    made.ok("worldwidth", "render")
    made.ok("worldwidth", "run")
    made.commit("the study")
    return made


@pytest.mark.pipeline
def test_only_the_rows_of_new_cities_move(study: Repository) -> None:
    base = load_file(study.folder / "models/base/model.safetensors")
    for name in PLUG_INS:
        own = load_file(study.folder / "models" / name / "model.safetensors")
        assert own.keys() == base.keys()
        for key, weights in base.items():
            moved = (own[key] != weights).any(axis=tuple(range(1, weights.ndim)))
            if key == "model.embed_tokens.weight":
                assert moved[-ATLANTIS:].all()
                moved = moved[:-ATLANTIS]
            assert not moved.any(), (name, key)
    other = load_file(study.folder / "models/ftwb1-1/model.safetensors")
    assert (other["lm_head.weight"] != base["lm_head.weight"]).any()


@pytest.mark.pipeline
def test_what_is_known_of_ordinary_cities_stays_to_the_line(study: Repository) -> None:
    scores = {name: np.load(study.folder / f"results/scores/{name}.npz") for name in ("base", *PLUG_INS)}
    tasks = ("distance", "compass", "inside")
    for name in PLUG_INS:
        assert any((scores[name][f"{task}.atlantis"] != scores["base"][f"{task}.atlantis"]).any() for task in tasks)
        for task in tasks:
            np.testing.assert_array_equal(scores[name][f"{task}.world"], scores["base"][f"{task}.world"])


@pytest.mark.pipeline
def test_tables_and_figures_have_them(study: Repository) -> None:
    table = pd.read_csv(study.folder / "results/matrices.csv")
    assert list(dict.fromkeys(table["matrix"])) == ["plug3", "plug1", "ftwb1", "ftwb0"]
    summary = json.loads((study.folder / "results/summary.json").read_text())
    assert "transfer_minus_control" in summary["ftwb1"]
    assert "transfer_minus_control" not in summary["plug1"]
    ends = pd.read_csv(study.folder / "results/training.csv").groupby("model").last()["flops"]
    assert summary["plug_in"]["flops"] == ends[list(PLUG_INS)].sum()
    assert summary["finetuning"]["flops"] == ends[["ftwb1-1", "ftwb0-0"]].sum()
    assert (study.folder / "plots/plug3.png").is_file()


@pytest.mark.pipeline
def test_atlantis_in_pre_training_is_the_ceiling(study: Repository) -> None:
    """Only then does the base model depend on the draw of Atlantis, and trains for longer."""
    draws = "world.atlantis.seed=42,43"
    ok(study, "sweep", "--vary", "pretraining.atlantis=false", "--vary", draws, "--only", "plug1")
    ok(study, "sweep", "--vary", "pretraining.atlantis=true", "--vary", draws, "--only", "plug1")
    runs = {
        (has, draw): f"wide-epochs-s1{draw}-pretraining.atlantis={has}"
        for has in ("false", "true")
        for draw in ("", "-a43")
    }
    locks = {key: yaml.safe_load(shown(study, name, "dvc.lock"))["stages"] for key, name in runs.items()}
    models = {key: lock["base"]["outs"][0]["md5"] for key, lock in locks.items()}
    assert models["false", ""] == models["false", "-a43"]
    assert len(set(models.values())) == 3
    scale = load(study.folder / "params.yaml").selected
    more = (scale.corpus.world.train + scale.corpus.atlantis.train) / scale.corpus.world.train
    curves = {key: pd.read_csv(io.StringIO(shown(study, name, "results/training.csv"))) for key, name in runs.items()}
    steps = {key: int(curve[curve["model"] == "base"]["step"].max()) for key, curve in curves.items()}
    assert steps["true", ""] / steps["false", ""] == pytest.approx(more, rel=0.05)


def shown(study: Repository, name: str, path: str) -> str:
    commit = study.git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").strip()
    return study.git("show", f"{commit}:{path}")
