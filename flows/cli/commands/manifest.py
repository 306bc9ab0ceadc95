"""`stylegallery manifest`: make a Parquet manifest from a folder, a CSV or a JSON file."""

from typing import Annotated

from cyclopts import App, Parameter

from flows.cli.console import print_stderr
from schemas.text import counted
from tasks.manifests import builder

app = App(name="manifest", help="Make a manifest from a folder of images, a CSV or a JSON file.")

Source = Annotated[
    str,
    Parameter(
        help="Folder of images, CSV (.csv, .tsv, .txt) or JSON file (.json, .jsonl), local or "
        "s3://. `stylegallery schema catalog` and `schema gallery` list the columns."
    ),
]
Strict = Annotated[
    bool,
    Parameter(negative=(), help="Refuse a source with an invalid row."),
]
Out = Annotated[str, Parameter(name="--out", help="Parquet file to write, local or s3://.")]


@app.command
def catalog(src: Source, /, *, out: Out, strict: Strict = False) -> None:
    """Write a catalog: each sub-folder is a product, and its images are the views.

    In `photos`, `dress/front.png` and `dress/back.png` are the views `front`
    and `back` of the product `dress`, and `summer/dress/front.png` is a view
    of `summer-dress`. An image in no sub-folder, such as `shirt.png`, is the
    view `main` of the product `shirt`. Skipped files are counted and printed
    with the reason.
    """
    table = builder.build_catalog(src, print_stderr, strict=strict)
    builder.write_manifest(table, out)
    products = len(set(table["product_id"].to_pylist()))
    print_stderr(f"{out}: {counted(table.num_rows, 'photo')} of {counted(products, 'product')}")


@app.command
def gallery(src: Source, /, *, out: Out, strict: Strict = False) -> None:
    """Write galleries: each sub-folder is a gallery, and its images are the references.

    Images at any depth in a sub-folder belong to its gallery. Images in no
    sub-folder form one gallery with the name of the folder. Skipped files are
    counted and printed with the reason.
    """
    table = builder.build_galleries(src, print_stderr, strict=strict)
    builder.write_manifest(table, out)
    references = counted(table.num_rows, "reference")
    galleries = counted(len(set(table["gallery_id"].to_pylist())), "gallery")
    print_stderr(f"{out}: {references} in {galleries}")
