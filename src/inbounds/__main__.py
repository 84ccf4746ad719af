"""`python -m inbounds` is the `inbounds` command."""

from inbounds.cli import main

if __name__ == "__main__":
    main()
