"""A folder of results as one labelled dataset. Needs NumPy and xarray only."""

import json
import os

import numpy as np
import xarray
from xarray.backends import BackendArray

# Of `xarray.core` only what xarray's documentation ("How to add a new backend", and the API reference beside
# it) names for arrays that are read lazily. Nothing outside `xarray.core` does it: a `BackendArray` by itself
# is read as soon as it is indexed, and a duck array stays what it is under `.load()`.
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    explicit_indexing_adapter,
)

from ..runtime.errors import UserError
from .manifest import VARIABLES
from .store import Store


class _StoredColumn(BackendArray):
    """A column over all seeds of a store, of which only the rows that are indexed are read."""

    def __init__(self, store: Store, name: str, seeds: np.ndarray, like: np.ndarray):
        self.store, self.name, self.seeds = store, name, seeds
        self.shape = (len(seeds), *like.shape[1:])
        self.dtype = like.dtype

    def __getitem__(self, key: ExplicitIndexer) -> np.ndarray:
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER_1VECTOR, self._read)

    def _read(self, key: tuple) -> np.ndarray:
        rows, *rest = key
        seeds = np.asarray(self.seeds[rows])
        wanted = np.atleast_1d(seeds)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for places, column in self.store.rows((self.name,), wanted):
            found[places] = column
        return np.asarray(found[(0 if seeds.ndim == 0 else slice(None), *rest)])


def open_sweep(folder: str | os.PathLike) -> xarray.Dataset:
    """Return the end states that a folder holds as one dataset with names, units and the configuration.

    Dimensions are `seed` (numbered as in the sweep), `student` and `coordinate`. Numbers are read when they
    are used, so that a large sweep opens at once. Chunks that are damaged are named in a warning and left
    out. `.to_netcdf(FILE)` and `.to_zarr(FOLDER)` make one file of it.

    Raises UserError if the folder holds no sweep, one in another format, or a damaged manifest.
    """
    store = Store(folder)
    seeds = store.seeds()
    first = next(iter(store.rows(tuple(VARIABLES), seeds[:1])), None)
    if first is None:
        raise UserError(f"the sweep in {str(folder)!r} has no finished seeds yet")
    like = dict(zip(VARIABLES, first[1:], strict=True))
    columns = {}
    for name, variable in VARIABLES.items():
        attributes = {"long_name": variable.description}
        if variable.units:
            attributes["units"] = variable.units
        lazy = LazilyIndexedArray(_StoredColumn(store, name, seeds, like[name]))
        columns[name] = xarray.Variable(variable.dimensions, lazy, attributes)
    students, coordinates = like["weights"].shape[1:]
    return xarray.Dataset(
        columns,
        coords={
            "seed": ("seed", seeds, {"long_name": "index of the start in the sweep"}),
            "student": np.arange(students),
            "coordinate": np.arange(coordinates),
        },
        attrs={
            "configuration": json.dumps(store.configuration, ensure_ascii=False),
            "configuration_hash": store.hash,
            "versions": json.dumps(store.versions),
        },
    )
