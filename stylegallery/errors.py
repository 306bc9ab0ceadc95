"""What can go wrong in the engine. Each message is one sentence that names the remedy."""


class StyleGalleryError(Exception):
    """Base of all errors that the engine raises on purpose."""


class InputError(StyleGalleryError):
    """What the user handed in is at fault; trying again cannot help."""


class BadImage(InputError):
    """An image cannot be used: unreadable, too small, too large, animated."""


class BadMask(InputError):
    """A label or protection image does not fit its photo."""


class BadRouting(InputError):
    """A routing is unreadable, names what does not exist or was made for other images."""


class BadReferences(InputError):
    """There are no references, or their weights cannot be used."""


class ModelNotFound(StyleGalleryError):
    """A model folder or hub id cannot be loaded."""


class UnsupportedModel(StyleGalleryError):
    """A model loads, but its kind is not one the engine knows."""


class DidNotConverge(StyleGalleryError):
    """The optimisation produced numbers that are not finite."""
