"""The native code built for this machine, when it is first needed or by `make env`.

The compiler is zig's clang, from a Python package: the same on every machine, so that the bits are. What it makes lies
in the environment under a name that holds sources, flags, compiler and instruction set: an edited source is another
library, and so is one for another kind of node that shares the environment.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_bytes
from worldwidth.core.locks import one_after_another
from worldwidth.core.machine import processor_flags

INSTRUCTIONS = {
    "x86_64_v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
    "x86_64_v3": "avx2 bmi1 bmi2 f16c fma abm movbe xsave",
}
"""zig's name of an instruction set -> a processor's flags for it; the first that fits is taken; equal bits."""

FLAGS = (
    *("-std=c++20", "-O3", "-ffp-contract=off", "-fno-math-errno", "-mprefer-vector-width=512"),
    *("-shared", "-fPIC", "-fvisibility=hidden", "-nostdlib", "-fno-exceptions", "-fno-rtti", "-s"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-psabi"),
)
"""No library beside the C library's memcpy and memset; no product is fused with a sum unless the code says so."""

SOURCES = Path(__file__).parent


def instruction_set() -> str:
    """The best instruction set that this processor has and that the code is built for.

    Raises:
        WorldwidthError: it has none of them.
    """
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        flags = processor_flags()
        for name, needed in INSTRUCTIONS.items():
            if set(needed.split()) <= flags:
                return name
    found = f"{platform.system()} on {platform.machine()}"
    raise WorldwidthError(f"no native code for {found}: it needs Linux on x86_64 with AVX2 and FMA")


def library_path(instructions: str) -> Path:
    """Where the library for ``instructions`` lies, built or not.

    Raises:
        WorldwidthError: the compiler's package is not installed.
    """
    name = hashlib.sha256(repr((FLAGS, _compiler_version())).encode())
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.hpp")]):
        name.update(source.name.encode() + b"\0" + read_bytes(source))
    return Path(sys.prefix) / "lib" / "worldwidth" / f"{name.hexdigest()[:16]}-{instructions}.so"


def _compiler_version() -> str:
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        raise WorldwidthError("no compiler for the native code: the package ziglang is missing; `make env`") from None


def build(instructions: str) -> Path:
    """Return the library for ``instructions``; build it, in seconds, if it is not there.

    Raises:
        WorldwidthError: it cannot be built.
    """
    path = library_path(instructions)
    if path.is_file():
        return path
    try:
        with one_after_another(path.with_suffix(".lock"), "waiting for another process that builds the native code"):
            if not path.is_file():
                _compile(instructions, path)
    except OSError as error:
        raise WorldwidthError(f"the native code could not be built: {error}") from None
    return path


def _compile(instructions: str, path: Path) -> None:
    """Everything that the compiler writes lies in a folder beside the library, and its environment is empty."""
    package = importlib.util.find_spec("ziglang")
    assert package is not None
    assert package.submodule_search_locations
    compiler = os.path.join(package.submodule_search_locations[0], "zig")
    sources = sorted(str(source) for source in SOURCES.glob("*.cpp"))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = os.path.join(folder, path.name)
        command = [compiler, "c++", *FLAGS, f"-mcpu={instructions}", *sources, "-o", made]
        caches = {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
        result = subprocess.run(command, env=caches, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            first = next((line for line in result.stderr.splitlines() if "error" in line), f"code {result.returncode}")
            raise WorldwidthError(f"the native code could not be built: {first}")
        os.replace(made, path)
