"""`python -m shelfwise`: the command line."""

from shelfwise.commands.main import main

main(prog_name="shelfwise")
