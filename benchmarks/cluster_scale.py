"""What DVC costs as a sweep grows: `python benchmarks/cluster_scale.py --output docs/results/cluster-scale.json`.

No Slurm and hardly any training; about twenty minutes. `--only stages,variants,collect,job` picks sections and leaves
the others in the file as they are, `--turns 5` takes more turns, `--quick` tries it out. It works on copies of the
project at smoke scale, with the code of the copies. Seconds are the processor's, which what else the machine does
hardly changes; those by the clock stand beside them in the JSON.

stages    one dvc.yaml of 40 to 268 stages: planning and reading it; and the same with commands that write a small file,
          the stub: nothing to do, a stage run, a stage restored
variants  `worldwidth slurm plan` of 1 to 40 variants
collect   `worldwidth slurm collect` of variants that lie whole in the run cache
job       a job's start-up, its clone, its files
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import chdir
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from study import ROOT
from timing import number, print_table
from worldwidth.forecast import forecast_with_outs, open_repo
from worldwidth.lockfile import LOCK, stage_names
from worldwidth.matrix import Matrix, load
from worldwidth.pipeline import DVC_YAML
from worldwidth.slurm.graph import Job, stages_of
from worldwidth.slurm.records import new_submission, slurm_folder
from worldwidth.slurm.submission import write_script
from worldwidth.trees import Variant, clone, use_cache, write_params

SECTIONS = ("stages", "variants", "collect", "job")
FINETUNES = (13, 43, 93, 127)  # seven tasks have 127 sets
VARIANTS = (1, 2, 4, 8, 16)
SEEDS = ["1", "2", "3", "4", "5"]
SWEEP = ["--archs", "narrow", "base", "wide", "wider", "--seeds", *SEEDS, "--budgets", "epochs", "flops"]
"""That of docs/scale.md: 40 variants."""
CHEAP = 50
"""Up to so many stages everything is measured in all turns; above, and what takes minutes anyway, once."""

STUB = '''"""In place of the stages: writes a small file for every output."""
import os
import sys
import time
from pathlib import Path


def main(matrix, *outs):
    print(f"stub began {time.time():.3f} {sum(os.times()[:4]):.3f}", flush=True)
    for out in map(Path, outs):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"{out}\\n")


if __name__ == "__main__":
    main(None, *sys.argv[1:])
'''
_OUTS = {
    "check": "data/checked.txt",
    "cities": "data/cities.csv",
    "corpus": "data/corpora/${item}",
    "schedule": "data/schedule.json",
    "pretrain": "models/base results/training/base.csv",
    "finetune": "models/{{ group.name }}-${key} results/training/{{ group.name }}-${key}.csv",
    "evaluate": "results/evaluations/${item}.json results/scores/${item}.npz",
    "summarize": "results/summary.json results/matrices.csv results/evaluations.csv results/training.csv",
    "plots": "plots/{{ figures | join('.png plots/') }}.png",
}

Timing = tuple[float, float]
"""The processor's seconds, and those by the clock."""

Spread = dict[str, Any]
"""Of some turns: median, least, most and all values of the processor's seconds, and the seconds by the clock."""


def main() -> None:
    """Run the chosen sections, print their tables and write all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write everything here")
    parser.add_argument("--only", default=",".join(SECTIONS), metavar="A,B", help="sections, with commas between them")
    parser.add_argument("--turns", type=int, default=3, help="of every measurement (default 3)")
    parser.add_argument("--quick", action="store_true", help="one turn, the smaller sizes; not for reporting")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := [name for name in only if name not in SECTIONS]:
        parser.error(f"--only: unknown section '{unknown[0]}'; allowed: {', '.join(SECTIONS)}")
    turns = 1 if given.quick else given.turns
    sections: dict[str, Callable[[Path], Any]] = {
        "stages": lambda folder: [_stages(folder, n, turns) for n in FINETUNES[: 2 if given.quick else None]],
        "variants": lambda folder: _variants(folder, VARIANTS[: 2 if given.quick else None], turns, not given.quick),
        "collect": lambda folder: _collect(folder),
        "job": lambda folder: _job(folder, turns),
    }
    report: dict[str, Any] = {}
    if given.output and given.output.is_file() and given.only != ",".join(SECTIONS):
        report = json.loads(given.output.read_text(encoding="utf-8"))
    report["machine"] = _machine()
    print("\n".join(f"{name:<8}{value}" for name, value in report["machine"].items()), flush=True)
    for name in only:
        started, load = time.monotonic(), _load()
        with tempfile.TemporaryDirectory(prefix="cluster-scale-") as folder:
            found = sections[name](Path(folder))
        report[name] = {
            "turns at most": turns,
            "load average": {"at start": load, "at the end": _load()},
            "found": found,
        }
        print(
            f"{name}: {time.monotonic() - started:.0f} s; load average {load} at start, {_load()} at the end",
            flush=True,
        )
        if given.output:
            given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "dvc": version("dvc"),
    }


def _load() -> list[float]:
    return [round(load, 2) for load in os.getloadavg()]


# One dvc.yaml of many stages


def _stages(place: Path, finetunes: int, turns: int) -> dict[str, Any]:
    """All figures of a dvc.yaml with these many fine-tunes."""
    tree = _copy_project(place / str(finetunes))
    _with_finetunes(tree, finetunes)
    found: dict[str, Any] = {"finetunes": finetunes, "stages": len(_names(tree))}
    found["dvc.yaml bytes"] = (tree / DVC_YAML).stat().st_size
    once = turns if found["stages"] <= CHEAP else 1
    plans = []
    for _ in range(once):
        shutil.rmtree(tree / ".dvc" / "tmp" / "worldwidth" / "slurm", ignore_errors=True)
        plans.append([_command(tree, "worldwidth", "slurm", "plan") for _ in range(2)])
    found["slurm plan, first"], found["slurm plan, again"] = map(_spread, zip(*plans, strict=True))
    found |= {f"nothing recorded: {name}": value for name, value in _in_process(tree, once).items()}
    _make_stub(tree)
    _record_all(tree)
    found |= {f"stub, all recorded: {name}": value for name, value in _in_process(tree, once).items()}
    found["stub: dvc.lock bytes"] = (tree / LOCK).stat().st_size
    found["stub: run cache"] = _size(tree / ".dvc" / "cache" / "runs")
    for command in (("dvc", "repro"), ("dvc", "status"), ("worldwidth", "run")):
        found[f"stub, nothing to do: {' '.join(command)}"] = _spread(_command(tree, *command) for _ in range(once))
    found["stub, a stage run: dvc repro"] = _one_more(tree, ["dvc", "repro", "-s", "-f"], once, forget=False)
    found["stub, a stage restored: worldwidth job"] = _one_more(tree, ["worldwidth", "job"], once, forget=True)
    if found["stages"] <= CHEAP:  # these grow with the square
        found["stub, a stage restored: dvc repro"] = _one_more(tree, ["dvc", "repro", "-s"], once, forget=True)
        _forget_all(tree, run_cache=True)
        found["stub, all run: dvc repro"] = _spread([_command(tree, "dvc", "repro")])
        _forget_all(tree, run_cache=False)
        found["stub, all restored: worldwidth run"] = _spread([_command(tree, "worldwidth", "run", "--jobs", "1")])
    rows = [[name, *_cells(value)] for name, value in found.items()]
    print_table(f"One dvc.yaml of {found['stages']} stages", ["processor's seconds", "median", "min", "max"], rows)
    return found


def _in_process(tree: Path, turns: int) -> dict[str, Spread]:
    """Seconds of what `slurm plan` asks DVC for every variant; Python and DVC are loaded already."""
    times: dict[str, list[Timing]] = {}
    with chdir(tree):
        matrix = load()
        for turn in range(0 if turns == 1 else -1, turns):  # the first of several only loads modules
            with open_repo() as repo, repo.lock:
                took = {
                    "load the stages": _timed(lambda: repo.index.stages),
                    "graph": _timed(lambda: repo.index.graph),
                    "forecast": _timed(lambda: forecast_with_outs(repo)),
                }
            with open_repo() as repo, repo.lock:  # all of it again, with the keys of the stages
                took["a variant of the plan"] = _timed(lambda: stages_of(repo, matrix))
            for name, seconds in took.items() if turn >= 0 else ():
                times.setdefault(name, []).append(seconds)
    return {name: _spread(values) for name, values in times.items()}


def _one_more(tree: Path, command: list[str], turns: int, forget: bool) -> Spread:
    """What ``command`` takes for two stages less what it takes for one; ``forget`` deletes what they wrote first."""
    names = [name for name in _names(tree) if name.startswith("evaluate@ftwb")][:2]

    def measure(stages: list[str]) -> Timing:
        if forget:
            for stage in stages:
                model = stage.split("@")[1]
                (tree / "results" / "evaluations" / f"{model}.json").unlink()
                (tree / "results" / "scores" / f"{model}.npz").unlink()
        return _command(tree, *command, *stages)

    def one_more() -> Timing:
        two, one = measure(names), measure(names[:1])
        return two[0] - one[0], two[1] - one[1]

    return _spread(one_more() for _ in range(turns))


def _with_finetunes(tree: Path, count: int) -> None:
    """Give params.yaml the first sets of the tasks as fine-tunes, the smaller ones first, and render."""
    path = tree / "params.yaml"
    text, tasks = path.read_text(encoding="utf-8"), _matrix(tree).tasks
    sets = [found for size in range(1, len(tasks) + 1) for found in combinations(tasks, size)][:count]
    lines = [f"  ftwb{len(trained)}-{i}: [{', '.join(trained)}]\n" for i, trained in enumerate(sets, start=1)]
    text = re.sub(r"(?ms)^finetunes:.*?\n(?=\S|\n)", lambda _: "finetunes:\n" + "".join(lines), text, count=1)
    path.write_text(text, encoding="utf-8")
    _run(tree, "worldwidth", "render")
    _commit(tree)


def _make_stub(tree: Path) -> None:
    """Let every stage of the same dvc.yaml run stub.py; dependencies, params and outputs stay as they are."""
    path = tree / "templates" / "dvc.yaml.j2"
    text, count = re.subn(
        r"cmd: PYTHONPATH=src python stages/(\w+)\.py.*",
        lambda found: f"cmd: python stub.py {_OUTS[found[1]]}",
        path.read_text(encoding="utf-8"),
    )
    assert count == len(_OUTS), count
    path.write_text(text, encoding="utf-8")
    (tree / "stub.py").write_text(STUB, encoding="utf-8")
    _run(tree, "worldwidth", "render")
    _commit(tree)


def _record_all(tree: Path) -> None:
    """Write the stub's outputs and tell DVC of all of them at once, as a job of this project does."""
    with chdir(tree), open_repo() as repo, repo.lock:
        for stage in repo.index.stages:
            for out in stage.outs:
                Path(out.def_path).parent.mkdir(parents=True, exist_ok=True)
                Path(out.def_path).write_text(f"{out.def_path}\n", encoding="utf-8")
        stages = list(repo.index.stages)
        for stage in stages:
            stage.save()
            stage.commit()
        stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


def _forget_all(tree: Path, run_cache: bool) -> None:
    """Delete dvc.lock and all outputs, and the run cache if told so."""
    (tree / LOCK).unlink()
    for name in ("data", "models", "results", "plots", *([".dvc/cache/runs"] if run_cache else [])):
        shutil.rmtree(tree / name)
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=tree, check=True)  # DVC's lists of what git ignores


# Many variants


def _variants(place: Path, counts: Iterable[int], turns: int, sweep: bool) -> dict[str, Any]:
    """`slurm plan` for these many seeds, and for the sweep of docs/scale.md."""
    tree = _copy_project(place / "variants")
    chosen = {count: ["--seeds", *map(str, range(1, count + 1))] for count in counts}
    if sweep:
        chosen[40] = SWEEP
    found: dict[str, Any] = {}
    for count, arguments in chosen.items():
        plan = ["worldwidth", "slurm", "plan", "--json", *arguments]
        ran = [_timed_run(tree, *plan) for _ in range(turns if count <= 4 else 1)]
        total = json.loads(ran[0][1])["total"]
        found[str(count)] = {"jobs": total["jobs"], "seconds": _spread(timing for timing, _ in ran)}
    rows = [[name, number(entry["jobs"]), *_cells(entry["seconds"])] for name, entry in found.items()]
    print_table("`slurm plan`, by number of variants", ["variants", "jobs", "median", "min", "max"], rows)
    return found


# Collecting


def _collect(place: Path) -> dict[str, Any]:
    """`slurm collect` where nothing has to run: two seeds, each run here before. Once, for it takes minutes."""
    tree = _copy_project(place / "collect")
    ran = []
    for seed in (1, 2):
        _set(tree, "seed", str(seed))
        ran.append(_command(tree, "worldwidth", "run"))
    subprocess.run(["git", "checkout", "--quiet", "."], cwd=tree, check=True)
    _set(tree, "arch", "narrow")  # what is collected is another variant than that of params.yaml
    _commit(tree)
    one, two = Variant("wide", "epochs", 1), Variant("wide", "epochs", 2)
    found: dict[str, Any] = {}
    for name, variants in (("the first", [one]), ("one more", [one, two]), ("all there", [one, two])):
        with chdir(tree):
            commit = _run(tree, "git", "rev-parse", "HEAD").strip()
            shutil.rmtree(slurm_folder(), ignore_errors=True)
            new_submission(commit, variants).write()
        took, said = _timed_run(tree, "worldwidth", "slurm", "collect")
        restored = sum(int(count) for count in re.findall(r"(?m)^(\d+) of \d+ stages are restored", said))
        found[name] = {"stages restored": restored, "seconds": _spread([took])}
    rows = [[name, str(entry["stages restored"]), *_cells(entry["seconds"])] for name, entry in found.items()]
    print_table("`slurm collect`", ["variant", "stages restored", "median", "min", "max"], rows)
    cache = {"of two variants": _size(tree / ".dvc" / "cache"), "run cache": _size(tree / ".dvc" / "cache" / "runs")}
    return {**found, "to run a variant here": _spread(ran), "cache": cache}


# One job


def _job(place: Path, turns: int) -> dict[str, Any]:
    """What a job costs beside its stages: seconds before the first one begins and in all, its clone and its files."""
    tree = _copy_project(place / "job")
    with chdir(tree):
        listed = json.loads(_run(tree, "worldwidth", "slurm", "plan", "--json"))["jobs"]
        matrix, commit = load(), _run(tree, "git", "rev-parse", "HEAD").strip()
        variant = Variant(matrix.arch, matrix.budget, matrix.seed)
        made = new_submission(commit, [variant])
        sizes = []
        for job in listed:
            fields = {name: job[name] for name in ("name", "kind", "stages", "keys", "after", "after_ids")}
            script = write_script(matrix, tree / ".dvc" / "cache", made, Job(variant=variant, **fields))
            sizes.append(script.stat().st_size + script.with_suffix(".json").stat().st_size)

        def new_clone() -> None:
            shutil.rmtree(tree / "clone", ignore_errors=True)
            clone(tree, commit, tree / "clone")
            use_cache(tree / "clone", tree / ".dvc" / "cache")
            write_params(tree / "clone", commit, variant)

        found: dict[str, Any] = {"clone, seconds": _spread(_timed(new_clone) for _ in range(turns))}
        found["clone"] = _size(tree / "clone")
        found["script and description of a job, bytes"] = median(sizes)
        shutil.rmtree(tree / "clone")
    _make_stub(tree)
    _record_all(tree)
    begins, totals = zip(*(_work(tree, "evaluate@ftwb1-1") for _ in range(turns)), strict=True)
    found["stub: before the stage begins"] = _spread(begins)
    found["stub: in all"] = _spread(totals)
    rows = [[name, *_cells(value)] for name, value in found.items()]
    print_table("A job", ["", "median", "min", "max"], rows)
    return found


def _work(tree: Path, stage: str) -> tuple[Timing, Timing]:
    """What passes until the only stage of a job begins, and in all; without Slurm."""
    command = f"python stub.py results/evaluations/{stage.split('@')[1]}.json"
    for entry in (tree / ".dvc" / "cache" / "runs").glob("*/*/*"):
        if command in entry.read_text(encoding="utf-8"):
            shutil.rmtree(entry.parent)  # so that it runs
    with chdir(tree):
        matrix, commit = load(), _run(tree, "git", "rev-parse", "HEAD").strip()
        variant = Variant(matrix.arch, matrix.budget, matrix.seed)
        made = new_submission(commit, [variant])
        script = write_script(
            matrix, tree / ".dvc" / "cache", made, Job("job", "finetunes", variant, (stage,), ("",), (), ())
        )
    started = time.time()
    total, said = _timed_run(tree, "worldwidth", "slurm", "work", str(script.with_suffix(".json")))
    found = re.search(r"stub began ([\d.]+) ([\d.]+)", said)
    assert found, said
    return (float(found[2]), float(found[1]) - started), total


# What all sections use


def _copy_project(folder: Path) -> Path:
    """The project as it stands, at smoke scale and without results, in a git repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\n")):
        if (ROOT / name).is_file() and not name.startswith(("results/", "plots/", "report/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _set(folder, "scale", "smoke")
    _set(folder, "seed", "1")
    _set(folder, "arch", "wide")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    _commit(folder)
    return folder


def _set(tree: Path, key: str, value: str) -> None:
    path = tree / "params.yaml"
    text, count = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", path.read_text(encoding="utf-8"))
    assert count == 1, key
    path.write_text(text, encoding="utf-8")


def _commit(tree: Path) -> None:
    author = ["-c", "user.name=b", "-c", "user.email=b@example.org"]
    for command in (["add", "--all"], [*author, "commit", "--quiet", "--allow-empty", "--message", "b"]):
        subprocess.run(["git", *command], cwd=tree, check=True)


def _environment() -> dict[str, str]:
    """This process's, with the programs beside this Python first and the copy's own code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    author = {f"GIT_{who}_{what}": "b@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **author, "PATH": path, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}


def _run(tree: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=tree, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _command(tree: Path, *command: str) -> Timing:
    return _timed(lambda: _run(tree, *command))


def _timed_run(tree: Path, *command: str) -> tuple[Timing, str]:
    said: list[str] = []
    return _timed(lambda: said.append(_run(tree, *command))), said[0]


def _timed(call: Callable[[], object]) -> Timing:
    """The processor's seconds of this process and its children, and the seconds by the clock."""
    before, started = os.times(), time.perf_counter()
    call()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - started


def _matrix(tree: Path) -> Matrix:
    return load(tree / "params.yaml")


def _names(tree: Path) -> list[str]:
    return stage_names(_matrix(tree))


def _spread(timings: Iterable[Timing]) -> Spread:
    cpu, clock = ([round(value, 3) for value in values] for values in zip(*timings, strict=True))
    return {"median": median(cpu), "min": min(cpu), "max": max(cpu), "values": cpu, "by the clock": clock}


def _size(folder: Path) -> dict[str, int]:
    """Files below ``folder``, the bytes in them, and what they take on this disk with their folders."""
    paths = [folder, *folder.rglob("*")]
    stats = {(s.st_dev, s.st_ino): s for s in (path.lstat() for path in paths)}
    files = [path.lstat() for path in paths if path.is_file() and not path.is_symlink()]
    return {
        "files": len(files),
        "bytes": sum(s.st_size for s in files),
        "bytes on disk": sum(512 * s.st_blocks for s in stats.values()),
    }


def _cells(value: Any) -> list[str]:
    """A value in three columns."""
    if isinstance(value, dict) and "values" in value:
        return [number(value[key]) for key in ("median", "min", "max")]
    if isinstance(value, dict):
        return [" ".join(f"{name} {count:,}" for name, count in value.items()), "", ""]
    return [number(value) if isinstance(value, int | float) else str(value), "", ""]


if __name__ == "__main__":
    main()
