"""Where models have cities: the probe against planted maps and scikit-learn, the features against transformers.

pytest tests/test_representation.py
"""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from plain_path import twin_of
from short_runs import Model
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City, save_cities
from worldwidth.data.tokenizer import BOS, Vocabulary
from worldwidth.model.checkpoint import save_model
from worldwidth.model.layout import VECTORS, slices
from worldwidth.representation import represent
from worldwidth.representation.hidden import hidden_states, prompts_of
from worldwidth.representation.probe import (
    PENALTIES,
    distances,
    explained,
    fitted,
    folds_by,
    folds_of,
    held_out,
)
from worldwidth.representation.represent import Plane, all_prompts, features_of, measure, represent_and_save
from worldwidth.representation.rows import ALL, FOLDS, SHUFFLES, map_layer, table_of
from worldwidth.representation.tables import (
    COLUMNS,
    finished,
    load_map,
    load_rows,
    shown_rows,
)
from worldwidth.settings.paths import ATLANTIS_CITIES, CITIES, CURVES, MODELS, REPRESENTATIONS
from worldwidth.settings.schema import Settings
from worldwidth.tasks import available, load_task

pytestmark = pytest.mark.usefixtures("one_thread")

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def planted(rng: np.random.Generator, noise: float, n: int = 120, features: int = 40) -> tuple[Floats, Floats]:
    """Features in which places are written linearly, beside noise of that spread; and the places."""
    places = rng.uniform(-150, 150, (n, 2))
    return places / 100 @ rng.normal(size=(2, features)) + noise * rng.normal(size=(n, features)), places


# --- the probe


@pytest.mark.parametrize("features", [5, 84, 300])
def test_the_probe_is_scikit_learns_ridge(rng: np.random.Generator, features: int) -> None:
    x = rng.normal(size=(84, features)) * rng.uniform(0.1, 9, features) + rng.normal(size=features)
    x[:, 2] = 4.5  # one that says nothing
    targets = np.column_stack([x[:, :2] @ [[1.0, 2], [3, -1]] + rng.normal(size=(84, 2)), rng.normal(size=(84, 3))])
    new = rng.normal(size=(7, features))
    scaler = StandardScaler().fit(x)
    theirs = RidgeCV(PENALTIES, alpha_per_target=True).fit(scaler.transform(x), targets)
    assert len(set(theirs.alpha_)) > 1  # a target of its own penalty is needed for the comparison to say something
    np.testing.assert_allclose(fitted(x, targets)(new), theirs.predict(scaler.transform(new)), rtol=1e-6, atol=1e-6)


def test_a_planted_map_is_found_as_well_as_its_noise_allows(rng: np.random.Generator) -> None:
    """With one feature a coordinate the best R2 is known: that of regression on a noisy measurement."""
    n, noise = 400, 0.5
    places = rng.normal(size=(n, 2))
    found = held_out(places + noise * rng.normal(size=(n, 2)), places, folds_of(n))
    assert found.r2 == pytest.approx(1 / (1 + noise**2), abs=0.05)
    assert found.predicted.shape == (n, 2)
    clear = held_out(*planted(rng, noise=0.01), folds_of(120))
    assert clear.r2 > 0.999
    assert distances(clear.predicted, np.zeros(2)).max() > 100


@pytest.mark.parametrize("features", [10, 64, 400])
def test_random_features_are_no_map(rng: np.random.Generator, features: int) -> None:
    """As many features as cities fit any map; held out, they are worth nothing and lie among the shuffles."""
    places = rng.uniform(-150, 150, (96, 2))
    x = rng.normal(size=(96, features))
    found = held_out(x, places, folds_of(96))
    assert found.r2 < 0.08
    assert found.null.shape == (SHUFFLES,)
    spread = found.null.std()
    assert found.null.min() - 2 * spread <= found.r2 <= found.null.max() + 2 * spread
    if features > 96:  # the same features would be called a perfect map if cities were not held out
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        flat = np.linalg.lstsq(x, places - places.mean(axis=0), rcond=None)[0]
        assert explained((x @ flat)[:, None], (places - places.mean(axis=0))[:, None])[0] > 0.999


def test_shuffled_coordinates_of_a_clear_map_are_no_map(rng: np.random.Generator) -> None:
    found = held_out(*planted(rng, noise=0.01), folds_of(120))
    assert found.null.max() < 0.1 < found.r2


def test_regions_are_held_out_whole(rng: np.random.Generator) -> None:
    """A linear map goes on into a region that was never seen; a table of cities by region does not."""
    regions = ["west"] * 40 + ["middle"] * 40 + ["east"] * 40
    centers = np.repeat([(-120.0, 10), (0, 0), (120, -10)], 40, axis=0)
    places = centers + rng.normal(size=(120, 2)) * 10
    linear = places / 100 @ rng.normal(size=(2, 30)) + 0.01 * rng.normal(size=(120, 30))
    by_region = np.repeat(np.eye(3), 40, axis=0) + 0.01 * rng.normal(size=(120, 3))
    folds = folds_by(regions)
    assert [len(fold) for fold in folds] == [40, 40, 40]
    assert held_out(linear, places, folds).r2 > 0.95
    assert held_out(by_region, places, folds_of(120)).r2 > 0.9  # which city within a region it does not know
    assert held_out(by_region, places, folds).r2 < 0


def test_no_city_is_predicted_by_a_probe_that_saw_it(rng: np.random.Generator) -> None:
    x, places = planted(rng, noise=0.2)
    folds = folds_of(len(x))
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(x)))
    assert len(folds) == FOLDS
    before = held_out(x, places, folds)
    moved = places.copy()
    moved[folds[0]] += 1000
    after = held_out(x, moved, folds)
    np.testing.assert_array_equal(after.predicted[folds[0]], before.predicted[folds[0]])
    assert not np.array_equal(after.predicted[folds[1]], before.predicted[folds[1]])
    rest = np.setdiff1d(np.arange(len(x)), folds[0])
    np.testing.assert_allclose(before.guess[folds[0]], distances(places[folds[0]], places[rest].mean(axis=0)))


def test_r2_by_hand() -> None:
    targets = np.array([[0.0, 0], [2, 0], [4, 6]])[:, None]
    predicted = np.array([[0.0, 1], [2, 0], [3, 6]])[:, None]
    assert explained(predicted, targets)[0] == pytest.approx(1 - 2 / (8 + 24))
    assert explained(np.broadcast_to(targets.mean(axis=0), targets.shape), targets)[0] == pytest.approx(0)


# --- the features


@pytest.mark.parametrize("tokens", ["cities", "characters"])
@pytest.mark.parametrize("task", available())
def test_a_prompt_ends_behind_the_first_city(
    smoke_vocabularies: dict[str, Vocabulary], smoke: dict[str, Settings], tokens: str, task: str
) -> None:
    vocabulary = smoke_vocabularies[tokens]
    prompts = prompts_of(load_task(task), vocabulary)
    before, after = load_task(task).pieces(4)[:2]
    texts = [vocabulary.decode(row.tolist()) for row in prompts.tokens]
    assert texts == [before + name + after for name in vocabulary.names]
    assert (prompts.tokens[:, 0] == BOS).all()
    city, separator = prompts.places
    assert [vocabulary.decode([row[city]]) for row in prompts.tokens] == [
        name if tokens == "cities" else name[-1] for name in vocabulary.names
    ]
    assert {vocabulary.decode([row[separator]]) for row in prompts.tokens} == {after[-1]}


@pytest.mark.parametrize("tokens", ["cities", "characters"])
@pytest.mark.parametrize("arch", ["narrow", "wider", "deep"])
def test_hidden_states_are_those_of_transformers(
    make_model: Callable[..., Model], smoke_vocabularies: dict[str, Vocabulary], arch: str, tokens: str
) -> None:
    """Those after the last layer come from transformers behind the final norm."""
    config, weights = make_model(arch, tokens)
    weights = weights.copy()
    rng = np.random.default_rng(3)
    for name in VECTORS:  # away from 0 and 1, where mistakes would not show
        weights[slices(config)[name]] += rng.normal(0, 0.3, weights[slices(config)[name]].shape).astype(np.float32)
    prompts = prompts_of(load_task("inside"), smoke_vocabularies[tokens])
    ours = hidden_states(config, weights, prompts)
    twin = twin_of(config, weights)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(prompts.tokens), output_hidden_states=True).hidden_states
        last = twin.model.norm(torch.from_numpy(ours[-1]).view(len(prompts.tokens), 2, -1)).flatten(1)
    assert ours.shape == (config.num_hidden_layers + 1, len(prompts.tokens), 2 * config.hidden_size)
    for layer, stream in enumerate(theirs):
        wanted = stream[:, prompts.places].flatten(1)
        torch.testing.assert_close(torch.from_numpy(ours[layer]) if stream is not theirs[-1] else last, wanted)
    assert np.abs(ours[1:] - ours[:-1]).min(axis=(1, 2)).max() < np.abs(ours).max()  # layers do something


def test_features_are_of_the_probed_cities_and_of_atlantis(
    smoke: dict[str, Settings], make_model: Callable[..., Model]
) -> None:
    few, every = all_prompts(smoke["cities"], 10), all_prompts(smoke["cities"], 60)
    config, weights = make_model("narrow")
    of_few, of_all = features_of(config, weights, few), features_of(config, weights, every)
    assert list(of_all) == [*smoke["cities"].tasks, ALL]
    np.testing.assert_allclose(of_few["compass"], of_all["compass"][:, np.r_[:10, 60:80]], rtol=1e-4, atol=1e-6)
    mean = np.mean([of_all[task] for task in smoke["cities"].tasks], axis=0)
    np.testing.assert_allclose(of_all[ALL], mean, rtol=1e-6, atol=1e-6)


# --- one model


@pytest.fixture
def plane(rng: np.random.Generator) -> Plane:
    regions = ("north",) * 30 + ("south",) * 30
    return Plane(rng.uniform(-90, 90, (60, 2)), rng.normal((-35, 35), 3, (20, 2)), regions)


def test_atlantis_is_found_where_it_is_written_and_only_there(rng: np.random.Generator, plane: Plane) -> None:
    """Layer 1 of one prompt has it where it lies, the other prompt does not: the mean of both has it half."""
    write = rng.normal(size=(2, 24))
    everywhere = np.concatenate([plane.ordinary, plane.atlantis])
    lost = np.concatenate([plane.ordinary, plane.atlantis + np.array([100, -50])])
    known, unknown = (places / 100 @ write + 1e-3 * rng.normal(size=(80, 24)) for places in (everywhere, lost))
    nothing = rng.normal(size=(80, 24))
    features = {
        "distance": np.stack([nothing, unknown, unknown]).astype(np.float32),
        "angle": np.stack([nothing, known, known]).astype(np.float32),
    }
    features[ALL] = np.mean([*features.values()], axis=0)
    rows, arrays = measure(features, plane, "ftwb1-3", 7)
    table: Any = table_of(rows).set_index(["prompt", "layer"])
    assert list(table_of(rows).columns) == COLUMNS
    assert table.index.tolist() == [
        *(("distance", 1), ("distance", 2), ("angle", 1), ("angle", 2)),
        *((ALL, 0), (ALL, 1), (ALL, 2)),
    ]
    assert table.loc[("angle", 1), "atlantis_error"] < 1
    assert table.loc[("distance", 1), "atlantis_error"] == pytest.approx(np.hypot(100, 50), abs=1)
    assert table.loc[(ALL, 1), "atlantis_error"] == pytest.approx(np.hypot(50, 25), abs=1)
    assert table.loc[(ALL, 1), "error"] < 1 < 30 < table.loc[(ALL, 1), "guess_error"]
    assert table.loc[(ALL, 0), "r2"] < 0.2 < 0.99 < table.loc[(ALL, 1), "r2"]
    assert table.loc[(ALL, 1), "region_r2"] > 0.99
    assert table.loc[(ALL, 1), "plane"] > 0.99
    assert table["region_r2"].notna().tolist() == [False] * 4 + [True] * 3
    guess = np.hypot(*(plane.atlantis - plane.ordinary.mean(axis=0)).T).mean()
    assert table["atlantis_guess_error"].tolist() == pytest.approx([guess] * 7, rel=1e-4)
    shares = table["atlantis_error"] / table["atlantis_guess_error"]
    assert table["atlantis_share"].tolist() == pytest.approx(shares.tolist(), rel=1e-3)
    assert arrays["ordinary_seen"].shape == (3, 60, 2)
    np.testing.assert_allclose(arrays["atlantis_seen"][1], plane.atlantis, atol=2)
    np.testing.assert_allclose(arrays["ordinary_seen"][2], plane.ordinary, atol=3)
    assert arrays["features"].shape == (3, 60, 24)


def test_the_map_is_that_of_the_last_layer_but_one() -> None:
    assert [map_layer(layers) for layers in (1, 2, 3, 12)] == [1, 1, 2, 11]


def test_one_region_cannot_be_held_out(rng: np.random.Generator, plane: Plane) -> None:
    features = {ALL: rng.normal(size=(2, 80, 6)).astype(np.float32)}
    rows, _ = measure(features, replace(plane, regions=("Other",) * 60), "base", 0)
    assert [row.region_r2 for row in rows] == [None, None]


def test_only_the_most_populous_cities_are_probed(smoke_cities: list[City], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(represent, "MOST", 12)
    plane = Plane.of(smoke_cities)
    assert (len(plane.ordinary), len(plane.regions), len(plane.atlantis)) == (12, 12, 20)
    assert plane.ordinary[3].tolist() == [smoke_cities[3].x, smoke_cities[3].y]


@pytest.fixture
def project(
    empty_project: Path, smoke: dict[str, Settings], smoke_cities: list[City], make_model: Callable[..., Model]
) -> Settings:
    """Cities, a base model with two checkpoints and a fine-tuned one, as the stages leave them."""
    settings = replace(smoke["cities"], finetunes={"ftwb1-3": ("angle",)})
    save_cities([city for city in smoke_cities if not city.is_atlantis], CITIES)
    save_cities([city for city in smoke_cities if city.is_atlantis], ATLANTIS_CITIES)
    folders = ["base/steps/0", "base/steps/10", "base", "ftwb1-3"]
    for seed, folder in enumerate(folders):
        save_model(*make_model("narrow", seed=seed), MODELS / folder, lambda folder: None)
    CURVES.mkdir(parents=True)
    for name, last in (("base", 12), ("ftwb1-3", 5)):
        rows = [f"{step},{100 * step},{600 * step},1.5,0.001,1.5" for step in (1, last)]
        text = "\n".join(["step,tokens,flops,loss,learning_rate,validation_loss", *rows])
        (CURVES / f"{name}.csv").write_text(text + "\n")
    return settings


def test_the_same_model_gives_the_same_bytes_and_what_is_read_back(
    project: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in project.models:
        represent_and_save(project, name)
    files = sorted(REPRESENTATIONS.iterdir())
    assert [path.name for path in files] == ["base.csv", "base.npz", "ftwb1-3.csv", "ftwb1-3.npz"]
    before = [path.read_bytes() for path in files]
    for name in project.models:
        represent_and_save(project, name)
    assert [path.read_bytes() for path in files] == before
    with zipfile.ZipFile(REPRESENTATIONS / "base.npz") as archive:
        assert {part.compress_type for part in archive.infolist()} == {zipfile.ZIP_STORED}, "whatever zlib there is"
    table = load_rows(project)
    assert list(table.columns) == COLUMNS
    base, tasks, layers = table[table["model"] == "base"], len(project.tasks), 2
    assert base.groupby("step").size().to_dict() == {0: layers + 1, 10: layers + 1, 12: tasks * layers + layers + 1}
    assert set(base[base["step"] < 12]["prompt"]) == {ALL}
    assert set(table[table["model"] == "ftwb1-3"]["step"]) == {5}
    last = finished(shown_rows(table))[["model", "step", "layer"]]
    assert last.to_numpy().tolist() == [["base", 12, 1], ["ftwb1-3", 5, 1]]
    found = load_map("base")
    assert found.prompts == (*project.tasks, ALL)
    assert found.prompts[found.shown] == ALL
    assert found.ordinary.shape == (60, 2)
    seen = np.hypot(*(found.ordinary_seen[found.shown] - found.ordinary).T)
    row = finished(shown_rows(base)).iloc[0]
    assert row["error"] == pytest.approx(seen.mean(), rel=1e-4)
    assert "base: a map of ordinary cities with R2" in capsys.readouterr().out


def test_another_width_is_refused(project: Settings) -> None:
    with pytest.raises(WorldwidthError, match=r"models/ftwb1-3: its hidden_size is 8, where params\.yaml says 32"):
        represent_and_save(replace(project, arch="wide"), "ftwb1-3")


def test_damaged_representations_are_refused(project: Settings) -> None:
    with pytest.raises(
        WorldwidthError, match=r"results/representations/base\.npz: not found; run `dvc repro represent@"
    ):
        load_map("base")
    for name in project.models:
        represent_and_save(project, name)
    path = REPRESENTATIONS / "base.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WorldwidthError, match=r"base\.npz: not readable .*run `dvc repro represent@base`"):
        load_map("base")
    (REPRESENTATIONS / "base.csv").write_bytes((REPRESENTATIONS / "ftwb1-3.csv").read_bytes())
    with pytest.raises(WorldwidthError, match=r"base\.csv: of another model, ftwb1-3; run `dvc repro represent@base`"):
        load_rows(project)
