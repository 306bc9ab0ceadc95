"""Load the engine of a Ray process, with all that its items share."""

from functools import lru_cache
from typing import TYPE_CHECKING

from stylegallery.models.threads import limit_spinning
from tasks.logs import configure_actor_logs
from tasks.messages import ActorSetup

if TYPE_CHECKING:
    from tasks.items.context import ActorContext


def load_context(setup: ActorSetup) -> "ActorContext":
    """Load the engine; the driver imports this module, but not torch.

    Raises:
        StyleGalleryError: the model cannot be loaded or takes no text.
    """
    limit_spinning()
    import torch

    from stylegallery import StyleGallery
    from tasks.items.context import ActorContext

    configure_actor_logs(setup.run_id)
    if setup.threads:
        torch.set_num_threads(setup.threads)
    engine = StyleGallery.load(setup.engine)
    engine.encode_prompts(setup.params)
    return ActorContext(
        engine,
        setup.output,
        setup.params,
        fingerprint=setup.engine_fingerprint,
        learning_base=setup.learning_base,
        run_id=setup.run_id,
        refused=dict(setup.refused),
        batch=setup.batch,
    )


@lru_cache(1)
def shared_context(setup: ActorSetup) -> "ActorContext":
    """Return the context of this process, which keeps its engine for the next Ray task."""
    return load_context(setup)
