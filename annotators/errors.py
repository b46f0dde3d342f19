"""The error that all annotators raise."""

from __future__ import annotations

from ..common.errors import FileErrors, PackError


class AnnotatorError(PackError):
    """A picture, a setting or a weights file that an annotator can't use; see :class:`PackError` for its parts."""


ANNOTATOR_FILE_ERRORS = FileErrors(damaged=AnnotatorError, unsafe=AnnotatorError, foreign=AnnotatorError)
