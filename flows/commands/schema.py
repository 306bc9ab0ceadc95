"""`stylegallery schema`: the JSON Schema of what crosses a boundary."""

import json
from typing import Annotated, Final

from cyclopts import Parameter
from pydantic import BaseModel

from flows.usage import UsageError, nearest
from schemas.engine import EngineSpec
from schemas.evaluation import ItemFigures
from schemas.manifest import CatalogRow, GalleryRow
from schemas.params import StyleParams
from schemas.result import ItemResult
from schemas.run import PoolSpec, RestyleSpec, RunRecord
from schemas.work import WorkItem

MODELS: Final[dict[str, type[BaseModel]]] = {
    "catalog": CatalogRow,
    "gallery": GalleryRow,
    "params": StyleParams,
    "engine": EngineSpec,
    "pool": PoolSpec,
    "run": RestyleSpec,
    "item": WorkItem,
    "result": ItemResult,
    "figures": ItemFigures,
    "record": RunRecord,
}


def schema(
    name: Annotated[str, Parameter(help=f"One of {', '.join(MODELS)}.")],
    /,
) -> None:
    """Print the JSON Schema of a manifest row, the parameters, a result row or run.json."""
    if name not in MODELS:
        raise UsageError(
            f"there is no schema `{name}`, only {', '.join(MODELS)}{nearest(name, MODELS)}"
        )
    print(json.dumps(MODELS[name].model_json_schema(), indent=2))
