"""Objects named by where they are: `module:object`."""

from importlib import import_module


def load(place: str) -> object:
    """Return the object at `module:object`, such as `odelandscape.flows.gradient:GradientFlow`.

    Raises ImportError if there is no such module, AttributeError if it has no such object.
    """
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def load_class(table: dict[str, str], name: str) -> type:
    """Return the class of this name among the objects of a table of places.

    Raises KeyError if the table has none.
    """
    for place in table.values():
        if place.endswith(f":{name}"):
            found = load(place)
            assert isinstance(found, type)
            return found
    raise KeyError(name)
