"""The package's version and its disclaimer, readable without importing anything else."""

__version__ = "0.2.0"

DISCLAIMER = "For research and development, not for diagnosis or treatment."
