"""Errors of the analysis that a user can mend. Printed as one line, without a traceback."""

from __future__ import annotations


class AnalysisError(Exception):
    """What was wrong, the value, what is allowed, what to do. Exit code 1."""

    exit_code = 1


class AnalysisUsageError(AnalysisError):
    """A wrong request, such as an unknown score or sweep. Exit code 2."""

    exit_code = 2
