"""Errors that a user can fix. Printed as one line, without a traceback."""

from __future__ import annotations


class AnalysisError(Exception):
    """Base error: states what was wrong, the value, what is allowed and what to do. Exit code 1."""

    exit_code = 1


class AnalysisUsageError(AnalysisError):
    """A wrong request, such as an unknown score or sweep. Exit code 2."""

    exit_code = 2
