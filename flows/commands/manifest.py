"""`stylegallery manifest`: a folder, CSV or JSON Lines file becomes a Parquet manifest."""

from typing import Annotated

from cyclopts import App, Parameter

from flows.console import say
from tasks import manifest_files

app = App(
    name="manifest", help="Turn a folder of images, a CSV or a JSON Lines file into a manifest."
)

Source = Annotated[
    str,
    Parameter(
        help="Folder, CSV (.csv, .tsv, .txt) or JSON (.json, .jsonl), local or s3://. Columns are "
        "those of the schema."
    ),
]
Strict = Annotated[
    bool,
    Parameter(negative=(), help="Refuse a source with a row that cannot be used."),
]
Out = Annotated[str, Parameter(name="--out", help="Parquet file to write, local or s3://.")]


@app.command
def catalog(src: Source, /, *, out: Out, strict: Strict = False) -> None:
    """Write a catalog: in a folder each image is a product, each sub-folder a product's views."""
    table = manifest_files.catalog_from(src, strict=strict)
    manifest_files.write_manifest(table, out)
    say(f"{out}: {table.num_rows} photos")


@app.command
def gallery(src: Source, /, *, out: Out, strict: Strict = False) -> None:
    """Write galleries: each sub-folder is a gallery and its images are the references."""
    table = manifest_files.gallery_from(src, strict=strict)
    manifest_files.write_manifest(table, out)
    galleries = len(set(table["gallery_id"].to_pylist()))
    say(f"{out}: {table.num_rows} references in {galleries} galleries")
