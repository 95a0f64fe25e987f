"""A stage that somebody adds as pipeline/stages.py says, a script, a row and lines in the template, works everywhere.

pytest tests/test_new_stage.py
"""

import json
import subprocess
from pathlib import Path

import pytest

from faults import finished_study
from repository import Repository, stages_run
from small_study import STAGES, copy_of

pytestmark = pytest.mark.pipeline

SCRIPT = '''"""Count the cities: `dvc repro probe`."""

from worldwidth.engine.stage_main import run_stage

from pathlib import Path

from worldwidth.core.files import write_json
from worldwidth.data.cities import load_cities
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """data/cities.csv -> results/probe.json"""
    write_json(Path("results/probe.json"), {"cities": len(load_cities(settings.selected.world))})


if __name__ == "__main__":
    run_stage(main)
'''
ROW = '    Stage(name="probe", kind="evaluation"),\n'
LINES = """  probe:
    desc: how many cities there are
    cmd: env PYTHONPATH=src python stages/probe.py
    deps:
      - data/cities.csv
{% for file in code.probe %}
      - {{ file }}
{% endfor %}
    params: ["scales.${scale}.world"]
    outs: [results/probe.json]

"""


def worldwidth(made: Repository, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line with the code of ``made``, and not with the one that is installed."""
    done = made.run("env", "PYTHONPATH=src", "python", "-m", "worldwidth.cli", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The finished small study, and the new stage. Copy it; do not run it."""
    made = copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("probe"))
    (made.folder / "stages" / "probe.py").write_text(SCRIPT)
    made.edit("src/worldwidth/pipeline/stages.py", '    Stage(name="pretrain"', ROW + '    Stage(name="pretrain"')
    made.edit("templates/dvc.yaml.j2", "  base:\n", LINES + "  base:\n")
    made.edit("params.yaml", "evaluation: {minutes: 10,", "evaluation: {minutes: 11,")
    worldwidth(made, "render")
    made.commit("a new stage")
    return made


@pytest.fixture
def made(start: Repository, tmp_path: Path) -> Repository:
    return copy_of(start, tmp_path)


def assert_complete(made: Repository) -> None:
    assert json.loads(made.read("results/probe.json")) == {"cities": 80}
    assert "dvc.lock holds this code" in worldwidth(made, "check", "--lock").stdout
    assert f"all {STAGES + 1} stages are up to date" in worldwidth(made, "run").stdout


def test_dvc_repro_runs_it_and_no_other(made: Repository) -> None:
    assert stages_run(made.ok("dvc", "repro")) == ["check", "probe"]
    assert_complete(made)


def test_worldwidth_run_runs_it_and_no_other(made: Repository) -> None:
    output = worldwidth(made, "run", "--jobs", "2").stdout
    assert f"2 of {STAGES + 1} stages to do in 2 jobs, 2 at a time" in output
    assert_complete(made)


def test_slurm_plans_it_with_what_its_kind_asks_for(made: Repository) -> None:
    jobs = json.loads(worldwidth(made, "slurm", "plan", "--json").stdout)["jobs"]
    (job,) = [job for job in jobs if "probe" in job["stages"]]
    assert (job["stages"], job["minutes"], job["gpus"]) == (["probe"], 11, 0)


def test_without_a_row_it_is_refused(made: Repository) -> None:
    """It would be in no job."""
    made.edit("src/worldwidth/pipeline/stages.py", ROW, "")
    said = worldwidth(made, "render", code=2).stderr
    assert said.startswith("worldwidth: templates/dvc.yaml.j2: 'dict object' has no attribute 'probe'; each `code.")
    assert said.count("\n") == 1
    made.edit("templates/dvc.yaml.j2", "{% for file in code.probe %}\n      - {{ file }}\n{% endfor %}\n", "")
    worldwidth(made, "render")
    refused = worldwidth(made, "run", code=2)
    assert refused.stderr.startswith("worldwidth: stage probe: has no row in src/worldwidth/pipeline/stages.py;")
    assert refused.stderr.count("\n") == 1
