"""A stage that shows no sign of life is reported: `pytest tests/test_silence.py`."""

import re
import time
from pathlib import Path

import pytest

from worldwidth.core.silence import reporting_silence, sign_of_life


def test_silence_is_reported_with_the_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    namespace: dict[str, object] = {}
    exec(compile("import time\ndef work(): time.sleep(0.7)\n", str(Path("src/stuck.py").absolute()), "exec"), namespace)
    with reporting_silence("evaluate@base", 0.3 / 60):
        namespace["work"]()  # type: ignore[operator]
    line = r"evaluate@base: no sign of life for [\d.e-]+ minutes \(still running, since [\d:]+; at src/stuck.py:2\)\n"
    assert re.match(line, capsys.readouterr().err)


def test_signs_of_life_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting_silence("base", 2 / 60):
        for _ in range(5):
            time.sleep(0.05)
            sign_of_life()
    assert capsys.readouterr().err == ""
