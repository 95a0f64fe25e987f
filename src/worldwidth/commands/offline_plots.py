"""Charts without a network: the page template of `dvc plots`, with the chart libraries inside.

The pages of `dvc plots diff` and `dvc plots show` load Vega, Vega-Lite and Vega-Embed from a public server unless
DVC is given a page template that brings them. This module writes one, from the copies that the Python package
vl-convert carries, and names it in `.dvc/config.local`. Both files are this machine's own and not in git: DVC stops at
a template that is named but not there, and a clone in which this has not run yet has DVC's usual page instead.

    python -m worldwidth.commands.offline_plots      # `make env` does it; again after deleting the template
"""

from worldwidth.core.command import exit_codes

from pathlib import Path

import vl_convert

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.dvcio.config import name_page_template

TEMPLATE = Path("plots") / "offline.html"  # below .dvc, from where DVC reads the path
_MAJOR = "5"  # of the Vega-Lite that DVC's chart templates and those in templates/plots are written in

# What DVC calls for every chart. Left out of a chart's menu: the online editor. A chart that fails says why.
_EMBED = """
window.vegaEmbed = (element, spec, options) =>
  vegaEmbed(element, spec, {actions: {export: true, source: true, compiled: false, editor: false}, ...options})
    .catch(error => {
      document.querySelector(element).textContent = `This chart cannot be drawn: ${String(error).slice(0, 200)}`;
    });
"""

# DVC fills in {refresh_tag} and {plot_divs}; its {scripts} are the links to the public server.
_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<style>
  body { font-family: sans-serif; margin: 1.5em; }
  body > div { margin-bottom: 2em; vertical-align: top; }
  table { border-spacing: 15px; }
  img { max-width: 45vw; }
  div:only-of-type > img { max-width: 92vw; }
</style>
<script>
(function () {
"use strict";
LIBRARIES
})();
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page_template() -> str:
    """Return the page template: what DVC's own has, and the libraries themselves instead of links to them."""
    libraries = vl_convert.javascript_bundle(_EMBED, vega_lite_version(vl_convert.get_vegalite_versions()))
    return _PAGE.replace("LIBRARIES", libraries.replace("</script", r"<\/script"))


def vega_lite_version(carried: list[str]) -> str:
    """Return the newest of the versions ``carried`` that has the templates' major version.

    Raises:
        WorldwidthError: there is none.
    """
    fitting = [version for version in carried if version.split(".")[0] == _MAJOR]
    if not fitting:
        raise WorldwidthError(f"vl-convert-python: it has no Vega-Lite {_MAJOR}; install the one in constraints.txt")
    return max(fitting, key=lambda version: [int(part) for part in version.split(".")])


def install(root: Path = Path()) -> str:
    """Write the template into the project at ``root`` and let DVC use it, unless its local config names another.

    Returns:
        What was done, for people.

    Raises:
        WorldwidthError: there is no ``.dvc`` folder.
    """
    folder = root / ".dvc"
    if not folder.is_dir():
        raise WorldwidthError(f"{folder}: not found; run this in the folder of the project")
    path = folder / TEMPLATE
    write_text(path, page_template())
    chosen = name_page_template(TEMPLATE.as_posix(), root)
    if chosen != TEMPLATE.as_posix():
        return f"wrote {path}, not in use: {folder / 'config.local'} names {chosen}"
    return f"wrote {path}: the pages of `dvc plots` need no network"


def main() -> None:
    """Install the template in the current folder. Exits with 2 if that is not a project."""
    with exit_codes():
        print(install())


if __name__ == "__main__":
    main()
