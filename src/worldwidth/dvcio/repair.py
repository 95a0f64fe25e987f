"""What a kill can leave of DVC's own files, which it does not write in one step, and how they are made whole.

Until then `dvc repro` stops over them; nothing is lost, for what is finished is in DVC's cache and run cache.
"""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.forecast import Forecast, forecast
from worldwidth.dvcio.lockfile import LOCK
from worldwidth.dvcio.repo import DamagedHashesError, open_repo
from worldwidth.settings.paths import scratch_folder

_CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7}) ", re.MULTILINE)


def has_conflict_markers(text: str) -> bool:
    """Whether git has left a merge in ``text`` for somebody to settle."""
    return bool(_CONFLICT.search(text))


def empty_entries(run_cache: Path) -> list[Path]:
    """Entries of DVC's run cache without a file in them, as a kill between folder and file leaves one."""
    return [folder for folder in run_cache.glob("*/*") if folder.is_dir() and not any(folder.iterdir())]


def remove_empty_entries(seconds: float = 0) -> None:
    """Delete the empty entries of this repository's run cache; DVC fails over one with a TypeError.

    Only those of over ``seconds`` ago: where other machines share the cache, one of them may just be making an entry.
    """
    with open_repo() as repo:
        for folder in empty_entries(Path(repo.stage_cache.cache_dir)):
            with suppress(OSError):  # somebody else removed it, or has filled it since
                if time.time() - folder.stat().st_mtime > seconds:
                    folder.rmdir()


def renew_damaged_hashes() -> None:
    """Delete DVC's database of file hashes if it is damaged, as by a power cut; DVC stops over it, and hashes anew."""
    try:
        with open_repo():
            pass
    except DamagedHashesError as error:
        shutil.rmtree(error.folder)
        print(f"DVC's database of file hashes was damaged; {error.folder} is made again", flush=True)


def forecast_of_a_whole_lock() -> list[Forecast]:
    """What DVC would do; a dvc.lock that was cut off is set aside first, with a line that says so.

    Raises:
        WorldwidthError: DVC cannot read something else, or dvc.lock holds a merge that somebody has to settle.
    """
    try:
        return forecast()
    except WorldwidthError as error:
        if LOCK.name not in str(error):
            raise
        if has_conflict_markers(LOCK.read_text(encoding="utf-8", errors="replace")):
            raise WorldwidthError(f"{LOCK}: holds conflict markers; `worldwidth doctor` says what to do") from None
    aside = scratch_folder() / f"{LOCK.name}.broken"
    shutil.move(LOCK, aside)
    print(f"{LOCK} was cut off, as by a kill while DVC wrote it; it lies in {aside}, and is made again", flush=True)
    return forecast()
