"""The command ``mi2`` as ``python -m medimageinsight``."""

from medimageinsight.cli.main import main

if __name__ == "__main__":
    main()
