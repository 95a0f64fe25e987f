"""Work trees beside the user's own: clones that share its git objects and its DVC cache, each set to one variant."""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import replacing, replacing_folder, write_text
from worldwidth.core.git import config_values, file_at, git, head_commit
from worldwidth.core.locks import wait_until_free
from worldwidth.dvcio.cache import cache_folder, use_cache
from worldwidth.dvcio.lockfile import LOCK, md5
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.engine.run import run_lock
from worldwidth.pipeline.render import DVC_YAML, render
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS, scratch_folder
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import Variant

_OWN_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.excludesFile": "/dev/null",  # an experiment lacks the tables that are ignored
    "core.fsmonitor": "false",
    "submodule.recurse": "false",
    "commit.gpgSign": "false",  # DVC's commit, with nobody there to type a passphrase
    "gc.auto": "0",
}
"""Of the clones: a user's own settings are for work by hand."""
_NOBODY = {"user.name": "worldwidth", "user.email": "worldwidth"}  # DVC's commit needs a name, on a new machine too


def clone(source: Path, commit: str, tree: Path) -> None:
    """Make ``tree`` a repository at ``commit`` that borrows the objects of the one in ``source``.

    `git clone --shared` does not borrow from a shallow clone, and what it makes obeys the user's hooks and templates.

    Raises:
        WorldwidthError: git cannot.
    """
    objects, shallow = (source / git("rev-parse", "--git-path", name, folder=source) for name in ("objects", "shallow"))
    with replacing_folder(tree) as made:
        git("init", "--quiet", "--template=", str(made))
        write_text(made / ".git" / "objects" / "info" / "alternates", f"{objects.resolve()}\n")
        if shallow.is_file():
            shutil.copyfile(shallow, made / ".git" / "shallow")
        known = config_values(r"^(user\.(name|email)|remote\..*\.(url|promisor|partialclonefilter))$", source)
        config = _OWN_CONFIG | {name: value for name, value in _NOBODY.items() if name not in known}
        if any(name.endswith(".promisor") for name in known):  # a partial clone: what it lacks comes from there
            config |= {name: value for name, value in known.items() if name.startswith("remote.")}
        for name, value in config.items():
            git("config", name, value, folder=made)
        git("checkout", "--quiet", "--force", "--detach", commit, folder=made)


def write_variant(tree: Path, commit: str, variant: Variant) -> Settings:
    """Write params.yaml as it is in ``commit``, but of this variant, and the dvc.yaml that goes with it.

    Returns:
        What params.yaml says now.

    Raises:
        WorldwidthError: it is not in git, or the values of the variant would change something else, too.
    """
    committed = file_at(commit, PARAMS, folder=tree)
    if committed is None:
        raise WorldwidthError(f"{PARAMS}: not in git; run `git add --all && git commit`")
    with replacing(tree / PARAMS) as temporary:
        temporary.write_bytes(committed)
    settings = load(tree / PARAMS)
    edit_yaml(tree / PARAMS, variant.edits(settings))
    written = load(tree / PARAMS)
    if written != variant.of(settings):
        raise WorldwidthError(f"{PARAMS}: {variant.name} changes a value that an alias (*) shares: write it out there")
    write_text(tree / DVC_YAML, render(written, tree))
    return written


def source_tree() -> str:
    """Git's name of this tree as it is: that of HEAD, with the uncommitted changes of tracked files.

    The user's index stays as it is; `git stash create`, which does the same, fails where files have other times alone.
    """
    head_commit()
    scratch = scratch_folder()
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch.resolve()) as folder:
        index = Path(folder) / "index"
        with suppress(FileNotFoundError):  # nothing was ever checked out
            shutil.copyfile(git("rev-parse", "--git-path", "index"), index)
        git("add", "--update", GIT_INDEX_FILE=str(index))
        return git("write-tree", GIT_INDEX_FILE=str(index))


def prepare_trees(settings: Settings, source: str, count: int) -> list[Path]:
    """The sweep's own work trees, each holding the files of ``source`` and set to its variant.

    Args:
        source: a commit, or :func:`source_tree`.
    """
    folder = scratch_folder().resolve() / "sweep"
    trees = [folder / str(number) for number in range(1, count + 1)]
    for tree in folder.glob("[1-9]*"):
        wait_until_free(run_lock(tree), "what is left of an interrupted sweep is still at work: waiting for it")
    for tree in trees:
        _prepare(settings, source, tree)
    return trees


def _prepare(settings: Settings, source: str, tree: Path) -> None:
    if not (tree / ".git").is_dir():
        clone(Path.cwd(), head_commit(), tree)
    head, state = head_commit(), tree / ".git" / "worldwidth-source"
    wanted = f"{head} {git('rev-parse', source + '^{tree}')}"
    (tree / ".git" / "index.lock").unlink(missing_ok=True)  # of a git that was killed
    if not state.is_file() or state.read_text(encoding="utf-8") != wanted:
        state.unlink(missing_ok=True)
        git("checkout", "--quiet", "--force", "--detach", head, folder=tree)
        git("read-tree", "--reset", "-u", source, folder=tree)
        git("clean", "--force", "-d", "--quiet", folder=tree)  # outs of stages that there are no more
        write_text(state, wanted)
    use_cache(tree, cache_folder(), Path())  # and with it the run cache
    for scale in settings.scales.values():  # a user's own list of cities need not be in git
        path = Path(scale.world.source)
        if path.is_file() and md5(path) != md5(tree / path):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tree / path)
    set_tree(tree, {path: (tree / path).read_text(encoding="utf-8") for path in (PARAMS, DVC_YAML)})


def set_tree(tree: Path, files: Mapping[Path, str]) -> None:
    """Set a tree to a variant by the texts of its params.yaml and dvc.yaml.

    dvc.lock, which others left there or git has, goes, lest their outs be taken for those of this variant: only the run
    cache answers.
    """
    for path, text in files.items():
        write_text(tree / path, text)
    (tree / LOCK).unlink(missing_ok=True)
