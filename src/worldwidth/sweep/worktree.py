"""Work trees beside the user's own: clones that share its git objects and its DVC cache, each set to one variant."""

import shutil
from dataclasses import asdict
from pathlib import Path

from worldwidth.core.files import write_text
from worldwidth.core.git import git
from worldwidth.core.locks import wait_until_free
from worldwidth.dvcio.cache import cache_folder, use_cache
from worldwidth.dvcio.lockfile import md5
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.engine.run import run_lock
from worldwidth.settings.paths import PARAMS, scratch_folder
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import Variant


def clone(source: Path, commit: str, tree: Path) -> None:
    """Make ``tree`` a clone of the repository ``source`` at ``commit`` that borrows its objects.

    Raises:
        WorldwidthError: git cannot.
    """
    git("clone", "--quiet", "--shared", "--no-checkout", str(source), str(tree))
    git("checkout", "--quiet", "--force", "--detach", commit, folder=tree)


def write_params(tree: Path, commit: str, variant: Variant) -> None:
    """Write params.yaml as it is in ``commit``, but of this variant."""
    write_text(tree / PARAMS, git("show", f"{commit}:{PARAMS}", folder=tree) + "\n")
    edit_yaml(tree / PARAMS, asdict(variant))


def source_commit() -> str:
    """The commit that holds this tree as it is: HEAD, or one with the uncommitted changes of tracked files."""
    someone = ("-c", "user.name=worldwidth", "-c", "user.email=worldwidth")  # git wants a name, on a new machine too
    return git(*someone, "stash", "create") or git("rev-parse", "HEAD")


def prepare_tree(settings: Settings, source: str) -> Path:
    """The sweep's own work tree, holding the files of ``source``; what an interrupted sweep left there is kept."""
    tree = scratch_folder().resolve() / "widths"
    if not (tree / ".git").is_dir():
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(parents=True, exist_ok=True)
        clone(Path.cwd(), "HEAD", tree)
    wait_until_free(run_lock(tree), "what is left of an interrupted sweep is still at work: waiting for it")
    head, state = git("rev-parse", "HEAD"), tree / ".git" / "worldwidth-source"
    wanted = f"{head} {git('rev-parse', source + '^{tree}')}"
    if not state.is_file() or state.read_text(encoding="utf-8") != wanted:
        state.unlink(missing_ok=True)
        git("checkout", "--quiet", "--force", "--detach", head, folder=tree)
        git("read-tree", "--reset", "-u", source, folder=tree)
        use_cache(tree, cache_folder())  # and with it the run cache
        write_text(state, wanted)
    for scale in settings.scales.values():  # a user's own list of cities need not be in git
        path = Path(scale.world.source)
        if path.is_file() and md5(path) != md5(tree / path):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tree / path)
    return tree
