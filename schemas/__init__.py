"""The nouns of StyleGallery: what crosses a boundary, as pydantic models and Arrow schemas.

Nothing here imports torch, ray or prefect, so the command line and the Prefect form start fast.
Every field carries a description; descriptions become CLI help, the Prefect form and the
metadata of the Parquet columns.
"""
