"""`python -m apps.modulation_recognition`: the same program as `gossamer modrec`."""

from apps.modulation_recognition.cli import main

if __name__ == "__main__":
    main()
