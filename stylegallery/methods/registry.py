"""Find the class of a method by the method's name.

To add a method, write a file here, named like the method with underscores for hyphens, that
defines one subclass of :class:`stylegallery.methods.base.StyleMethod`, and add the name to
`Method` in `schemas/methods.py`.
"""

from importlib import import_module

from schemas.methods import Method
from stylegallery.methods.base import StyleMethod


def method_class(name: Method) -> type[StyleMethod]:
    """Return the one subclass of StyleMethod that the method's module defines.

    Raises:
        TypeError: the module defines none or several.
    """
    module = import_module(f"stylegallery.methods.{name.replace('-', '_')}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, StyleMethod)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define one subclass of StyleMethod, not {found}")
    return found[0]
