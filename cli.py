"""Command line of a checkout: `python cli.py ...` runs `shelfwise ...`."""

import sys

try:
    from shelfwise.commands.main import main
except ImportError as error:
    sys.exit(f"Error: {error}")

if __name__ == "__main__":
    main(prog_name="cli.py")
