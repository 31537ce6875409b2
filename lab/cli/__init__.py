"""The `lab` command. Each command imports what it needs when it runs, so that help costs nothing."""

from lab.cli.main import main

__all__ = ["main"]
