"""DICOM objects to 8-bit pictures: stored values through modality, VOI and presentation, as a viewer shows them.

`read` parses a file, `decode` turns one frame into a picture of mode L or RGB; ``pixels`` has the stored values,
``luts`` the tables, ``grey`` and ``colour`` the two ways to 8 bits.
"""

from __future__ import annotations

from medimageinsight.images.dicom.decode import decode
from medimageinsight.images.dicom.read import is_dicom, read

__all__ = ["decode", "is_dicom", "read"]
