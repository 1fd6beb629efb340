"""A folder of results as one labelled dataset."""

import json
import os

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from ..runtime.errors import UserError
from .manifest import VARIABLES
from .store import Store


class _OnDisk(BackendArray):
    """A column over all seeds of a store, of which only what is asked for is read."""

    def __init__(self, store: Store, name: str, seeds: np.ndarray, like: np.ndarray):
        self.store, self.name, self.seeds = store, name, seeds
        self.shape = (len(seeds), *like.shape[1:])
        self.dtype = like.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        one_vector = indexing.IndexingSupport.OUTER_1VECTOR
        return indexing.explicit_indexing_adapter(key, self.shape, one_vector, self._read)

    def _read(self, key: tuple) -> np.ndarray:
        rows, *rest = key
        seeds = np.asarray(self.seeds[rows])
        wanted = np.atleast_1d(seeds)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for here, column in self.store.rows((self.name,), wanted):
            found[here] = column
        return np.asarray(found[(0 if seeds.ndim == 0 else slice(None), *rest)])


def open_sweep(folder: str | os.PathLike) -> xarray.Dataset:
    """What a sweep has left in a folder, as one dataset with names, units and the sweep's configuration.

    Dimensions are `seed` (numbered as in the sweep), `student` and `coordinate`. Numbers are read when they
    are asked for, so that a large sweep opens at once. Chunks that are damaged are named in a warning and
    left out. `.to_netcdf(FILE)` and `.to_zarr(FOLDER)` make one file of it.

    Raises ValueError if the folder holds no sweep, one in another format, or a damaged manifest.
    """
    store = Store(folder)
    seeds = store.seeds()
    first = next(iter(store.rows(tuple(VARIABLES), seeds[:1])), None)
    if first is None:
        raise UserError(f"the sweep in {str(folder)!r} has no finished seeds yet")
    columns = {}
    for (name, variable), like in zip(VARIABLES.items(), first[1:], strict=True):
        told = {"long_name": variable.description}
        if variable.units:
            told["units"] = variable.units
        lazy = indexing.LazilyIndexedArray(_OnDisk(store, name, seeds, like))
        columns[name] = xarray.Variable(variable.dimensions, lazy, told)
    students, coordinates = first[1:][list(VARIABLES).index("weights")].shape[1:]
    return xarray.Dataset(
        columns,
        coords={
            "seed": ("seed", seeds, {"long_name": "number of the start in the sweep"}),
            "student": np.arange(students),
            "coordinate": np.arange(coordinates),
        },
        attrs={
            "configuration": json.dumps(store.configuration, ensure_ascii=False),
            "configuration_hash": store.name,
            "versions": json.dumps(store.versions),
        },
    )
