"""A finished variant as a DVC experiment: is it there already, and saving it.

`dvc exp save` checks out and hashes all outs, models included, to commit what lies in git. Here the run cache says what
the outs are, only those that lie in git are put into the tree, and the commit and its reference are made by git.
"""

import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import file_at, git, head_commit
from worldwidth.dvcio.experiments import Experiment, list_experiments
from worldwidth.dvcio.fingerprint import current, first_difference, ran_with, would_run_with
from worldwidth.dvcio.restore import record_all
from worldwidth.pipeline.render import DVC_YAML
from worldwidth.pipeline.stages import stage_names
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.sweep.variants import Variant


def present_experiment(settings: Settings, variant: Variant, source: str) -> Experiment | None:
    """The experiment of a variant at this commit, if its stages ran with what they would run with here.

    Raises:
        WorldwidthError: one of that name, of another scale, is there and would be lost.
    """
    head = head_commit()
    for found in list_experiments():
        if found.name != variant.name or found.baseline != head:
            continue
        scale = found.params.get("scale")
        if scale != settings.scale:
            raise WorldwidthError(
                f"experiment '{found.name}': there is one of scale {scale}, not {settings.scale}; keep it under "
                f"another name with `dvc exp rename {found.name} NEW`, or drop it with `dvc exp remove {found.name}`"
            )
        lock = current(found.lock, settings)
        ran = ran_with(lock)
        would_run = would_run_with(ran, lock, read_yaml(PARAMS) | asdict(variant))
        same_stages = file_at(found.commit, DVC_YAML) == file_at(source, DVC_YAML)
        if same_stages and len(lock) == len(stage_names(settings)) and not first_difference(ran, would_run):
            return found
    return None


def save_experiment(name: str, repository: Path) -> list[str]:
    """Make the variant that this work tree is set to the experiment ``name`` of ``repository``, in one step.

    Returns:
        The stages that DVC's run cache lacks; nothing is saved then.

    Raises:
        WorldwidthError: DVC's cache is damaged, or git cannot.
    """
    lacking = record_all()
    if not lacking:
        _commit(name, repository)
    return lacking


def _commit(name: str, repository: Path) -> None:
    """Commit what git knows of this work tree, beside what it started from, and name the commit."""
    head = head_commit()
    objects = (repository / git("rev-parse", "--git-path", "objects", folder=repository)).resolve()
    with tempfile.TemporaryDirectory(dir=Path(".dvc", "tmp").resolve()) as folder:
        index = Path(folder) / "index"  # of a killed git the tree's own index would stay locked
        shutil.copyfile(git("rev-parse", "--git-path", "index"), index)
        in_tree = partial(git, GIT_INDEX_FILE=str(index), GIT_OBJECT_DIRECTORY=str(objects))
        in_tree("add", "--all")  # tables and figures too where git has none yet
        commit = in_tree("commit-tree", in_tree("write-tree"), "-p", head, "-m", f"worldwidth: experiment {name}")
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    git("-c", "core.hooksPath=/dev/null", "update-ref", reference, commit, folder=repository)
