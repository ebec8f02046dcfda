"""The command line: parse, call, exit code. `python -m training --help` lists the commands."""

import argparse
import sys

from model.errors import ModelError
from training.commands.corpus import add_corpus_commands
from training.commands.loop import add_loop_commands
from training.commands.versions import add_version_commands
from training.errors import TrainingError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (TrainingError, ModelError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make, measure and check models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_version_commands(commands)
    add_loop_commands(commands)
    add_corpus_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
