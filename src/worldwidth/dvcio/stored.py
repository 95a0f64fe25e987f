"""Has DVC's cache taken in what stages wrote? Where its disk is full, DVC prints errors and calls the stage done."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.config import cache_settings
from worldwidth.dvcio.hashes import LISTING, read_listing
from worldwidth.dvcio.lockfile import inputs_of, md5, recorded_hashes
from worldwidth.pipeline.stages import lies_in_git

_SHOWN = 3
_SECONDS_OF_A_COPY = 600  # so long a file that is being copied is never left alone


def check_inputs_stored(stage: str) -> None:
    """The outs of other stages that ``stage`` reads are in DVC's cache, those that lie in git left out.

    Raises:
        WorldwidthError: the cache lacks some.
    """
    inputs = {path: maker for path, maker in inputs_of(stage).items() if not lies_in_git(maker)}
    check_stored((inputs[path], path, digest) for path, digest in recorded_hashes(inputs).items())


def check_stored(outs: Iterable[tuple[str, str, str]]) -> None:
    """Outs, each as its stage, path and hash, are whole in DVC's cache.

    Raises:
        WorldwidthError: the cache lacks some.
    """
    store = _store()
    lost = [(stage, path) for stage, path, digest in outs if not _has(store, digest)]
    if not lost:
        return
    paths, stages = [path for _, path in lost], dict.fromkeys(stage for stage, _ in lost)
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    kept = [stage for stage in stages if not lies_in_git(stage)]
    keep = f" keep what was made by `dvc commit {' '.join(kept)}`," if kept else ""
    raise WorldwidthError(
        f"DVC's cache {cache_settings()[0]} has not taken in {', '.join(paths[:_SHOWN])}{more}, as when its disk is "
        f"full: make room there,{keep} and run the same command again"
    )


def is_stored(digest: str) -> bool:
    """Whether DVC's cache has an out, which may be a folder."""
    return _has(_store(), digest)


def _store() -> Path:
    return cache_settings()[0] / "files" / "md5"


def _has(store: Path, digest: str) -> bool:
    """Whether ``store`` has an object, and, if that lists a folder, its files."""
    path = store / digest[:2] / digest[2:]
    if not digest.endswith(LISTING):
        return path.is_file()  # it has its name only once it is whole, which DVC's listings need not be
    return f"{md5(path)}{LISTING}" == digest and all(_has(store, file) for file in read_listing(path).values())


def remove_halves(seconds: float = 0) -> None:
    """Delete what a full disk or a kill left of files on their way into DVC's cache, once nobody writes to them.

    Of an entry of its run cache, which is written at once, a half could be taken for the newest: those are deleted
    ``seconds`` after.
    """
    cache = cache_settings()[0]
    waits = {
        "files/md5/.*.tmp": _SECONDS_OF_A_COPY,
        "files/md5/*/.*.tmp": _SECONDS_OF_A_COPY,
        "runs/*/*/.*.tmp": seconds,
    }
    for pattern, wait in waits.items():
        for half in cache.glob(pattern):
            with suppress(OSError):  # somebody else removed it, or renamed it to what it was to be
                if time.time() - half.stat().st_mtime > wait:
                    half.unlink()
