"""Nothing that is read can run: no code in files, no names in shell commands, no markup in the report.

    pytest tests/test_safety.py

What params.yaml may hold is in test_matrix_errors.py and test_params_properties.py.
"""

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from safetensors.torch import load_file, save_file

from dvc_yaml import ROOT
from fake_runs import fake_runs
from report_page import PROVENANCE, Page, page_of
from short_runs import Model
from worldwidth.comparison.tables import compare
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City
from worldwidth.data.corpus import StoredCorpus
from worldwidth.dvcio.experiments import Experiment
from worldwidth.evaluation import tables
from worldwidth.model.checkpoint import load_model, save_model
from worldwidth.plots.study import draw_world
from worldwidth.plots.svg import inline_svg
from worldwidth.settings.load import load
from worldwidth.settings.paths import CORPORA, SCORES
from worldwidth.settings.schema import Settings

# --- the code


def test_no_code_runs_what_it_reads() -> None:
    """What ruff's rules S and TID251 in pyproject.toml leave open."""
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for word in ("allow_pickle=True", "trust_remote_code", 'typ="unsafe"', 'typ="full"'):
            assert word not in text, path


# --- model folders


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there if any of the traps was sprung."""
    return tmp_path / "marker"


@pytest.fixture
def hostile(tmp_path: Path, marker: Path, make_model: Callable[..., Model]) -> Path:
    """A model folder as others might send it: sound weights, and code in every place that could take some."""
    folder = tmp_path / "model"
    save_model(*make_model("narrow"), folder, lambda _: None)
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}, "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(config))
    template = "{{ cycler.__init__.__globals__.os.system('touch " + str(marker) + "') }}"
    tokenizer = {"auto_map": {"AutoTokenizer": ["modeling_evil.Evil", None]}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name in ("modeling_evil.py", "__init__.py", "config.py", "torch.py", "sitecustomize.py"):
        (folder / name).write_text(f"open({str(marker)!r}, 'w').close()\n")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(pickle.dumps(Touch(marker)))
    return folder


def test_the_trap_works(hostile: Path, marker: Path) -> None:
    assert not marker.exists()
    pickle.loads((hostile / "pytorch_model.bin").read_bytes())
    assert marker.exists()


def test_a_hostile_model_folder_runs_nothing(
    hostile: Path, marker: Path, make_model: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    _, weights = load_model(hostile, "make it again")
    assert not marker.exists()
    np.testing.assert_array_equal(weights, make_model("narrow")[1])


@pytest.mark.parametrize("weights", ["pickle", "none"])
def test_weights_in_a_pickle_are_no_weights(hostile: Path, marker: Path, weights: str) -> None:
    (hostile / "model.safetensors").unlink()
    if weights == "pickle":
        shutil.copy(hostile / "pytorch_model.bin", hostile / "model.safetensors")
    with pytest.raises(WorldwidthError, match="make it again") as caught:
        load_model(hostile, "make it again")
    assert str(caught.value).isprintable()
    assert not marker.exists()


# --- arrays


def test_a_corpus_of_objects_is_refused(smoke_folders: dict[str, Path], tmp_path: Path, marker: Path) -> None:
    folder = tmp_path / CORPORA / "distance"
    shutil.copytree(smoke_folders["cities"] / CORPORA / "distance", folder)
    path = folder / "test.tokens.npy"
    np.save(path, np.array([Touch(marker)], dtype=object), allow_pickle=True)
    corpus = StoredCorpus("distance", tmp_path)
    with pytest.raises(WorldwidthError, match=r"run `dvc repro corpus@distance`") as caught:
        corpus.lines("world", "test")
    assert str(caught.value).isprintable()
    assert not marker.exists()


@pytest.mark.usefixtures("study")
def test_scores_of_objects_are_refused(marker: Path) -> None:
    path = SCORES / "base.npz"
    with np.load(path, allow_pickle=False) as archive:
        scores = dict(archive)
    lines = {name: values.size for name, values in scores.items()}
    trap = np.array([Touch(marker)], dtype=object)
    np.savez(path, allow_pickle=True, **dict.fromkeys(scores, trap))
    with pytest.raises(WorldwidthError, match=r"run `dvc repro evaluate@base`") as caught:
        tables.load_scores("base", "sha of base", lines)
    assert str(caught.value).isprintable()
    assert not marker.exists()


# --- other commits


def experiment_of(monkeypatch: pytest.MonkeyPatch, text: str) -> Experiment:
    """An experiment whose commit has ``text`` in every file."""
    monkeypatch.setattr(Experiment, "text", lambda self, path: text)
    return Experiment("wide-epochs-s1", "f" * 40, "b" * 40, 1_700_000_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("a: !!python/object/apply:os.system [id]", "not valid YAML", id="a Python tag"),
        pytest.param("- " * 100_000, "nested too deep", id="what overflows the parser's stack"),
        pytest.param("a: 1\na: 2\n", "is listed twice", id="a key twice"),
        pytest.param("a: [", "not valid YAML", id="no YAML"),
        pytest.param("a: 2020-01-01", "which YAML reads as date", id="a date"),
    ],
)
def test_broken_yaml_of_an_experiment_is_one_line(monkeypatch: pytest.MonkeyPatch, text: str, reason: str) -> None:
    experiment = experiment_of(monkeypatch, text)
    reads: list[Callable[[], Any]] = [lambda: experiment.params, lambda: experiment.outs, lambda: experiment.lock]
    for read in reads:
        with pytest.raises(WorldwidthError, match=reason) as caught:
            read()
        assert str(caught.value).startswith("wide-epochs-s1: its ")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "stages: [a]",
        "stages: {a: {outs: [{path: x, md5: ../../../etc/passwd}]}}",
        "stages: {a: {outs: [{path: x, md5: ..}]}}",
        "stages: {a: {outs: [{path: x, md5: 7}]}}",
        "stages: {a: {outs: [{path: [x], md5: abc}]}}",
        "stages: {a: {outs: [{path: x}]}}",
        "stages: {a: {outs: 7}}",
        "stages: {a: 7}",
        "[stages]",
        "other: {}",
    ],
)
def test_a_lock_file_that_dvc_did_not_write_is_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(WorldwidthError, match="is not a lock file that DVC wrote") as caught:
        _ = experiment_of(monkeypatch, text).outs
    assert str(caught.value).isprintable()


# --- the report and the figures

HOSTILE = '<script>alert("1")</script>&amp;\'"><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}${x}$x^2$'


def unchecked(settings: Any, **changes: Any) -> Any:
    """Like ``dataclasses.replace`` without the checks of names, which keep such names out long before the report."""
    changed = copy.copy(settings)
    vars(changed).update(changes)
    return changed


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two widths, with markup wherever a name can stand."""
    monkeypatch.setattr("fake_runs.replace", unchecked)
    settings = load(ROOT / "params.yaml")
    scale = settings.selected
    scale = unchecked(
        scale,
        archs={HOSTILE: scale.archs["narrow"], "wide": scale.archs["wide"]},
        world=unchecked(scale.world, source=HOSTILE),
    )
    named = unchecked(settings, arch=HOSTILE, scale=HOSTILE, scales={HOSTILE: scale}, tasks=("distance", "compass"))
    found: Settings = unchecked(named, finetunes={f"ftwb1-{HOSTILE}": ("distance",), "ftwb1-4": ("compass",)})
    return found


def test_markup_is_no_name(settings: Settings) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        replace(settings)


def test_markup_reaches_the_report_as_text(settings: Settings, tmp_path: Path) -> None:
    comparison = compare(fake_runs(settings, archs=(HOSTILE, "wide"), seeds=(1, 2)))
    page = page_of(
        comparison,
        tmp_path,
        params=HOSTILE,
        machine=HOSTILE,
        time=HOSTILE,
        worldwidth_commit=HOSTILE,
        versions={HOSTILE: HOSTILE},
        experiments=[{"name": HOSTILE, "commit": HOSTILE}, *PROVENANCE["experiments"]],
    )
    assert_only_text(page)
    assert page.html.count("&lt;script&gt;") >= 20
    assert page.text.count(HOSTILE) >= 10
    assert page.table("The archs").row(HOSTILE)


def assert_only_text(page: Page) -> None:
    """Its own two scripts, data and code, and none beside them; what is data there cannot end them."""
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags
    assert tags.count("script") == page.html.lower().count("<script") == page.html.lower().count("</script") == 2
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert "{{ 7*7 }}" in page.text, "Jinja does not read what was filled in"


def test_markup_in_a_chart_is_text(tmp_path: Path) -> None:
    text = '<script>alert("1")</script>&'
    figure, axes = plt.subplots()
    axes.set_title(text)
    axes.plot([1, 2], label='"><img src=x>')
    axes.legend()
    page = Page(f"<p>{inline_svg(figure, 'chart', text + chr(34))}</p>")
    plt.close(figure)
    assert text in page.text
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.attributes("aria-label") == [text + '"']


def test_names_of_cities_are_not_drawn(tmp_path: Path) -> None:
    """A name such as $\\frac$ would stop matplotlib."""
    cities = [
        City(
            geonameid=i,
            name="$\\frac$ <script>",
            country_code="$\\x$",
            region=region,
            population=1,
            x=i,
            y=i,
            city_id=i,
            is_atlantis=region == "Atlantis",
        )
        for i, region in enumerate(["Other", "Atlantis"])
    ]
    figure = draw_world(cities, "The world")
    figure.savefig(tmp_path / "world.png")
    plt.close(figure)
    assert (tmp_path / "world.png").stat().st_size > 0
