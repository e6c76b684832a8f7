"""``python -m lalia`` is ``lalia``."""

from lalia.cli import main

if __name__ == "__main__":
    main()
