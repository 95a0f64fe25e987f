"""Locks between processes and threads: `pytest tests/test_locks.py`."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from worldwidth.core.locks import one_after_another


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    """The lock is deleted by its holder, as at the end of a run: whoever waited must not believe to hold it."""
    path = tmp_path / "states" / "lock"
    order: list[str] = []

    def second() -> None:
        with one_after_another(path, "waiting"):
            order.append("second")
            assert path.exists()

    with one_after_another(path, "waiting"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
        shutil.rmtree(path.parent)
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding = """if True:
        import pathlib, sys, time
        from worldwidth.core.locks import one_after_another
        with one_after_another(pathlib.Path(sys.argv[1]), "waiting"):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", holding, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    with one_after_another(path, "must not wait"):
        pass
