"""`python -m apps.person_reid`: the same program as `gossamer reid`."""

from apps.person_reid.cli import main

if __name__ == "__main__":
    main()
