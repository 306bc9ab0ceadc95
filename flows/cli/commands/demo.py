"""`stylegallery demo`: a whole run on bundled photos with the embedded model."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.commands.batch import Verbose, restyle
from flows.cli.console import print_stderr
from flows.cli.flags import StyleFlags
from flows.cli.settings import resolve

_DEFAULTS = StyleFlags()


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the inputs and the output.")] = (
        Path("demo-out")
    ),
    flags: StyleFlags = _DEFAULTS,
    verbose: Verbose = False,
) -> int:
    """Restyle bundled photos in two small galleries, and print the path of the report.

    Needs no network: scikit-image and scikit-learn ship the photos, the references are drawn from
    them, and the embedded model ships with the package.
    """
    from flows.cli.demo.inputs import write_inputs
    from tasks.manifests import builder

    products, galleries = write_inputs(out / "inputs")
    catalog, references = out / "inputs" / "catalog.parquet", out / "inputs" / "galleries.parquet"
    photos = builder.build_catalog(str(products))
    styles = builder.build_galleries(str(galleries))
    builder.write_manifest(photos, str(catalog))
    builder.write_manifest(styles, str(references))
    print_stderr(
        f"restyling {photos.num_rows} photos in two galleries; takes minutes on a laptop CPU"
    )
    paths = {"catalog": str(catalog), "galleries": [str(references)], "output": str(out)}
    return restyle(resolve(*flags.layers(), paths), verbose=verbose)
