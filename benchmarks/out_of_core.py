"""Time of a pass over rows that are not in memory, and how much memory that takes.

    python benchmarks/out_of_core.py [--rows 100000000] [--compressions none,snappy]
                                     [--folder DIR] [--quick] [--json FILE]

Rows of 16 float32 features from 16 overlapping components go to Parquet files of 10,000,000 rows
in row groups of 1,000,000, and some of them to one ``.npy`` file. Then, each in a process of its
own, in turn:

- decoding: all batches are read as a fit reads them, and nothing is computed;
- computing: a fit to as many rows of the ``.npy`` file as one Parquet file has, all in memory; its
  times count as many times as there are more rows;
- mapped: the same, from a map of the file, which the system has in memory;
- streamed: a fit to the Parquet files.

A pass is the time between two iterations of one fit (one M-step and one pass over the rows), so
that neither the first look at the rows nor the start counts. A streamed pass can take no less than
decoding, than computing, or than the processor time of both over the number of cores. Fails where
it takes more than 1.3 times the largest of them, where a mapped pass takes more than 1.1 times one
in memory, or where the streamed fit needs more than 1.5 GB.

All files are removed at the end. 100,000,000 rows take 6.4 GB of disk and 0.64 GB besides.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emfast import GaussianMixture
from emfast.data import observe
from measure import environment, pin, print_environment, status_mib, write_json
from progress import progress

FEATURES = COMPONENTS = 16
FILE_ROWS = 10_000_000
GROUP_ROWS = 1_000_000
QUICK_ROWS = 250_000
# Root mean square distance between two means; deviations are about 1.
SEPARATION = 4.0
# What a streamed pass may take of the largest limit, a mapped one of one in memory, and MB.
MOST_STREAMED, MOST_MAPPED, MOST_MEMORY = 1.3, 1.1, 1500.0
COMPRESSIONS = ("none", "snappy")


class Mixture:
    """Rows of a mixture, as many as are asked for, one portion after the other."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)
        spread = SEPARATION / np.sqrt(2 * FEATURES)
        self._means = spread * self._normal(FEATURES, COMPONENTS)
        self._deviations = self._generator.uniform(0.5, 1.5, (FEATURES, COMPONENTS))

    def _normal(self, *shape: int) -> np.ndarray:
        return self._generator.standard_normal(shape, np.float32)

    def columns(self, n_rows: int) -> np.ndarray:
        """Rows that come next, (n_features, n_rows), float32."""
        component = self._generator.integers(COMPONENTS, size=n_rows)
        columns = self._normal(FEATURES, n_rows)
        columns *= self._deviations.astype(np.float32)[:, component]
        columns += self._means[:, component]
        return columns


def write_parquet(
    folder: Path, n_rows: int, compression: str, step: Callable[[str], None]
) -> list[Path]:
    """Files of a data set, which are the same whatever the compression but for their bytes."""
    mixture, names = Mixture(), [f"x{d}" for d in range(FEATURES)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    paths = []
    for number, first in enumerate(range(0, n_rows, FILE_ROWS)):
        step(f"writing file {number}, {compression}")
        paths.append(folder / f"part-{number:04}.parquet")
        stop = min(first + FILE_ROWS, n_rows)
        with pq.ParquetWriter(paths[-1], schema, compression=compression) as writer:
            for start in range(first, stop, GROUP_ROWS):
                columns = mixture.columns(min(GROUP_ROWS, stop - start))
                table = pa.Table.from_arrays([pa.array(column) for column in columns], names)
                writer.write_table(table, row_group_size=GROUP_ROWS)
    return paths


def write_npy(path: Path, parquet: Path) -> int:
    """The rows of a Parquet file as an array; how many there are."""
    file = pq.ParquetFile(parquet)
    shape = (file.metadata.num_rows, FEATURES)
    rows, start = np.lib.format.open_memmap(path, "w+", np.float32, shape), 0
    for batch in file.iter_batches(GROUP_ROWS):
        rows[start : start + len(batch)] = np.stack(batch.columns, axis=1)
        start += len(batch)
    rows.flush()
    return start


class Laps:
    """The callback of a fit: notes when its iterations end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def __call__(self, _iteration: Any = None) -> None:
        self.seconds.append(time.perf_counter())
        self.cpu_seconds.append(time.process_time())

    def passes(self) -> dict:
        """Seconds and processor seconds between the ends, and the most memory there ever was."""
        return {
            "seconds": np.diff(self.seconds).tolist(),
            "cpu_seconds": np.diff(self.cpu_seconds).tolist(),
            # Decimal, as the limit is.
            "peak_mb": status_mib("VmHWM") * 2**20 / 1e6,
        }


def mixture_from(first_rows: np.ndarray, n_passes: int, laps: Laps | None) -> GaussianMixture:
    """A mixture whose fit starts from these means, and goes over the rows so often."""
    return GaussianMixture(
        COMPONENTS,
        covariance_type="diag",
        weights_init=np.full(COMPONENTS, 1 / COMPONENTS),
        means_init=first_rows.astype(np.float64),
        covariances_init=np.ones((COMPONENTS, FEATURES)),
        tol=0,
        # The end of the first iteration is where the first lap begins.
        max_iter=n_passes + 1,
        callback=laps,
    )


def start_of(npy: Path) -> np.ndarray:
    return np.array(np.load(npy, mmap_mode="r")[:COMPONENTS])


def decode(source: str, npy: Path, n_passes: int) -> dict:
    """Passes over the batches of a fit in which nothing is computed."""
    observer = observe(mixture_from(start_of(npy), 1, None), source, None, None)
    laps = Laps()
    # As in a fit, the end of the first pass is where the first lap begins.
    for _ in range(n_passes + 1):
        n_rows = sum(portion.n_rows for portion in observer.portions())
        laps()
    return {**laps.passes(), "rows": n_rows}


def fit(source: str | Path, npy: Path, n_passes: int, mmap_mode: str | None = None) -> dict:
    """Passes of a fit; an array is loaded before, as a map or into memory."""
    laps = Laps()
    X = np.load(source, mmap_mode=mmap_mode) if isinstance(source, Path) else source
    fitted = mixture_from(start_of(npy), n_passes, laps).fit(X)
    return {**laps.passes(), "log_likelihood": fitted.lower_bound_}


def in_own_process(function: Callable[..., dict], *arguments: Any) -> dict:
    """What it returns, of a process that has done nothing before."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measure(
    parquet: list[Path],
    npy: Path,
    n_passes: int,
    rounds: int,
    step: Callable[[str], None],
) -> dict[str, dict]:
    """All parts, in turn, several rounds of it."""
    source = str(parquet[0].parent / "*.parquet")
    parts = {
        "decoding": (decode, source, npy, n_passes),
        "computing": (fit, npy, npy, n_passes),
        "mapped": (fit, npy, npy, n_passes, "r"),
        "streamed": (fit, source, npy, n_passes),
    }
    found: dict[str, dict] = {}
    for _ in range(rounds):
        for name, (function, *arguments) in parts.items():
            step(name)
            result = in_own_process(function, *arguments)
            merged = found.setdefault(name, {**result, "seconds": [], "cpu_seconds": []})
            merged["seconds"] += result["seconds"]
            merged["cpu_seconds"] += result["cpu_seconds"]
            merged["peak_mb"] = max(merged["peak_mb"], result["peak_mb"])
    return found


def judge(parts: dict[str, dict], times_as_many: float, cores: int) -> dict:
    """Least times of a pass over all rows, what limits a streamed one, and the ratios to that.

    Parameters
    ----------
    parts : see `measure`
    times_as_many : float, rows of all files over rows in memory
    cores : int
    """
    least = {name: min(part["seconds"]) for name, part in parts.items()}
    cpu = {name: min(part["cpu_seconds"]) for name, part in parts.items()}
    limits = {
        "decoding": least["decoding"],
        "computing": times_as_many * least["computing"],
        "processors": (cpu["decoding"] + times_as_many * cpu["computing"]) / cores,
    }
    return {
        "limits": limits,
        "streamed_seconds": least["streamed"],
        "streamed_cpu_seconds": cpu["streamed"],
        "streamed_ratio": least["streamed"] / max(limits.values()),
        "mapped_ratio": least["mapped"] / least["computing"],
        "streamed_peak_mb": parts["streamed"]["peak_mb"],
    }


def complaints(row: dict) -> list[str]:
    """What is above the limits that are hoped for."""
    found = []
    for name, most in (
        ("streamed_ratio", MOST_STREAMED),
        ("mapped_ratio", MOST_MAPPED),
        ("streamed_peak_mb", MOST_MEMORY),
    ):
        if not row[name] <= most:
            found.append(f"{row['compression']}: {name} is {row[name]:.4g}; at most {most:g}")
    return found


def print_row(row: dict) -> None:
    limits = row["limits"]
    print(
        f"{row['rows']} x {FEATURES}, {row['compression']}, {row['bytes'] / 1e9:.2f} GB; "
        f"s of a pass: decoding {limits['decoding']:.2f}, computing {limits['computing']:.2f}, "
        f"processors {limits['processors']:.2f}; streamed {row['streamed_seconds']:.2f}, "
        f"{row['streamed_ratio']:.2f} times the largest, with at most "
        f"{row['streamed_peak_mb']:.0f} MB; mapped {row['mapped_ratio']:.2f} times in memory",
        flush=True,
    )


def run_with(compression: str, folder: Path, arguments: argparse.Namespace, step: Any) -> dict:
    """Write, measure and remove the files of one compression."""
    with tempfile.TemporaryDirectory(prefix="emfast-out-of-core-", dir=folder) as place:
        parquet = write_parquet(Path(place), arguments.rows, compression, step)
        npy = Path(place) / "rows.npy"
        npy_rows = write_npy(npy, parquet[0])
        parts = measure(parquet, npy, arguments.passes, arguments.rounds, step)
        size = sum(path.stat().st_size for path in parquet)
    found = judge(parts, arguments.rows / npy_rows, arguments.threads)
    return {
        "compression": compression,
        "rows": arguments.rows,
        "rows_in_memory": npy_rows,
        "features": FEATURES,
        "components": COMPONENTS,
        "bytes": size,
        **found,
        "parts": parts,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=None, help="default: 100,000,000")
    parser.add_argument("--compressions", default="none", help=f"some of {','.join(COMPRESSIONS)}")
    parser.add_argument("--passes", type=int, default=4, help="of a fit that are timed")
    parser.add_argument("--rounds", type=int, default=2, help="fits of every kind")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the files"
    )
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="few rows, and no limit is checked")
    parser.add_argument("--json", type=Path, default=None, help="where to write the raw results")
    arguments = parser.parse_args()
    if arguments.rows is None:
        arguments.rows = QUICK_ROWS if arguments.quick else 100_000_000
    arguments.compressions = arguments.compressions.split(",")
    if not set(arguments.compressions) <= set(COMPRESSIONS):
        parser.error(
            f"--compressions: found {','.join(arguments.compressions)!r}; expected some of "
            f"{list(COMPRESSIONS)}"
        )
    for name, least in (("rows", COMPONENTS), ("passes", 1), ("rounds", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name}: found {getattr(arguments, name)}; expected at least {least}")
    if not arguments.folder.is_dir():
        parser.error(f"--folder: there is no folder {arguments.folder}")
    needed = 4 * FEATURES * 1.1 * (arguments.rows + min(arguments.rows, FILE_ROWS))
    free = shutil.disk_usage(arguments.folder).free
    if free < needed:
        parser.error(
            f"--folder: {arguments.folder} has {free / 1e9:.1f} GB free; expected at least "
            f"{needed / 1e9:.1f} GB for {arguments.rows} rows"
        )
    return arguments


def main() -> int:
    arguments = parse()
    arguments.threads = pin(arguments.threads)
    facts = environment(arguments.threads)
    facts["versions"]["pyarrow"] = pa.__version__
    print_environment(facts)
    n_files = -(-arguments.rows // FILE_ROWS)
    rows = []
    with progress(len(arguments.compressions) * (n_files + 4 * arguments.rounds)) as step:
        for compression in arguments.compressions:
            rows.append(run_with(compression, arguments.folder, arguments, step))
            print_row(rows[-1])
            write_json(arguments.json, {"kind": "out_of_core", **facts, "results": rows})
    found = [] if arguments.quick else [each for row in rows for each in complaints(row)]
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
