"""The two kinds of model every schema builds on."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable and strict about names: an unknown field is an error, never silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Frozen):
    """A model that is one row of a Parquet table (see :func:`schemas.arrow.arrow_schema`)."""
