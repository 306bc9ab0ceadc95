"""`stylegallery demo`: the whole job on bundled photos with the embedded model."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.commands.batch import Verbose, restyle
from flows.console import say
from flows.flags import StyleFlags
from flows.settings import resolve

_DEFAULTS = StyleFlags()


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the inputs and everything that comes out.")] = (
        Path("demo-out")
    ),
    flags: StyleFlags = _DEFAULTS,
    verbose: Verbose = False,
) -> int:
    """Restyle bundled photos in two small galleries, and print where the report is.

    Needs no network: photos come from scikit-image and scikit-learn, references are drawn from
    them, and the embedded model ships with the package.
    """
    from flows.demo_inputs import write_inputs
    from tasks import manifest_files

    products, galleries = write_inputs(out / "inputs")
    catalog, references = out / "inputs" / "catalog.parquet", out / "inputs" / "galleries.parquet"
    photos = manifest_files.catalog_from(str(products))
    styles = manifest_files.gallery_from(str(galleries))
    manifest_files.write_manifest(photos, str(catalog))
    manifest_files.write_manifest(styles, str(references))
    say(f"restyling {photos.num_rows} photos in two galleries; some minutes on a laptop's CPU")
    where = {"catalog": str(catalog), "galleries": [str(references)], "output": str(out)}
    return restyle(resolve(*flags.layers(), where), verbose=verbose)
