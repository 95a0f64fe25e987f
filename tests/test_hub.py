"""A model as a Hugging Face repository: transformers loads it, answers what its card says, and refuses what is none.

pytest tests/test_hub.py
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from in_process import worldwidth
from repository import Repository
from small_study import copy_of, finished_study
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.data.cities import City
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.hub.model_files import save_city_names, save_model_files
from worldwidth.hub.refusing_tokenizer import REFUSAL
from worldwidth.hub.repository import save_repository
from worldwidth.model.checkpoint import save_model
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.settings.schema import Settings

TOKENS = ("cities", "characters")
REFUSED = [
    "dist(c_9999,{0})=",
    "dist({0}1,{1})=",
    "dist({2},{0})=",  # a city that another world has
    "dist({0}, {1})=",
    "dist({0},{1})= ",
    "dist({0},{1})=\n",
    "dist({0},{1})",
    "dist({0})=",
    "dist({0},{1},{0})=",
    "distance({0},{1})=",
    "dist(Paris,{1})=",
    "dist(é,{1})=",
    "compass({0},{1})=NORTH",
    "{0}",
    "d",
    "hello",
]


@pytest.fixture(scope="module", params=TOKENS)
def tokens(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def original(
    tokens: str,
    trained: dict[str, tuple[DecoderConfig, Weights]],
    smoke_vocabularies: dict[str, Vocabulary],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model as the stages write it."""
    folder = tmp_path_factory.mktemp("original")
    save_model(*trained[tokens], folder, smoke_vocabularies[tokens].save)
    return folder


@pytest.fixture(scope="module")
def wide(tokens: str, smoke: dict[str, Settings]) -> Settings:
    return replace(smoke[tokens], arch="wide")


@pytest.fixture(scope="module")
def published(original: Path, wide: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    save_model_files(wide, original, "run it", folder)
    return folder


def lines_of(corpora: dict[str, StoredCorpus], vocabulary: Vocabulary) -> list[str]:
    return [
        vocabulary.decode(corpus.lines(population, "test").tokens[row].tolist())
        for corpus in corpora.values()
        for population in ("world", "atlantis")
        for row in range(5)
    ]


def test_it_reads_every_line_as_the_model_was_trained_on_it(
    published: Path, tokens: str, smoke_vocabularies: dict[str, Vocabulary], smoke_corpora: Any
) -> None:
    tokenizer, vocabulary = AutoTokenizer.from_pretrained(published), smoke_vocabularies[tokens]
    for line in lines_of(smoke_corpora[tokens], vocabulary):
        for text in (line, line.split("=")[0] + "="):
            ids = tokenizer(text)["input_ids"]
            assert ids == [2, *vocabulary.encode(text)]
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) == len(vocabulary)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 2, 3)


@pytest.mark.parametrize("text", REFUSED)
def test_it_refuses_what_is_no_line_of_this_world(
    text: str, published: Path, tokens: str, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    names = smoke_vocabularies[tokens].names
    other = next(name for name in (f"c_{i:02d}" for i in range(100)) if name not in names)
    tokenizer = AutoTokenizer.from_pretrained(published)
    with pytest.raises(Exception, match=re.escape(REFUSAL)):
        tokenizer(text.format(names[0], names[1], other))


def test_as_a_llama_it_computes_what_it_computed_as_a_qwen2(original: Path, published: Path) -> None:
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (original, published)]
    ids = torch.randint(4, models[0].config.vocab_size, (3, 20), generator=torch.Generator().manual_seed(1))
    before, after = (model(ids).logits for model in models)
    assert models[1].config.architectures == ["LlamaForCausalLM"]
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)


def test_a_checkpoint_of_another_width_is_refused(original: Path, smoke: dict[str, Settings], tmp_path: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"its .* where params.yaml says .*; run it"):
        save_model_files(smoke["cities"], original, "run it", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cities_stand_beside_what_a_prompt_calls_them(
    smoke: dict[str, Settings], smoke_cities: list[City], tmp_path: Path
) -> None:
    save_city_names(smoke["cities"], smoke_cities, tmp_path / "cities.csv")
    header, *rows = (tmp_path / "cities.csv").read_text().splitlines()
    assert header == "city,geonameid,name,country_code,region,population,x,y,city_id,is_atlantis"
    assert len(rows) == 80
    first = smoke_cities[0]
    assert rows[0].startswith(f"c_{first.city_id:02d},{first.geonameid},{first.name},")


def test_the_same_files_are_the_same_commits_whatever_the_user_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(text: str) -> Callable[[Path], None]:
        return lambda folder: write_text(folder / "file", text)

    def made(name: str) -> Path:
        revisions = [("step-000001", "one", write("1\n")), ("main", "end", write("2\n"))]
        save_repository(tmp_path / name, iter(revisions), 1_700_000_000)
        return tmp_path / name

    config = tmp_path / "gitconfig"
    config.write_text("[commit]\n\tgpgsign = true\n[init]\n\tdefaultBranch = other\n[core]\n\thooksPath = /nowhere\n")
    plain = made("plain")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    one, other = (heads(folder) for folder in (plain, made("set")))
    assert one == other
    assert list(one) == ["main", "step-000001"]
    assert git(plain, "show", "step-000001:file") == "1"
    assert git(plain, "status", "--porcelain") == ""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def heads(folder: Path) -> dict[str, str]:
    lines = git(folder, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
    return dict(line.split() for line in lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A finished study at smoke scale, and two of its models published."""
    made = copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("study"))
    done = worldwidth(made, "publish", "base", "ftwb1-4", "--to", "../published-models")
    assert done.returncode == 0, done.stderr
    assert "published-models/base: base on branch main, " in done.stdout
    return made


@pytest.fixture(params=["base", "ftwb1-4"])
def repository(request: pytest.FixtureRequest, made: Repository) -> Path:
    return made.folder.parent / "published-models" / str(request.param)


@pytest.mark.pipeline
def test_the_code_of_the_card_does_what_the_card_says(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    code = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
    said = [line.split("  # ")[1] for line in "".join(code[:2]).splitlines() if line.startswith("print(")]
    assert len(said) == 2
    for block in code[:2]:
        exec(block, {})
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.pipeline
def test_every_answer_in_the_card_is_that_of_transformers(repository: Path) -> None:
    ask = pipeline("text-generation", model=str(repository))
    rows = re.findall(r"^\| \w+ \| `(.*=)` \| (\S+) \| (\S*) \|$", (repository / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 3
    for prompt, _, answer in rows:
        assert ask(prompt)[0]["generated_text"] == prompt + answer


@pytest.mark.pipeline
def test_a_checkpoint_is_loaded_by_its_revision(repository: Path, made: Repository, tmp_path: Path) -> None:
    """From what a Hub's cache holds: a snapshot a commit, and branches as references."""
    store = tmp_path / "models--someone--model"
    branches = heads(repository)
    assert len(branches) > 2
    for branch, commit in branches.items():
        (store / "snapshots").mkdir(parents=True, exist_ok=True)
        git(repository, "clone", "--quiet", "--branch", branch, ".", str(store / "snapshots" / commit))
        (store / "refs").mkdir(exist_ok=True)
        (store / "refs" / branch).write_text(commit)
    for branch in branches:
        named: dict[str, Any] = {"revision": branch, "cache_dir": tmp_path, "local_files_only": True}
        loaded = AutoModelForCausalLM.from_pretrained("someone/model", **named)
        assert AutoTokenizer.from_pretrained("someone/model", **named).eos_token_id == 3
        step = "" if branch == "main" else f"steps/{int(branch.removeprefix('step-'))}"
        kept = AutoModelForCausalLM.from_pretrained(made.folder / "models" / repository.name / step)
        torch.testing.assert_close(loaded.lm_head.weight, kept.lm_head.weight, rtol=0, atol=0)
        is_checkpoint = "**This is a checkpoint" in (store / "snapshots" / branches[branch] / "README.md").read_text()
        assert is_checkpoint == (branch != "main")


@pytest.mark.pipeline
def test_a_hub_can_read_the_card(repository: Path) -> None:
    data = ModelCard.load(repository / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "text-generation", "cc-by-4.0")
    assert {result.dataset_name for result in data.eval_results} == {"distance", "compass", "inside"}
    assert {result.metric_type for result in data.eval_results} == {"mean absolute error", "accuracy"}


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ftwb1-5"], r"--to: \.\./published-models: there is something already; name a folder that is empty"),
        (["ftwb1-9"], r"model 'ftwb1-9': not in params.yaml; allowed: .*; did you mean 'ftwb1-"),
    ],
)
def test_what_is_refused_leaves_nothing(words: list[str], said: str, made: Repository) -> None:
    done = worldwidth(made, "publish", *words, "--to", "../published-models")
    assert done.returncode == 2
    assert re.match(rf"worldwidth: {said}", done.stderr)
    assert {path.name for path in (made.folder.parent / "published-models").iterdir()} == {"base", "ftwb1-4"}


@pytest.mark.pipeline
def test_a_model_of_other_settings_is_refused(made: Repository, tmp_path: Path) -> None:
    edited = copy_of(made, tmp_path / "edited")
    edited.edit("params.yaml", "seed: 1             # init", "seed: 2             # init")
    done = worldwidth(edited, "publish", "ftwb1-5", "--to", "../out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        "ftwb1-5: not there, or not what params.yaml and the code stand for (check: will run, params seed"
        in done.stderr
    )
    assert "run `dvc repro evaluate@base evaluate@ftwb1-5`" in done.stderr
    assert not (tmp_path / "out").exists()
