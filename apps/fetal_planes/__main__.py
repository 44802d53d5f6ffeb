"""`python -m apps.fetal_planes`: the same program as `gossamer fetal`."""

from apps.fetal_planes.cli import main

if __name__ == "__main__":
    main()
