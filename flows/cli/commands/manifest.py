"""`stylegallery manifest`: a folder, CSV or JSON Lines file becomes a Parquet manifest."""

from typing import Annotated

from cyclopts import App, Parameter

from flows.cli.console import say
from schemas.text import counted
from tasks.manifests import builder

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
    """Write a catalog: each sub-folder is a product, and the images in it its views.

    In `photos`, `dress/front.png` and `dress/back.png` are the views `front`
    and `back` of the product `dress`, and `summer/dress/front.png` is a view
    of `summer-dress`. An image in no sub-folder, such as `shirt.png`, is the
    view `main` of a product of its own, `shirt`. What is left out is told.
    """
    table = builder.build_catalog(src, say, strict=strict)
    builder.write_manifest(table, out)
    products = len(set(table["product_id"].to_pylist()))
    say(f"{out}: {counted(table.num_rows, 'photo')} of {counted(products, 'product')}")


@app.command
def gallery(src: Source, /, *, out: Out, strict: Strict = False) -> None:
    """Write galleries: each sub-folder is a gallery, the images in it its references.

    Images at any depth in a sub-folder belong to its gallery. Images in no
    sub-folder form one gallery, named after the folder. What is left out is
    told.
    """
    table = builder.build_galleries(src, say, strict=strict)
    builder.write_manifest(table, out)
    references = counted(table.num_rows, "reference")
    galleries = counted(len(set(table["gallery_id"].to_pylist())), "gallery")
    say(f"{out}: {references} in {galleries}")
