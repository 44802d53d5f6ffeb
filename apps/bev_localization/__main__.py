"""`python -m apps.bev_localization`: the same program as `gossamer bev`."""

from apps.bev_localization.cli import main

if __name__ == "__main__":
    main()
