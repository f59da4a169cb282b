"""``python -m allocfail`` is the command ``allocfail``."""

from allocfail.commands.cli import main

if __name__ == "__main__":
    main()
