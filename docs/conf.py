"""Configuration of the documentation; `make docs` builds it with warnings as errors."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from generate_reference import write_reference

project = "gansweep"
author = "the gansweep authors"
copyright = f"2026, {author}"  # noqa: A001 - the name that Sphinx reads
version = release = installed_version("gansweep")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # CONTRIBUTING.md is included, and refers to files outside docs/
autodoc_typehints = "description"
autodoc_member_order = "bysource"
exclude_patterns = ["_build", "study/runs"]

html_theme = "furo"
html_title = "gansweep"
html_extra_path = ["example-report.html"]

write_reference(Path(__file__).parent / "reference")
