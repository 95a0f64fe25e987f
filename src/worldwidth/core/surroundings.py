"""What a command takes over from whoever starts it, put right before it begins: encoding, streams, the user."""

import codecs
import io
import locale
import os
import pwd
import sys

_OF_ARITHMETIC = (
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
"""Variables by which the libraries of arithmetic take other instructions or another precision."""
_THREADS_OF_NUMPY = ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")
"""How many threads share a product of matrices changes its last bits, and ours are small; torch's have a setting."""


def drop_arithmetic() -> None:
    """Drop what a shell says of arithmetic, before a library reads it: it would change the last bits of all results."""
    for name in _OF_ARITHMETIC:
        os.environ.pop(name, None)
    os.environ.update(dict.fromkeys(_THREADS_OF_NUMPY, "1"))


def settle() -> None:
    """Read and write UTF-8 whatever the locale, print to any terminal or none, and be a user whom DVC can name."""
    _start_again_in_utf8()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _name_the_user()


def _start_again_in_utf8() -> None:
    """DVC reads and writes its files as the locale says: where that is not UTF-8, begin anew in Python's UTF-8 mode."""
    if "PYTHONUTF8" in os.environ and os.environ["PYTHONUTF8"] != "0":
        return
    if codecs.lookup(locale.getpreferredencoding(False)).name != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_closed_streams() -> None:
    """Where one was closed (`2>&-`), the next file would get its number, and with it what libraries print."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


def _name_the_user() -> None:
    """In a container the user may be a mere number; DVC and git ask for a name and a home."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", str(os.getuid()))
        os.environ.setdefault("HOME", "/nonexistent")
