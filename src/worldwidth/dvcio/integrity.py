"""Is a table still what DVC recorded when it was made? For files with no room for a checksum of their own.

DVC trusts a write-protected object of its cache unseen, and links it into the work tree.
"""

import os
from functools import cache
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR
from worldwidth.dvcio.lockfile import LOCK, md5
from worldwidth.settings.strict_yaml import read_yaml


def refuse_unrecorded(path: Path, remedy: str) -> None:
    """Compare ``path`` with dvc.lock while `dvc repro` runs a stage; else dvc.lock need not be up to date.

    Raises:
        WorldwidthError: the file is another than its stage has written.
    """
    if "DVC_STAGE" not in os.environ or not path.is_file():
        return
    wanted = recorded().get(path.as_posix())
    if wanted and wanted != md5(path):
        raise WorldwidthError(f"{path}: not what its stage wrote, says {LOCK} (damaged file); {remedy}{OR_DOCTOR}")


@cache
def recorded() -> dict[str, str]:
    """Path -> MD5 of every out. What the stages before have written stands in the file when a stage starts."""
    stages = read_yaml(LOCK)["stages"].values() if LOCK.is_file() else ()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
