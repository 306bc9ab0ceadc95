"""What a benchmark writes: one row per picture that a method made."""

from pydantic import Field

from schemas.evaluation import ItemMetrics
from schemas.methods import Method
from schemas.presets import Preset


class BenchmarkRow(ItemMetrics):
    """One content restyled by one method at one preset with some references."""

    pair: str = Field(description="Which content with which references.")
    content: str = Field(description="File name of the content, without its ending.")
    family: str = Field(description="Family of the references.")
    method: Method = Field(description="Algorithm.")
    preset: Preset = Field(description="Its settings.")
    references: int = Field(description="How many references it was given.")
    seconds: float = Field(description="Time of matching and restyling, images prepared before.")
