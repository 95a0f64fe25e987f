"""What a stage reads, hashed when it starts: is it still what the stages before have written?

DVC does not look: it trusts a write-protected object of its cache, and a file whose size and time are as they were.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR
from worldwidth.dvcio.hashes import Content, Hashes
from worldwidth.dvcio.lockfile import LOCK, inputs_of, recorded_hashes
from worldwidth.dvcio.repo import open_repo

_HASHES = Hashes()


def check_inputs(stage: str, except_outs_of: Collection[str] = ()) -> None:
    """Compare what ``stage`` reads from other stages with what dvc.lock says that those have written.

    Args:
        stage: as DVC names it, such as ``evaluate@base``.
        except_outs_of: stages that dvc.lock does not know yet, for this process has just run or restored them.

    Raises:
        WorldwidthError: a file or folder is missing, or another than its stage has written.
    """
    inputs = {path: maker for path, maker in inputs_of(stage).items() if maker not in except_outs_of}
    try:
        contents = _contents(inputs)
    except WorldwidthError:
        contents = {}
    if all(contents.get(path) == "right" for path in inputs):
        return
    with open_repo(wait=True) as repo, repo.lock:  # another process may just be writing dvc.lock, not in one step
        contents = _contents(inputs)
    for path, content in contents.items():
        if content != "right":
            found = (
                "not found" if content == "missing" else f"not what stage {inputs[path]} wrote, says {LOCK} (damaged)"
            )
            raise WorldwidthError(f"{path}: {found}; run `dvc repro {inputs[path]}`{OR_DOCTOR}")


def _contents(inputs: dict[str, str]) -> dict[str, Content]:
    """How the inputs, each with its maker, compare with dvc.lock; without those that it does not know."""
    return {path: _HASHES.compare(Path(path), digest) for path, digest in recorded_hashes(inputs).items()}


def refuse_damaged(stage: Any) -> None:
    """Hash the outs that DVC has just restored for ``stage``; if one is damaged, remove them from the tree.

    Raises:
        WorldwidthError: DVC's cache holds something else under the hash of an out.
    """
    for out in stage.outs:
        if _HASHES.compare(Path(out.fs_path), out.hash_info.value) != "right":
            stage.remove_outs()
            raise WorldwidthError(
                f"{out.def_path}: damaged in DVC's cache, where stage {stage.addressing} had left it; "
                "`worldwidth doctor` says what to do"
            )
