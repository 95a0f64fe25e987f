"""Maps of several runs: read from DVC's cache, put side by side, compared; and the figures.

pytest tests/test_compared_maps.py
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fake_runs import fake_run, fake_runs, with_scale
from laboratory import Laboratory, lock, sound_tables
from worldwidth.comparison import representations as compared
from worldwidth.comparison.axes import Design
from worldwidth.comparison.checkpoints import checkpoint_table
from worldwidth.comparison.representations import (
    LEVELS,
    REPLICATES,
    WITHIN,
    MapTables,
    RunMaps,
    giver_over,
    map_of,
    map_table,
    place_table,
    read_maps,
    similarity_table,
)
from worldwidth.comparison.runs import RunScores
from worldwidth.comparison.tables import compare
from worldwidth.core.arrays import save_arrays
from worldwidth.core.text import MINUS
from worldwidth.data.make_cities import make_cities
from worldwidth.dvcio.experiments import find_experiments
from worldwidth.evaluation.scores import Cell
from worldwidth.model.checkpoint import save_model
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.parametrization import initial_weights
from worldwidth.plots import probes, representations
from worldwidth.plots.probes import draw_known, draw_probes
from worldwidth.representation.represent import Plane, all_prompts, features_of, measure
from worldwidth.representation.rows import ALL, Row, table_of
from worldwidth.representation.tables import COLUMNS, Map
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
N, M, LAYERS = 30, 6, 2


@pytest.fixture(scope="module")
def study() -> Settings:
    settings = replace(load(ROOT / "params.yaml"), scale="smoke")
    return replace(settings, finetunes={"ftwb1-1": ("distance",), "ftwb1-3": ("angle",), "ftwb0-0": ()})


def made_map(seed: int, shared: Any = None, width: int = 8) -> Map:
    """A map in which places are written; ``shared`` is what the features of several have in common."""
    rng, places = np.random.default_rng(seed), np.random.default_rng(1)
    ordinary, atlantis = places.uniform(-90, 60, (N, 2)), places.normal((-35, 35), 3, (M, 2))
    features = rng.normal(size=(LAYERS + 1, N, width))
    if shared is not None:
        features[1] = 0.1 * features[1] + shared @ rng.normal(size=(shared.shape[1], width))
    return Map(
        prompts=("distance", "angle", ALL),
        layer=1,
        ordinary=ordinary,
        atlantis=atlantis,
        regions=np.array(["East Asia", "Oceania"] * (N // 2)),
        ordinary_seen=ordinary + rng.normal(0, 5, (3, N, 2)),
        atlantis_seen=atlantis + rng.normal(0, 9, (3, M, 2)),
        features=features.astype(np.float32),
    )


def made_rows(errors: dict[str, float]) -> list[Row]:
    rows: list[Row] = []
    for model, error in errors.items():
        for step in (0, 4, 9) if model == "base" else (9,):
            for prompt in ("distance", "angle", ALL):
                for layer in (1, 2):
                    numbers = dict.fromkeys((name for name in COLUMNS[4:] if name != "cities"), 0.5)
                    numbers |= {"atlantis_error": error + layer, "atlantis_share": error / 100}
                    numbers["r2"] = min(0.1 * step, 0.9)
                    rows.append(Row(model=model, step=step, prompt=prompt, layer=layer, cities=N, **numbers))
    return rows


@pytest.fixture(scope="module")
def runs(study: Settings) -> list[RunScores]:
    return fake_runs(study, archs=("narrow", "wide"), seeds=(1, 2))


@pytest.fixture(scope="module")
def found(study: Settings, runs: list[RunScores]) -> list[RunMaps]:
    """Two archs and two seeds; base models of one arch share much, those of two archs less."""
    everywhere = np.random.default_rng(0).normal(size=(N, 2))
    table = table_of(made_rows({"base": 100, "ftwb1-1": 80, "ftwb1-3": 10, "ftwb0-0": 90}))
    rows = table[(table["prompt"] == ALL) & (table["layer"] == 1) & (table["step"] == 9)]
    made = []
    for number, run in enumerate(runs):
        of_arch = np.random.default_rng([len(run.arch), 9]).normal(size=(N, 2))
        shared = np.hstack([everywhere, of_arch])
        width = 8 if run.arch == "narrow" else 30
        maps = {model: made_map(10 * number + i, shared, width) for i, model in enumerate(study.models)}
        made.append(RunMaps(run, "epochs", run.arch, maps, rows))
    return made


def test_every_model_is_compared_with_its_base_and_every_base_with_the_others(found: list[RunMaps]) -> None:
    table = similarity_table(found)
    assert table.groupby("kind").size().to_dict() == {WITHIN: 4 * 3, LEVELS: 2, REPLICATES: 2}
    for row in table[table["kind"] == LEVELS].to_dict("records"):
        assert {row["level"], row["other_level"]} == {"narrow", "wide"}
        assert row["experiment"][-1] == row["other_experiment"][-1], "one seed"
    means = table.groupby("kind")["cka_score"].mean()
    assert means[REPLICATES] > means[LEVELS] + 0.1 > 0.3
    assert (table["cka_value"] >= table["cka_score"]).all()
    assert set(table["layer"]) == {1}
    assert (table["cities"] == N).all()


def test_models_that_saw_other_cities_are_not_compared(found: list[RunMaps]) -> None:
    base = found[0].maps["base"]
    moved = replace(found[0], maps={"base": replace(base, ordinary=base.ordinary + 1)})
    assert similarity_table([moved, *found[1:2]])["kind"].eq(WITHIN).all()
    assert similarity_table([moved]).empty


def test_a_plug_in_that_moves_new_embeddings_alone_is_not_compared_with_its_base(found: list[RunMaps]) -> None:
    """It sees ordinary cities as that does; where it moves the embeddings of all tokens it is compared."""
    one = replace(found[0], maps={**found[0].maps, "plug1-1": found[0].maps["base"]})
    assert set(similarity_table([one])["other_model"]) == {"ftwb1-1", "ftwb1-3", "ftwb0-0"}
    run = fake_run(with_scale(one.run.settings, plug_in={"body_ratio": 0.0}), 0.0, 0.0)
    assert "plug1-1" in set(similarity_table([replace(one, run=run)])["other_model"])


def test_the_table_of_maps_says_whose_they_are_and_what_they_gave(found: list[RunMaps]) -> None:
    table = map_table(found)
    assert len(table) == 4 * 4
    assert table["transfer"].isna().tolist() == (table["model"] == "base").tolist()
    own = table[(table["model"] == "ftwb1-3") & (table["level"] == "wide")].iloc[0]
    run = next(run.run for run in found if run.name == own["experiment"])
    others = [task for task in run.settings.tasks if task != "angle"]
    assert own["transfer"] == pytest.approx(np.mean([run.cells["ftwb1", "ftwb1-3", task][0] for task in others]))
    assert giver_over(table) in ("ftwb1-1", "ftwb1-3")
    table.loc[table["model"] == "ftwb1-1", "transfer"] = 5
    table.loc[table["model"] == "ftwb0-0", "transfer"] = 9
    assert giver_over(table) == "ftwb1-1"
    assert giver_over(pd.DataFrame()) is None


def test_figures_of_all_levels(
    found: list[RunMaps], runs: list[RunScores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def keep(figures: dict[str, Any], folder: Path, kinds: tuple[str, ...]) -> list[Path]:
        assert kinds == ("maps-*", "similarity-*")
        drawn.update({name: draw() for name, draw in figures.items()})
        return [folder]

    monkeypatch.setattr(representations, "save_printed", keep)
    comparison = compare(runs)
    table, similarity = map_table(found), similarity_table(found)
    places = place_table(found, table)
    table.loc[table["model"] == "ftwb1-3", "transfer"] = 5  # the giver, beside which that of distance is shown
    representations.draw_representation_figures(comparison, MapTables(table, similarity, places), tmp_path)
    assert list(drawn) == ["maps-epochs", "similarity-epochs"]
    panels = [axes for axes in drawn["maps-epochs"].axes if axes.get_title()]
    assert len(panels) == 3 * 2
    assert panels[0].get_title() == "narrow: base model\nR² 0.90, error 0\nAtlantis: error 101"
    assert all(axes.get_aspect() == 1 for axes in panels)
    text = " ".join(drawn["maps-epochs"].get_supxlabel().split())
    assert f"n = {N} ordinary cities" in text
    assert "With shuffled coordinates R² is 0.50" in text
    titles = [axes.get_title() for axes in drawn["similarity-epochs"].axes]
    assert titles[:2] == ["linear CKA", "5 nearest neighbours"]


def test_where_no_two_maps_can_be_compared_there_is_no_such_figure(
    found: list[RunMaps], runs: list[RunScores], tmp_path: Path
) -> None:
    """A run of plug-ins alone: for ordinary cities they are their base model."""
    alone = [replace(found[0], maps={"base": found[0].maps["base"]})]
    written = representations.draw_representation_figures(compare(runs[:1]), MapTables.of(alone), tmp_path)
    assert [path.name for path in written] == ["maps-epochs.png", "maps-epochs.pdf", "maps-epochs.svg"]


def test_a_map_comes_back_from_its_places(found: list[RunMaps]) -> None:
    """Those of the first run of each arch, of the models that are shown."""
    table = map_table(found)
    table.loc[table["model"] == "ftwb1-3", "transfer"] = 5
    places = place_table(found, table)
    assert set(places["model"]) == {"base", "ftwb1-1", "ftwb1-3"}
    assert len(places) == 2 * 3 * (N + M)
    first = next(run for run in found if run.level == "wide" and run.run.replicate[0] == 1)
    own = places[(places["level"] == "wide") & (places["model"] == "ftwb1-3")]
    back, was = map_of(own, 1), first.maps["ftwb1-3"]
    for name in ("ordinary", "atlantis", "regions"):
        np.testing.assert_array_equal(getattr(back, name), getattr(was, name))
    for name in ("ordinary_seen", "atlantis_seen"):
        np.testing.assert_array_equal(getattr(back, name)[back.shown], getattr(was, name)[was.shown])
    assert place_table([], pd.DataFrame()).empty


def test_a_run_without_maps_leaves_an_empty_panel(found: list[RunMaps], runs: list[RunScores], study: Settings) -> None:
    fewer = [replace(run, rows=run.rows[run.rows["model"] != "ftwb1-1"]) for run in found]
    table = map_table(fewer)
    figure = representations.draw_level_maps(compare(runs), "epochs", table, place_table(found, table))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[4:6] == ["narrow: distance\nno map\n", "wide: distance\nno map\n"]


def test_maps_of_other_depths_say_after_which_layer(found: list[RunMaps], runs: list[RunScores]) -> None:
    deeper = [replace(run, rows=run.rows.assign(layer=11 if run.level == "wide" else 1)) for run in found]
    table = map_table(deeper)
    figure = representations.draw_level_maps(compare(runs), "epochs", table, place_table(deeper, table))
    assert "after the last layer but one or the only one: 1 in narrow; 11 in wide." in figure.get_supxlabel().replace(
        "\n", " "
    )


# --- read from experiments


def npz(cache: Path, made: Map) -> str:
    """A map as an object of DVC's cache; returns its hash."""
    arrays = {name: np.array(value) for name, value in vars(made).items()}
    save_arrays(cache / "new.npz", arrays)
    digest = hashlib.md5((cache / "new.npz").read_bytes(), usedforsecurity=False).hexdigest()
    (cache / digest[:2]).mkdir(exist_ok=True)
    (cache / "new.npz").rename(cache / digest[:2] / digest[2:])
    return digest


def test_maps_are_read_from_the_cache_and_what_lacks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs: list[RunScores]
) -> None:
    monkeypatch.chdir(tmp_path)
    laboratory, cache = Laboratory(tmp_path), tmp_path / "cache"
    cache.mkdir()
    digest = npz(cache, made_map(3))
    table = table_of(made_rows({"base": 100, "ftwb1-1": 80})).to_csv(index=False)
    with_maps = lock()
    for model in ("base", "ftwb1-1"):
        with_maps["stages"][f"represent@{model}"]["outs"] = [
            {"path": f"results/representations/{model}.npz", "md5": digest if model == "base" else "0" * 32}
        ]
    laboratory.add("wide-epochs-s1", with_maps, {**sound_tables(), "results/representations.csv": table}, seed=1)
    laboratory.add("wide-epochs-s2", lock(), seed=2)
    experiments = find_experiments(["wide-epochs-s1", "wide-epochs-s2"])
    made = [replace(runs[0], experiment=experiment) for experiment in experiments]
    design = Design.of([run.settings for run in made], ["arch"])
    (only,) = read_maps(made, design, cache)
    assert (only.name, only.level, only.arm) == ("wide-epochs-s1", "wide", "epochs")
    assert list(only.maps) == ["base"]
    np.testing.assert_array_equal(only.maps["base"].features, made_map(3).features)
    assert only.rows["model"].tolist() == ["base", "ftwb1-1"]
    lines = capsys.readouterr().err.splitlines()
    assert any("wide-epochs-s2: has no maps, for it was run before there were any" in line for line in lines)
    assert any(
        "wide-epochs-s1: the maps of " in line and "ftwb1-1" in line and "not in DVC's cache" in line for line in lines
    )
    narrowed = replace(made[0], experiment=replace(experiments[0], only=("ftwb1-3",)))
    (fewer,) = read_maps([narrowed], design, cache)
    assert (set(fewer.maps), set(fewer.rows["model"])) == ({"base"}, {"base"}), "of models that are compared"
    path = cache / digest[:2] / digest[2:]
    path.write_bytes(path.read_bytes()[:-9])
    monkeypatch.setattr(compared, "_HASHES", type(compared._HASHES)())
    (damaged,) = read_maps(made, design, cache)
    assert damaged.maps == {}
    assert similarity_table([damaged]).empty


# --- the figures of one study


def cells() -> list[Cell]:
    scores = {"ftwb1-1": 0.1, "ftwb1-3": 0.6, "ftwb1-4": 0.5, "ftwb0-0": 0.0}
    same = {"raw": 1.0, "base_atlantis": 1.0, "base_world": 1.0, "constant": 1.0, "constant_score": None}
    more: dict[str, Any] = {**same, "standard_error": None, "expected": None, "measurable": True, "trained": False}
    return [
        Cell(matrix=model[:5], model=model, task="perimeter", score=score, **more) for model, score in scores.items()
    ]


def test_the_figures_of_a_study_say_n_and_the_null(study: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(study, finetunes={**study.finetunes, "ftwb1-4": ("compass",)})
    errors = {"base": 100.0, "ftwb1-1": 80.0, "ftwb1-3": 10.0, "ftwb1-4": 20.0, "ftwb0-0": 90.0}
    table = pd.DataFrame([asdict(row) for row in made_rows(errors)])
    figure = draw_probes(settings, table, cells())
    text = " ".join(figure.get_supxlabel().split())
    assert f"Right: n = 4 fine-tuned models; Spearman's correlation {MINUS}1.00" in text
    assert "95 % of 20 shuffles: 0.50 to 0.50" in text
    left, _, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ["layer 1", "layer 2", "regions held out"]
    assert np.asarray(left.get_lines()[0].get_xdata()).tolist() == [0, 4, 9]
    points = np.concatenate([dots.get_offsets() for dots in right.collections])
    assert sorted(points.tolist()) == [[11, 0.6], [21, 0.5], [81, 0.1], [91, 0.0]]
    monkeypatch.setattr(probes, "load_map", lambda model: made_map(5))
    maps = probes.draw_study_maps(settings, table, cells())
    assert [axes.get_title().split("\n")[0] for axes in maps.axes] == [
        "base: base model", "ftwb1-3: fine-tuned on angle, the giver", "ftwb1-1: fine-tuned on distance",
    ]  # fmt: skip
    known = draw_known(settings, table)
    assert {"0.80", "0.10", "0.20", "0.90"} <= {text.get_text() for text in known.axes[0].texts}


def in_cache(content: bytes, cache: Path, ending: str = "") -> str:
    """Put it where DVC has files by their hash; return the hash."""
    digest = hashlib.md5(content).hexdigest() + ending
    (cache / digest[:2]).mkdir(parents=True, exist_ok=True)
    (cache / digest[:2] / digest[2:]).write_bytes(content)
    return digest


def cached_base(study: Settings, folder: Path, cache: Path, steps: tuple[int, ...]) -> str:
    """The hash of a base model in DVC's cache that has other weights at every step."""
    config = DecoderConfig.of(study.selected, study.sizes)
    files = []
    for step in steps:
        name = f"steps/{step}"
        save_model(config, initial_weights(config, step), folder / name, lambda folder: None)
        files += [(f"{name}/{path.name}", in_cache(path.read_bytes(), cache)) for path in (folder / name).iterdir()]
    listing = [{"md5": digest, "relpath": path} for path, digest in sorted(files)]
    return in_cache(json.dumps(listing).encode(), cache, ".dir")


def test_checkpoints_are_read_as_the_finished_model_is(study: Settings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    digest = cached_base(study, tmp_path / "model", cache, (0, 1, 10, 50, 100))
    runs = [run_maps(study, name, digest) for name in ("wide-epochs-s1", "wide-flops-s1")]
    table = pd.DataFrame({"arm": ["a", "b"], "level": "wide", "seed": 1, "atlantis_seed": 1})
    table["experiment"] = [run.name for run in runs]
    found = checkpoint_table(runs, table, cache)
    assert set(found["step"]) == {1, 10, 50}, "the nearest to each share, and none twice"
    assert set(found["arm"]) == {"epochs"}, "of a model that two share once"
    plane = Plane.of(make_cities(study.selected.world))
    config = DecoderConfig.of(study.selected, study.sizes)
    features = features_of(config, initial_weights(config, 50), all_prompts(study, len(plane.ordinary)))
    _, arrays = measure({ALL: features[ALL]}, plane, "base", 50)
    own = found[found["step"] == 50]
    assert len(own) == len(plane.ordinary) + len(plane.atlantis)
    seen = np.vstack([arrays["ordinary_seen"][0], arrays["atlantis_seen"][0]])
    assert np.abs(own[["seen_x", "seen_y"]].to_numpy() - seen).max() <= 0.5, "to whole units"
    assert checkpoint_table(runs, table, tmp_path / "empty").empty


def run_maps(study: Settings, name: str, digest: str) -> RunMaps:
    experiment = SimpleNamespace(name=name, outs={"models/base": digest})
    run: Any = SimpleNamespace(experiment=experiment, settings=study)
    return RunMaps(run, name.split("-")[1], "wide", {}, pd.DataFrame())


def test_a_damaged_checkpoint_is_one_line(study: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    digest = cached_base(study, tmp_path / "model", cache, (1, 2))
    largest = max(cache.glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1  # of one weight, by which it is still a model
    largest.write_bytes(content)
    run = run_maps(study, "wide-epochs-s1", digest)
    table = pd.DataFrame({"arm": ["epochs"], "level": "wide", "seed": 1, "atlantis_seed": 1, "experiment": run.name})
    assert checkpoint_table([run], table, cache).empty
    assert capsys.readouterr().err.startswith("worldwidth: wide-epochs-s1: its checkpoints have no maps: ")
