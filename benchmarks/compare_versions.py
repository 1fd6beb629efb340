"""Whether two versions of odelandscape compute the same numbers.

    python -m benchmarks.compare_versions record --out before.npz --store DIR
    python -m benchmarks.compare_versions record --out after.npz --read-store DIR
    python -m benchmarks.compare_versions compare before.npz after.npz [--all]

`record` runs the version that Python imports, by its public names only: copied elsewhere, this file runs with
any checkout in PYTHONPATH. `--store` writes sweeps and a certificate into a folder, `--read-store` reads
another version's and continues copies of its sweeps. `compare` prints the quantities that differ in any bit,
by how much, and their limits; the exit status is 1 where one is beyond its limit or in one recording only.
Words, whole numbers and what was read from a store must agree exactly, losses and weights to 1e-13.
"""

import json
import platform
import shutil
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser, RawTextHelpFormatter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol

jax.config.update("jax_enable_x64", True)

FLOWS = {"gd": ol.GradientFlow(), "ngd": ol.NormalisedFlow(), "ongd": ol.OrthonormalFlow()}
FLOWS |= {"2l-gd": ol.TwoLayerFlow(), "sgd": ol.OnlineSGD(learning_rate=0.3)}
LEAKY, ERF, TANH = ol.LeakyReLU(slope=0.1), ol.Erf(), ol.Quadrature(jnp.tanh)
KEPT, CONTINUED = 96, 160  # seeds of a sweep in a store, and of the same sweep continued
SOLVER = ("time", "evaluations")  # until the rates fell below a threshold: rounding may shift them
STABILITY = ("gradient_norm", "smallest_eigenvalue")
DERIVED = (*STABILITY, "residual", "eigenvalues")

Quantities = Iterator[tuple[str, object]]


def under(name: str, quantities: Iterable[tuple[str, object]]) -> Quantities:
    """Quantities with a name in front of theirs."""
    for rest, value in quantities:
        yield f"{name}/{rest}", value


def moments() -> Quantities:
    """Gaussian integrals of each activation at 100 random covariances."""
    A = np.random.default_rng(0).standard_normal((100, 4, 4))
    C = jnp.asarray(A @ A.swapaxes(1, 2))
    for name, act in {"relu": ol.ReLU(), "leaky": LEAKY, "erf": ERF, "tanh": TANH}.items():
        yield f"{name}/I2", jax.vmap(act.I2)(C[:, :2, :2])
        yield f"{name}/I3", jax.vmap(act.I3)(C[:, :3, :3])
        if name != "tanh":  # I4 has no quadrature
            yield f"{name}/I4", jax.vmap(act.I4)(C)


def end_states(runs: ol.Sweep) -> Quantities:
    """All columns of a sweep, and the table of its families."""
    for column in ("outcome", "anti_aligned", "loss", *STABILITY, *SOLVER):
        yield column, getattr(runs, column)
    yield from (("weights", runs.weights.W), ("readout", runs.weights.v))
    summary = runs.summary()
    for name, row in summary.outcomes.items():
        if row["count"]:  # a later version may have more names
            yield f"summary/{name}/count", row["count"]
            yield f"summary/{name}/interval", row["ci95"]
    for column in ("outcome", "anti_aligned", "loss", "count"):
        yield f"summary/{column}", [getattr(family, column) for family in summary.families]


def sweep() -> Quantities:
    """Each flow at each size; one in a high dimension; other activations."""
    cases = [
        (f"{flow}/{K},{M}", ol.Problem(K, M), seeds, K if flow == "ongd" else None)
        for K, M, seeds in ((6, 6, 512), (10, 10, 256), (12, 11, 128))
        for flow in ("gd", "ngd", "ongd", "2l-gd")
    ] + [
        ("sgd/3,3", ol.Problem(3, 3), 32, None),
        ("gd/10,10 in 50 dimensions", ol.Problem(10, 10), 128, 50),
        ("gd/6,6 leaky", ol.Problem(6, 6, LEAKY), 128, None),
        ("gd/6,6 erf", ol.Problem(6, 6, ERF), 128, None),
    ]
    for name, problem, seeds, dimension in cases:
        flow = FLOWS[name.partition("/")[0]]
        runs = ol.sweep(problem, flow, seeds=seeds, dimension=dimension, progress=False)
        yield from under(name, end_states(runs))


def named(problem: ol.Problem, *alphas: int, branch: str | None = None) -> list[ol.FixedPoint]:
    """Families by their numbers of anti-aligned students."""
    found = (ol.family(problem, anti_aligned=alpha, branch=branch) for alpha in alphas)
    return [ol.fixed_point(problem, ansatz) for ansatz in found]


def family() -> Quantities:
    """Families by name, and by search."""
    square, wide = ol.Problem(10, 10), ol.Problem(12, 11)
    for name, points in {
        "10,10 named": named(square, *range(8)),
        "10,10 hidden": named(square, *range(6, 11), branch="hidden"),
        "12,11 named": named(wide, 0, 2, 3),
        "12,11 split": named(wide, 2, branch="split student"),
        "10,10 found": ol.families(square, starts=8, blocks=2),
        "12,11 found": ol.families(wide, starts=8, blocks=2),
    }.items():
        for column in ("branch", "anti_aligned", "loss", "residual"):
            yield f"{name}/{column}", [getattr(point, column) for point in points]
        yield f"{name}/parameters", [key for point in points for key in point.parameters]
        yield f"{name}/z", np.concatenate([point.z for point in points])
        yield f"{name}/weights", np.stack([point.weights.W for point in points])


def spectrum() -> Quantities:
    """By symmetry, from the dense Hessian (also beyond the teacher's span), and by Lanczos."""
    square, wide, small = ol.Problem(10, 10), ol.Problem(12, 11), ol.Problem(3, 3)
    point = named(square, 2)[0]
    start = ol.random_weights(jax.random.key(3), small, dimension=1001)
    for name, found in {
        "10,10 by symmetry": ol.spectrum(square, point),
        "10,10 by symmetry in 12 dimensions": ol.spectrum(square, point, dimension=12),
        "12,11 by symmetry": ol.spectrum(wide, named(wide, 2)[0]),
        "10,10 dense": ol.spectrum(square, point.weights),
        "10,10 dense in 12 dimensions": ol.spectrum(square, point.weights, dimension=12),
        "3,3 by Lanczos in 1001 dimensions": ol.spectrum(small, start),
    }.items():
        for column in ("eigenvalues", "multiplicities", "verdict"):
            yield f"{name}/{column}", getattr(found, column)


def claims(certificate: "ol.Certificate") -> Quantities:
    """What a certificate states, as JSON has it; without the reason, which is prose."""
    for name, value in certificate.as_json().items():
        if name not in ("odelandscape", "reason"):
            yield name, json.dumps(value, sort_keys=True)


def certificate() -> Quantities:
    """Minima, saddles, and surplus students at the teacher."""
    for K, M, *alphas in ((10, 10, 0, 1, 2, 6), (5, 5, 1), (12, 11, 0, 2)):
        for alpha, point in zip(alphas, named(ol.Problem(K, M), *alphas), strict=True):
            yield from under(f"{K},{M} α={alpha}", claims(ol.prove(point)))


def branch() -> Quantities:
    """A minimum followed in each parameter, and where its stability changes."""
    problem = ol.Problem(10, 10)
    one, two = named(problem, 1, 2)
    stops = {"teachers": 5.0, "slope": 0.3, "correlation": 0.2, "anti_aligned": 3.0}
    for parameter, stop in stops.items():
        point = two if parameter == "anti_aligned" else one
        places = list(ol.continue_family(problem, point, parameter, stop=stop, most=12))
        for column in ("value", "loss", "smallest_eigenvalue", "event"):
            yield f"{parameter}/{column}", [getattr(place, column) for place in places]
        yield f"{parameter}/z", np.stack([place.point.z for place in places])
    yield "critical_value", ol.critical_value(problem, one, "teachers", stop=5.0)


def trajectory() -> Quantities:
    """Each flow from one start, two networks that are trained, and a point that is pushed."""
    problem, key = ol.Problem(5, 4), jax.random.key(1)
    weights, times = ol.random_weights(key, problem, dimension=7), np.geomspace(0.1, 30, 12)
    paths = {name: ol.trajectory(problem, flow, weights, times) for name, flow in FLOWS.items()}
    for name in ("gd", "sgd"):
        trained = ol.train_network(problem, FLOWS[name], weights, times[:9], key=key)
        paths[f"{name} network"] = trained
    for name, path in paths.items():
        yield f"{name}/loss", path.loss
        for part in ("Q", "R", "v"):
            yield f"{name}/{part}", getattr(path.states, part)
    problem = ol.Problem(6, 6)
    pushed = ol.perturb(problem, FLOWS["gd"], named(problem, 1)[0], [1e-3, 0.1], 16, key)
    yield from (("pushed/gaps", pushed.gaps), ("pushed/outcomes", pushed.outcomes))


PARTS = {f.__name__: f for f in (moments, sweep, family, spectrum, certificate, branch, trajectory)}


def store(folder: Path, write: bool) -> Quantities:
    """What sweeps and a certificate in a folder are read as, and how copies of the sweeps continue."""
    proof = folder / "certificate.json"
    if write:
        folder.mkdir(parents=True)
        ol.prove(named(ol.Problem(8, 8), 2)[0]).save(proof)
    yield from under(proof.name, claims(ol.check_certificate(proof)))
    for name, problem, flow in (
        ("gd", ol.Problem(6, 6), FLOWS["gd"]),
        ("2l-gd-leaky", ol.Problem(4, 3, LEAKY), FLOWS["2l-gd"]),
        ("ngd-teacher", ol.Problem(2, 2, None, 0.8 * np.eye(2) + 0.2, [1.0, 0.5]), FLOWS["ngd"]),
        ("sgd", ol.Problem(2, 2), FLOWS["sgd"]),
    ):
        run = partial(ol.sweep, problem, flow, progress=False)
        if write:
            run(seeds=KEPT, store=folder / name)
        data = ol.open_sweep(folder / name)
        yield f"{name}/read/configuration", data.attrs["configuration"]
        yield from under(f"{name}/read/dataset", ((str(x), data[x]) for x in data.variables))
        yield from under(f"{name}/read", end_states(ol.read_sweep(folder / name)))
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(shutil.copytree(folder / name, Path(scratch) / name))
            before = contents(copy)
            run(seeds=KEPT, store=copy)
            yield f"{name}/nothing computed again", contents(copy) == before
            yield from under(f"{name}/continued", end_states(run(seeds=CONTINUED, store=copy)))
            yield f"{name}/files kept", before.items() <= contents(copy).items()


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of seeds."""
    return {path.name: path.read_bytes() for path in folder.glob("seeds-*")}


def record(out: Path, parts: dict[str, Callable[[], Quantities]]) -> bool:
    """Write the quantities into a file, anew after each part. A part that fails is printed and ends there,
    the others follow. Returns whether none failed."""
    versions = f"Python {platform.python_version()}, jax {jax.__version__}"
    found, whole = {"about": np.array(f"{Path(ol.__file__).parent}, {versions}")}, True
    print(found["about"], file=sys.stderr)
    for name, quantities in parts.items():
        began = time.perf_counter()
        try:
            for key, value in under(name, quantities()):
                found[key] = np.asarray(value)
        except Exception:
            traceback.print_exc()
            whole = False
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        np.savez_compressed(out, allow_pickle=False, **found)
    return whole


def limit(name: str, value: np.ndarray) -> float:
    """How far a quantity may lie from the same one of the other recording."""
    last = name.rpartition("/")[2]
    read = "/read/" in name and last != "interval"  # intervals are computed from what was read
    if read or (value.dtype.kind != "f" and last not in SOLVER):
        return 0.0
    return np.inf if last in SOLVER else 1e-10 if last in DERIVED else 1e-13


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a − b|, as a part of the smaller one where that is above 1 (a loss of 0 is known up to
    rounding only). Infinite for other shapes or words, where one of two is NaN, and where one is missing."""
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return np.inf
    if a.dtype.kind not in "fi":
        return 0.0 if np.array_equal(a, b) else np.inf
    apart = (a != b) & ~(np.isnan(a) & np.isnan(b))
    x, y = a[apart].astype(float), b[apart].astype(float)
    sizes = np.abs(x - y) / np.maximum(1, np.minimum(np.abs(x), np.abs(y)))
    return float(np.nan_to_num(sizes, nan=np.inf).max(initial=0))


def compare(files: list[Path], everything: bool) -> bool:
    """Print the table. Returns whether all is within its limits."""
    before, after = (dict(np.load(file)) for file in files)
    print(f"before: {before.pop('about')}\nafter:  {after.pop('about')}\n")
    names, identical, beyond = [*(before | after)], 0, 0
    wide = max(map(len, names))
    print(f"{'quantity':{wide}}  identical  largest difference    limit")
    for name in names:
        a, b = (recording.get(name, np.array("missing")) for recording in (before, after))
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        size, most = difference(a, b), limit(name, a)
        identical, beyond = identical + same, beyond + (size > most)
        if everything or not same:
            row = f"{name:{wide}}  {'yes' if same else 'no':9}  {size:18.1e}  {most:7.0e}"
            print(row + ("  BEYOND" if size > most else ""))
    print(f"\n{identical} of {len(names)} identical to the last bit, {beyond} beyond their limits")
    return beyond == 0


def main() -> int:
    """Run a command. Returns the exit status."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record", help="compute what this version computes")
    one.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    one.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="these parts")
    folder = one.add_mutually_exclusive_group()
    folder.add_argument("--store", type=Path, metavar="DIR", help="write sweeps into a new folder")
    folder.add_argument("--read-store", type=Path, metavar="DIR", help="read another version's")
    two = commands.add_parser("compare", help="print how two recordings differ")
    two.add_argument("files", type=Path, nargs=2, metavar="FILE.npz")
    two.add_argument("--all", action="store_true", help="print what is identical, too")
    args = parser.parse_args()
    if args.command == "compare":
        return 0 if compare(args.files, args.all) else 1
    parts: dict[str, Callable[[], Quantities]] = {name: PARTS[name] for name in args.only}
    if args.store or args.read_store:
        parts["store"] = partial(store, args.store or args.read_store, args.store is not None)
    return 0 if record(args.out, parts) else 1


if __name__ == "__main__":
    sys.exit(main())
