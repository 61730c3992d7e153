"""In which formats the chapters draw: each figure as SVG, and as PNG at twice the density.

The notebooks know nothing of it. The kernel reads these settings from the profile in the folder
that `IPYTHONDIR` names; which of the two formats a page shows is decided when the page is made
(`extensions/plots.py`). Two executions of one chapter draw the same bytes.
"""

from pathlib import Path

__all__ = ["CONFIGURATION", "write"]

CONFIGURATION = '''\
c.InlineBackend.figure_formats = {"svg", "retina"}
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
c.InlineBackend.rc = {"svg.hashsalt": "genmodels", "svg.fonttype": "path"}
'''


def write(ipython_folder: Path) -> Path:
    """Write the settings into the default profile of a kernel, and return their path."""
    path = ipython_folder / "profile_default" / "ipython_kernel_config.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIGURATION, encoding="utf-8")
    return path
