"""`python -m apps.line_segments`: the same program as `gossamer lines`."""

from apps.line_segments.cli import main

if __name__ == "__main__":
    main()
