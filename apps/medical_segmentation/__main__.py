"""`python -m apps.medical_segmentation`: the same program as `gossamer medseg`."""

from apps.medical_segmentation.cli import main

if __name__ == "__main__":
    main()
