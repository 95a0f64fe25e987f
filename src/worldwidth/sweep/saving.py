"""A finished variant as a DVC experiment: is it there already, and saving it.

`dvc exp save` checks out and hashes all outs, models included, to commit what lies in git. Here the run cache says what
the outs are, only those that lie in git are put into the tree, and the commit and its reference are made by git.
"""

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import git, head_commit
from worldwidth.dvcio.experiments import Experiment, list_experiments
from worldwidth.dvcio.fingerprint import difference_from_here
from worldwidth.dvcio.lockfile import makers
from worldwidth.dvcio.restore import record_all
from worldwidth.settings.paths import PLOTS
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import Variant


def still_to_run(settings: Settings, variants: Sequence[Variant], force: bool) -> list[Variant]:
    """The variants of which there is no experiment yet, whatever commit it started from.

    Args:
        force: take also those of which there is another run under their name, which will be replaced.

    Raises:
        WorldwidthError: another run has the name of one, and would be lost.
    """
    by_name: dict[str, list[Experiment]] = {}
    for experiment in list_experiments():
        by_name.setdefault(experiment.name, []).append(experiment)
    found: list[Variant] = []
    for variant in variants:
        wanted = variant.of(settings)
        differences = [difference_from_here(there, wanted) for there in by_name.get(variant.name, [])]
        if "" in differences:
            continue
        if differences and not force:
            raise WorldwidthError(
                f"experiment '{variant.name}': there is one that {differences[0]}; --force replaces it, --suffix WORD "
                f"gives these runs other names, `dvc exp rename {variant.name} NEW` keeps that one under another"
            )
        found.append(variant)
    return found


def save_experiment(name: str, repository: Path) -> list[str]:
    """Make the variant that this work tree is set to the experiment ``name`` of ``repository``, in one step.

    Returns:
        The stages that DVC's run cache lacks; nothing is saved then.

    Raises:
        WorldwidthError: DVC's cache is damaged, or git cannot.
    """
    lacking = record_all()
    if not lacking:
        _drop_other_figures()
        _commit(name, repository)
    return lacking


def _drop_other_figures() -> None:
    """Delete the figures that no stage of this variant draws: they came with the commit, or are another variant's."""
    own = makers()
    for path in PLOTS.glob("*.png"):
        if path.as_posix() not in own:
            path.unlink()


def _commit(name: str, repository: Path) -> None:
    """Commit what git knows of this work tree, beside what it started from, and name the commit.

    What had that name before, from whatever commit it started, is an experiment no more.
    """
    head = head_commit()
    objects = (repository / git("rev-parse", "--git-path", "objects", folder=repository)).resolve()
    with tempfile.TemporaryDirectory(dir=Path(".dvc", "tmp").resolve()) as folder:
        index = Path(folder) / "index"  # of a killed git the tree's own index would stay locked
        shutil.copyfile(git("rev-parse", "--git-path", "index"), index)
        in_tree = partial(git, GIT_INDEX_FILE=str(index), GIT_OBJECT_DIRECTORY=str(objects))
        in_tree("add", "--all")  # tables and figures too where git has none yet
        commit = in_tree("commit-tree", in_tree("write-tree"), "-p", head, "-m", f"worldwidth: experiment {name}")
    reference = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    change = partial(git, "-c", "core.hooksPath=/dev/null", "update-ref", folder=repository)
    change(reference, commit)
    named = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}", folder=repository).split()
    for former in named:
        if former != reference:
            change("-d", former)
