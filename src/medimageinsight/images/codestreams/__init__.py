"""JPEG, lossless JPEG, JPEG-LS and JPEG 2000 codestreams, as frames of DICOM files and as files of their own."""

from medimageinsight.images.codestreams.codestream import Codestream, Coding, read_codestream, starts_codestream
from medimageinsight.images.codestreams.decoding import check_cost, decode_codestream

__all__ = ["Codestream", "Coding", "check_cost", "decode_codestream", "read_codestream", "starts_codestream"]
