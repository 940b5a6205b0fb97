"""``python -m medimageinsight`` is ``mi2``."""

from medimageinsight.cli.main import main

if __name__ == "__main__":
    main()
