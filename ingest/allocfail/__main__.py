"""``python -m allocfail`` is the command ``allocfail``."""

from allocfail.cli import main

if __name__ == "__main__":
    main()
