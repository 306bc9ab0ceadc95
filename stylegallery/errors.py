"""Errors of the engine. Each message is one sentence that names the remedy."""


class StyleGalleryError(Exception):
    """Base class of the engine's errors."""


class InputError(StyleGalleryError):
    """The user's input is at fault; a retry cannot help."""


class BadImage(InputError):
    """An image is unreadable, too small, too large or animated."""


class BadMask(InputError):
    """A label or protection image is unreadable or does not fit its photo."""


class BadRouting(InputError):
    """A routing is unreadable, names unknown regions or references, or belongs to other images."""


class BadReferences(InputError):
    """There are no references, or their weights are invalid."""


class ModelNotFound(StyleGalleryError):
    """A model, LoRA or device is not available."""


class UnsupportedModel(StyleGalleryError):
    """A model is of a kind that the engine does not support."""


class DidNotConverge(StyleGalleryError):
    """A loss is not finite."""
