"""`python -m apps.underwater_species`: the same program as `gossamer aqua`."""

from apps.underwater_species.cli import main

if __name__ == "__main__":
    main()
