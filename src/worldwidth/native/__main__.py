"""Build the native code for this machine: `python -m worldwidth.native`, which `make env` runs."""

from worldwidth.core.command import exit_codes

from worldwidth.core.errors import WorldwidthError
from worldwidth.native.build import build, instruction_set


def main() -> None:
    """Build it; say in one line why not, for everything runs without it."""
    try:
        build(instruction_set())
    except WorldwidthError as error:
        print(f"{error}; training and decoding run on torch", flush=True)


if __name__ == "__main__":
    with exit_codes():
        main()
