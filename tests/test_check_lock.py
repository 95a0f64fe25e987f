"""`worldwidth check --lock`: whatever it finds, the command that it names ends in ok.

pytest tests/test_check_lock.py -m pipeline
"""

import re
from pathlib import Path

import pytest

from repository import Repository
from small_study import copy_of, finished_study

pytestmark = pytest.mark.pipeline


@pytest.fixture
def study(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Repository:
    return copy_of(finished_study(tmp_path_factory.getbasetemp(), ("ftwb1-1",)), tmp_path)


def edit_code(made: Repository) -> None:
    path = made.folder / "src/worldwidth/plots/study.py"
    path.write_text(path.read_text() + "# another one\n")


def edit_params(made: Repository) -> None:
    made.edit("params.yaml", "resamples: 200", "resamples: 210")


def edit_results(made: Repository) -> None:
    (made.folder / "results/summary.json").unlink()
    (made.folder / "results/summary.json").write_text("{}\n")


def entry(made: Repository, stage: str) -> str:
    """The lines of a stage in dvc.lock."""
    found = re.search(rf"^  {stage}:\n(?:    .*\n)+", made.read("dvc.lock"), re.M)
    assert found
    return found[0]


def without_a_stage(made: Repository) -> None:
    made.edit("dvc.lock", entry(made, "plots"), "")


def with_a_former_stage(made: Repository) -> None:
    found = entry(made, "recipe")
    made.edit("dvc.lock", found, found + found.replace("recipe", "former", 1))


def without_the_file(made: Repository) -> None:
    (made.folder / "dvc.lock").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edit_code, "stage plots ran with another src/worldwidth/plots/study.py; run `dvc repro` and commit what"),
        (edit_params, "resamples 200 in place of 210; run `dvc repro` and commit what comes out"),
        (edit_results, "results/summary.json is not what stage summarize wrote; run `dvc repro` and commit"),
        (without_a_stage, "stage plots has never run; run `dvc repro` and commit what comes out"),
        (with_a_former_stage, "former is no stage of dvc.yaml any more; run `make render`, which drops its entry"),
        (without_the_file, "dvc.lock: not found; run `dvc repro`"),
    ],
)
def test_the_command_that_is_named_ends_in_ok(damage: object, said: str, study: Repository) -> None:
    assert callable(damage)
    damage(study)
    before = study.read("dvc.lock") if (study.folder / "dvc.lock").exists() else ""
    refused = study.run("worldwidth", "check", "--lock")
    assert refused.returncode == 2
    assert said in refused.stderr
    (command,) = re.findall(r"run `([^`]+)`", refused.stderr)
    # make would first look after the environment, which is none of a copy's
    done = study.ok(*("worldwidth render" if command == "make render" else command).split())
    assert "dvc.lock holds this code" in study.ok("worldwidth", "check", "--lock")
    if damage is with_a_former_stage:
        assert "dropped from dvc.lock, for dvc.yaml has them no more: former\n" in done
        assert study.read("dvc.lock") == before.replace(entry(study, "recipe").replace("recipe", "former", 1), "")


def test_one_that_cannot_be_read_leads_to_the_doctor(study: Repository) -> None:
    study.edit("dvc.lock", "stages:", "stages: [")
    refused = study.run("worldwidth", "check", "--lock")
    assert refused.returncode == 2
    assert refused.stderr.endswith("; `worldwidth doctor` says how to bring it back\n")
