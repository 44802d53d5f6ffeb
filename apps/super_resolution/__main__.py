"""`python -m apps.super_resolution`: the same program as `gossamer superres`."""

from apps.super_resolution.cli import main

if __name__ == "__main__":
    main()
