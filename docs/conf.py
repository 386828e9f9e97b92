"""How the documentation is built: `make docs`. It needs no network, and a warning is an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pages

project = "riemannrnn"
author = "The riemannrnn developers"
version = release = version_of("riemannrnn")

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "claims.md", "generated/metrics.md"]  # the last two are parts of other pages
default_role = "py:obj"

html_theme = "furo"
html_title = "riemannrnn"
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # an override is documented where the method is declared
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
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
    app.connect("autodoc-process-signature", pages.source_signature)
    app.connect("autodoc-skip-member", pages.skip_requests)
    app.connect("env-check-consistency", pages.check_complete)
