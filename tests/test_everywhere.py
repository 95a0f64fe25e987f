"""On everybody's machine: other paths, locales, shells and systems.

pytest tests/test_everywhere.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults import heal, inject, run_stage
from other_machines import MACOS, fake_tcsh
from repository import PROJECT, Repository, stages_run
from small_study import copy_of, finished_study

NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""As in a terminal of Latin-1, which few machines can still set: Python takes the locale at its word."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.getbasetemp())


def printed(text: str, **environment: str) -> bytes:
    """What a command that prints ``text`` writes, which is also what it reads from a file."""
    code = "import sys\nfrom worldwidth.core.command import exit_codes\nwith exit_codes(): print(sys.argv[1])"
    command = [sys.executable, "-c", code, text]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=True).stdout


@pytest.mark.parametrize("environment", [NO_UTF8, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"}])
def test_utf8_is_written_whatever_the_locale(environment: dict[str, str]) -> None:
    assert printed("0.80 ± 0.09, São Paulo", **environment) == "0.80 ± 0.09, São Paulo\n".encode()


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    assert printed("0.80 ± 0.09", PYTHONUTF8="1", PYTHONIOENCODING="ascii") == b"0.80 \\xb1 0.09\n"
    assert printed("\udce9", PYTHONUTF8="1") == b"\\udce9\n"  # a byte of a file's name that is no UTF-8


def test_closed_streams_cost_nothing(tmp_path: Path) -> None:
    """A file that is opened later must not get the number of one, and with it what is printed."""
    code = (
        "from worldwidth.core.command import exit_codes\n"
        "import os, sys\n"
        "with exit_codes(), open('file', 'w') as file:\n"
        "    print('lost'); print('lost', file=sys.stderr); os.write(2, b'lost'); file.write(str(file.fileno() > 2))"
    )
    shell = 'exec "$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, sys.executable, code], cwd=tmp_path)
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "True")


def test_a_user_without_a_name_and_a_home() -> None:
    """As in a container that is started with a mere number for the user; so is DVC, which asks for both."""
    code = (
        "import getpass, os, pwd\n"
        "pwd.getpwuid = {}.__getitem__\n"
        "from worldwidth.core.command import exit_codes\n"
        "with exit_codes(): print(getpass.getuser() == str(os.getuid()), os.path.expanduser('~'))"
    )
    names = ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True /nonexistent\n", "")


def test_a_shell_changes_no_bit_of_the_arithmetic() -> None:
    """Each variable makes torch or its BLAS take other instructions, and with them give other last bits."""
    code = (
        "from worldwidth.core.command import exit_codes\n"
        "import hashlib, torch\n"
        "left, right = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(1))\n"
        "print(hashlib.sha256((left @ right).exp().sum(0).numpy().tobytes()).hexdigest())"
    )

    def digest(**environment: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout

    assert digest(ATEN_CPU_CAPABILITY="default", MKL_CBWR="COMPATIBLE") == digest()


def test_how_many_threads_a_shell_allows_changes_no_bit_of_a_standard_error() -> None:
    """`worldwidth run` allows its jobs one, `dvc repro` allows what the shell does."""
    code = (
        "from worldwidth.core.command import exit_codes\n"
        "import hashlib, numpy\n"
        "from worldwidth.evaluation.scores import resampled_means\n"
        "lines = {str(n): numpy.random.default_rng(n).lognormal(size=1000) for n in range(14)}\n"
        "print(hashlib.sha256(numpy.stack(list(resampled_means(lines, 400, 'x').values())).tobytes()).hexdigest())"
    )

    def digest(threads: int) -> str:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert digest(1) == digest(2)


def test_one_module_alone_asks_where_only_linux_answers() -> None:
    found = [path.name for path in PROJECT.glob("src/**/*.py") if '"/proc' in path.read_text()]
    assert found == ["machine.py"]  # which does without: tests/test_machine.py


@pytest.mark.pipeline
def test_a_path_with_spaces_quotes_accents_and_other_scripts(
    finished: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_UTF8.items():
        monkeypatch.setenv(name, value)
    made = copy_of(finished, tmp_path / "Mes études" / "l'ami $HOME 研究 100%")
    made.git("status")  # git's index knows the files by their times
    assert "1 of 1 experiments are done" in made.ok("worldwidth", "widths", "--archs", "wide")
    assert "report/smoke/index.html" in made.ok("worldwidth", "compare")
    assert "0 jobs" in made.ok("worldwidth", "slurm", "plan")
    found = made.run("worldwidth", "doctor")  # that the code which runs is not of this folder is one problem
    assert ", 1 problem; " in found.stdout, found.stdout
    inject(made, "raise SystemExit('stages read their own src')")
    assert run_stage(made, "recipe").returncode == 1
    heal(made)
    assert run_stage(made, "recipe").returncode == 0


@pytest.mark.pipeline
def test_a_shell_that_knows_no_assignments_before_a_command(
    finished: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", fake_tcsh(tmp_path))
    made = copy_of(finished, tmp_path / "study")
    assert stages_run(made.ok("dvc", "repro", "--single-item", "--force", "recipe")) == ["recipe"]


@pytest.mark.pipeline
def test_without_what_linux_has_and_macos_lacks(finished: Repository, tmp_path: Path) -> None:
    """No Mac was at hand: this is all that is known of them."""
    made = copy_of(finished, tmp_path)
    inject(made, MACOS)
    for command in ("plan", "run"):
        made.ok("env", "PYTHONPATH=src", "worldwidth", command)
    assert "CPU cores: " in made.run("env", "PYTHONPATH=src", "worldwidth", "doctor").stdout
    for words in ("recipe", "corpus inside", "finetune ftwb1-1", "plots"):
        done = run_stage(made, *words.split())
        assert done.returncode == 0, done.stderr
