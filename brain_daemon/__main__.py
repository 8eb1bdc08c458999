"""`python -m brain_daemon` is `brain`."""

from brain_daemon.surfaces.cli import main

if __name__ == "__main__":
    main()
