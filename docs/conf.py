"""How the documentation is built: `make docs`. It needs no network, and a warning is an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import executed_notebooks
import metric_pictures
import pages

project = "riemannrnn"
author = "The riemannrnn developers"
copyright = f"2026, {author}"
version = release = version_of("riemannrnn")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# These are parts of other pages.
exclude_patterns = ["_build", "claims.md", "generated/metrics.md", "generated/metric_pictures.md"]
default_role = "py:obj"
language = "en"

html_theme = "furo"
html_title = f"riemannrnn {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # summaries are fetched from a server, and these pages are read from the disk too

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = False  # docs/pages.py writes the pages
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # an override is documented where the method is declared
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
numpydoc_show_class_members = True
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "image_srcset": ["2x"],
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "plot_gallery": "True",
}


def setup(app):
    app.connect("builder-inited", pages.write)
    app.connect("builder-inited", metric_pictures.write)
    app.connect("builder-inited", executed_notebooks.write, priority=900)  # after the gallery
    app.connect("autodoc-process-signature", pages.source_signature)
    app.connect("autodoc-process-docstring", pages.tidy_members, priority=900)  # after numpydoc
    app.connect("autodoc-skip-member", pages.skip_requests)
    app.connect("env-check-consistency", pages.check_complete)
