"""Only regular files are read: `pytest tests/test_files.py`."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repository import PROJECT
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_bytes, read_json, read_text, sha256
from worldwidth.data.cities import load_real_cities
from worldwidth.dvcio.hashes import Hashes
from worldwidth.evaluation.tables import read_table
from worldwidth.model.safe_tensors import load_tensors
from worldwidth.settings.load import load
from worldwidth.settings.strict_yaml import read_yaml

READERS: list[Callable[[Path], Any]] = [
    read_text, read_bytes, sha256, read_yaml, lambda path: read_json(path, "make it again"),
    load_tensors, lambda path: read_table(path, [], "make it again"),
    lambda path: load_real_cities(load(PROJECT / "params.yaml").selected.world, path),
]  # fmt: skip


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)  # a whole path may be too long


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", [os.mkfifo, bind, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_refused_at_once(
    read: Callable[[Path], Any], make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x"))
    with pytest.raises(
        (OSError, WorldwidthError), match=r"not a regular file, but a FIFO|[Ii]s a directory"
    ) as refused:
        read(Path("x"))
    assert "x" in str(refused.value)


def test_what_is_no_file_has_no_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert Hashes().compare(tmp_path / "fifo", "d41d8cd98f00b204e9800998ecf8427e") == "wrong"
    assert Hashes().compare(tmp_path, "d41d8cd98f00b204e9800998ecf8427e.dir") == "wrong"
