"""Work trees beside the user's own: clones that share its git objects and its DVC cache, each set to one variant."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from worldwidth.experiments import git
from worldwidth.files import write_text
from worldwidth.forecast import open_repo
from worldwidth.matrix import PARAMS, Budget, Matrix


@dataclass(frozen=True)
class Variant:
    """One run of the sweep."""

    arch: str
    budget: Budget
    seed: int

    @property
    def name(self) -> str:
        """The experiment's name."""
        return f"{self.arch}-{self.budget}-s{self.seed}"

    def of(self, matrix: Matrix) -> Matrix:
        """``matrix`` with this variant's arch, budget and seed."""
        return replace(matrix, arch=self.arch, budget=self.budget, seed=self.seed)


def clone(source: Path, commit: str, tree: Path) -> None:
    """Make ``tree`` a clone of the repository ``source`` at ``commit`` that borrows its objects.

    Raises:
        WorldwidthError: git cannot.
    """
    git("clone", "--quiet", "--shared", "--no-checkout", str(source), str(tree))
    git("checkout", "--quiet", "--force", "--detach", commit, folder=tree)


def share_cache(tree: Path) -> None:
    """Let ``tree`` use this repository's DVC cache, and with it the run cache."""
    use_cache(tree, cache_folder())


def cache_folder() -> Path:
    """Where this repository's DVC cache lies."""
    with open_repo() as repo:
        return Path(repo.cache.legacy.path)  # cache.dir itself


def use_cache(tree: Path, folder: Path) -> None:
    """Let the DVC of ``tree`` use the cache in ``folder``."""
    from dvc.config import Config

    with Config(tree / ".dvc").edit("local") as local:
        local["cache"]["dir"] = str(folder)


def write_params(tree: Path, commit: str, variant: Variant) -> None:
    """Write params.yaml as it is in ``commit``, but of this variant."""
    from dvc.utils.serialize import modify_yaml

    write_text(tree / PARAMS, git("show", f"{commit}:{PARAMS}", folder=tree) + "\n")
    with modify_yaml(str(tree / PARAMS)) as params:  # keeps comments and layout, as `dvc exp run -S` does
        params.update(asdict(variant))
