"""Milliseconds per EM iteration, peak extra memory and log-likelihood of emfast and its peers.

    python benchmarks/compare.py [--peers emfast,numpy,sklearn] [--rows diag,full] [--scale 1]

All peers run in this process, in turn, from the same start, on the same rows. A row of the table
says the least and the median time of an iteration (one M-step and one E-step); the log-likelihoods
after equally many M-steps must agree to 1e-8 relative, or the command fails.
"""

import argparse
import sys
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits

from emfast.threads import resolve_threads
from measure import PeakMemory, machine
from peers import PEERS
from workloads import WORKLOADS, Workload

AGREEMENT = 1e-8


def measure(workload: Workload, peers: list[str], n_iter: int, repeats: int, threads: int) -> dict:
    """Times of iterations in milliseconds, log-likelihood and memory of every peer."""
    X = workload.rows()
    start = workload.start(X)
    results = {}
    for repeat in range(repeats + 1):
        for peer in peers:
            with PeakMemory() as memory:
                outcome = PEERS[peer](workload, X, start, n_iter, threads)
            if outcome is None:
                continue
            moments, log_likelihood = outcome
            times = np.diff(moments) * 1e3
            result = results.setdefault(peer, {"times": [], "memory": memory.extra})
            result["log_likelihood"] = log_likelihood
            # The first repeat warms caches and thread pools up.
            if repeat > 0 or repeats == 0:
                result["times"] += [float(ms) for ms in times if np.isfinite(ms)]
    return results


def line(workload: Workload, results: dict, peers: list[str]) -> list[str]:
    """Cells of one row of the table."""
    least = {peer: min(result["times"]) for peer, result in results.items()}
    cells = [str(workload)]
    for peer in peers:
        if peer not in results:
            cells += ["-"] * (2 if peer == "emfast" else 3)
            continue
        result = results[peer]
        cells.append(f"{least[peer]:.1f} ({np.median(result['times']):.1f})")
        if peer != "emfast":
            cells.append(f"{least[peer] / least['emfast']:.1f}" if "emfast" in least else "-")
        memory = result["memory"]
        cells.append("?" if memory is None else f"{memory:.0f}")
    cells.append(f"{next(iter(results.values()))['log_likelihood']:.8f}")
    return cells


def disagreement(results: dict) -> float:
    """Largest relative difference between the peers' log-likelihoods."""
    values = [result["log_likelihood"] for result in results.values()]
    return (max(values) - min(values)) / abs(values[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    parser.add_argument(
        "--rows", default="", help="only workloads whose name contains one of these"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the rows of the data")
    parser.add_argument(
        "--separation", type=float, default=4.0, help="of the components, in standard deviations"
    )
    parser.add_argument("--iterations", type=int, default=4, help="M-steps of one run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of every peer after warm-up")
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown:
        parser.error(f"--peers: found {unknown}; expected names among {list(PEERS)}")
    threads = resolve_threads(arguments.threads)
    chosen = [
        replace(workload, separation=arguments.separation).scaled(arguments.scale)
        for workload in WORKLOADS
        if any(part in str(workload) for part in arguments.rows.split(","))
    ]

    print(f"{machine()}; {threads} threads")
    print(", ".join(f"{name} {version(name)}" for name in ("emfast", "numpy", "scikit-learn")))
    print("ms per iteration: least (median); MiB: peak memory beyond the data\n")
    header = ["workload (N x D, K)"]
    for peer in peers:
        header += [f"{peer} ms", "MiB"] if peer == "emfast" else [f"{peer} ms", "ratio", "MiB"]
    header.append("log-likelihood")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header), flush=True)
    void = []
    with threadpool_limits(threads):
        for workload in chosen:
            results = measure(workload, peers, arguments.iterations, arguments.repeats, threads)
            print("| " + " | ".join(line(workload, results, peers)) + " |", flush=True)
            if disagreement(results) > AGREEMENT:
                void.append(f"{workload}: {disagreement(results):.1e}")
    for row in void:
        print(f"void, log-likelihoods differ by {row} relative", file=sys.stderr)
    return 1 if void else 0


if __name__ == "__main__":
    sys.exit(main())
