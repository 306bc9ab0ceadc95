"""The kinds of model that every schema builds on."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Frozen(BaseModel):
    """Immutable and strict about names: an unknown field is an error, never silently dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Frozen):
    """Settings of a user; former names of fields are still read.

    Attributes:
        renamed: Former name to the name of the field.
    """

    renamed: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_new_names(cls, given: Any) -> Any:
        """Read fields by their former names; where both are given, the new one wins."""
        if not isinstance(given, dict):
            return given
        old = {cls.renamed[name]: given[name] for name in cls.renamed.keys() & given.keys()}
        kept = {name: value for name, value in given.items() if name not in cls.renamed}
        return {**old, **kept} if old else given


class Row(Frozen):
    """A model that is one row of a Parquet table (see :func:`schemas.arrow.arrow_schema`)."""
