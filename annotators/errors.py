"""The error of the annotators: it says where it happened, what was got, what was expected, and the fix."""

from __future__ import annotations

from ..common.errors import FileErrors, PackError


class AnnotatorError(PackError):
    """A picture, a setting or a weights file that an annotator can't use; see :class:`PackError` for its parts."""


FILE_ERRORS = FileErrors(damaged=AnnotatorError, unsafe=AnnotatorError, foreign=AnnotatorError)
