"""`neuroleon prepare|train|sample|evaluate ...`: the four scripts of the checkout as one command."""

import sys
from importlib import import_module

COMMANDS = ("prepare", "train", "sample", "evaluate")


def main() -> None:
    """Run the script that the first argument names with the arguments after it."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: neuroleon {'|'.join(COMMANDS)} ...   (each has --help)", file=sys.stderr)
        raise SystemExit(2)
    command = sys.argv.pop(1)
    sys.argv[0] = f"neuroleon {command}"
    import_module(f"neuroleon.{command}").main()


if __name__ == "__main__":
    main()
