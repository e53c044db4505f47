"""Milliseconds per EM iteration, peak extra memory and log-likelihood of emfast and its peers.

    python benchmarks/compare.py [--peers emfast,numpy,sklearn,daal4py,hmmlearn] [--rows diag,full]
                                 [--scale 1] [--dtype float64] [--json FILE]

All peers run in this process, in turn, from the same start, on the same rows. A row of the table
says the least and the median time of an iteration (one M-step and one E-step), and the ratios to
those of emfast. The log-likelihoods of emfast, NumPy and scikit-learn after equally many M-steps
must agree, or the row is void and the command fails; the deviation of other peers is printed beside
their time.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from dependent import DEPENDENT
from measure import PeakMemory, environment, pin, print_environment, write_json
from peers import PEERS, Outcome, PeerFailure
from progress import progress
from workloads import WORKLOADS, Workload, add_options, chosen

# Relative, between log-likelihoods of the same rows; peers sum float32 rows in single precision.
AGREEMENT = {"float64": 1e-8, "float32": 1e-3}
INSTALL = "pip install -r benchmarks/requirements-peers.txt"


def measure(
    workload: Workload,
    peers: list[str],
    n_iter: int,
    repeats: int,
    threads: int,
    dtype: str = "float64",
    step=lambda description: None,
) -> dict[str, dict]:
    """Times of iterations in ms, log-likelihood in nats and memory in MiB of every peer.

    A peer that fails has its ``failure`` instead; one that has no such model is left out.
    """
    step(f"{workload}: data")
    X = workload.rows(dtype)
    start = workload.start(X)
    results, outcomes = {}, {}
    for repeat in range(repeats + 1):
        for peer in peers:
            step(f"{workload}: {peer}")
            result = results.setdefault(peer, {"ms": []})
            if "failure" in result:
                continue
            try:
                with PeakMemory() as memory:
                    outcome = PEERS[peer].run(workload, X, start, n_iter, threads)
            except PeerFailure as failure:
                result["failure"] = str(failure)
                continue
            outcomes[peer] = outcome
            result.setdefault("memory_mib", memory.extra)
            # The first repeat warms caches and thread pools up.
            if outcome is not None and (repeat > 0 or repeats == 0):
                result["ms"] += [1e3 * float(seconds) for seconds in outcome.seconds]
    return {
        peer: summary(result, outcomes.get(peer))
        for peer, result in results.items()
        if "failure" in result or outcomes[peer] is not None
    }


def summary(result: dict, outcome: Outcome | None) -> dict:
    """`result` with its least and median time and its log-likelihood, or only its failure."""
    if "failure" in result:
        return {"failure": result["failure"]}
    try:
        log_likelihood = outcome.log_likelihood()
    except PeerFailure as failure:
        return {"failure": str(failure)}
    return {
        **result,
        "least_ms": min(result["ms"]),
        "median_ms": float(np.median(result["ms"])),
        "log_likelihood": log_likelihood,
    }


def judge(workload: Workload, results: dict[str, dict], dtype: str) -> dict:
    """A row of the table: results with ratios, deviations, and whether it is void."""
    fitted = {peer: result for peer, result in results.items() if "failure" not in result}
    exact = [result["log_likelihood"] for peer, result in fitted.items() if PEERS[peer].exact]
    values = exact or [result["log_likelihood"] for result in fitted.values()]
    for result in fitted.values():
        result["deviation"] = (result["log_likelihood"] - values[0]) / abs(values[0])
        if "emfast" in fitted:
            result["ratio"] = result["least_ms"] / fitted["emfast"]["least_ms"]
            result["median_ratio"] = result["median_ms"] / fitted["emfast"]["median_ms"]
    spread = float(np.ptp(exact) / abs(exact[0])) if exact else 0.0
    # A log-likelihood that is not a number agrees with nothing.
    void = not spread <= AGREEMENT[dtype]
    return {
        "workload": workload.as_dict(),
        "log_likelihood": values[0] if values else None,
        "spread": spread,
        "void": void,
        "results": results,
    }


def columns(peer: str) -> dict[str, Callable[[dict], str]]:
    """Headers of a peer's columns, and how each shows a result."""
    shown = {f"{peer} ms": lambda result: f"{result['least_ms']:.1f} ({result['median_ms']:.1f})"}
    if peer != "emfast":
        shown["ratio"] = lambda result: (
            f"{result['ratio']:.1f} ({result['median_ratio']:.1f})" if "ratio" in result else "-"
        )
    shown["MiB"] = lambda result: (
        "?" if result["memory_mib"] is None else f"{result['memory_mib']:.0f}"
    )
    if not PEERS[peer].exact:
        shown["deviation"] = lambda result: f"{result['deviation']:+.0e}"
    return shown


def header(peers: list[str]) -> list[str]:
    return [
        "workload (N x D, K)",
        *(name for peer in peers for name in columns(peer)),
        "log-likelihood",
    ]


def line(row: dict, peers: list[str]) -> list[str]:
    """Cells of one row of the table."""
    cells = [row["workload"]["name"]]
    for peer in peers:
        result, shown = row["results"].get(peer), columns(peer)
        if result is None:
            cells += ["-"] * len(shown)
        elif "failure" in result:
            cells += ["failed", *["-"] * (len(shown) - 1)]
        else:
            cells += [show(result) for show in shown.values()]
    if row["void"]:
        return [*cells, "void"]
    value = row["log_likelihood"]
    return [*cells, "-" if value is None else f"{value:.8f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated")
    add_options(parser, 4.0, "of the components, in standard deviations")
    parser.add_argument("--dtype", choices=list(AGREEMENT), default="float64")
    parser.add_argument("--iterations", type=int, default=4, help="M-steps of one run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of every peer after warm-up")
    arguments = parser.parse_args()
    arguments.peers = arguments.peers.split(",")
    unknown = [peer for peer in arguments.peers if peer not in PEERS]
    if unknown:
        parser.error(f"--peers: found {unknown}; expected names among {list(PEERS)}")
    if arguments.iterations < 2:
        parser.error(
            f"--iterations: found {arguments.iterations}; expected at least 2, because the first "
            "cannot be told from the start"
        )
    return arguments


def main() -> int:
    arguments = parse()
    peers = [peer for peer in arguments.peers if PEERS[peer].installed]
    missing = [peer for peer in arguments.peers if peer not in peers]
    workloads = chosen(arguments.rows, arguments.scale, arguments.separation, WORKLOADS + DEPENDENT)
    threads = pin(arguments.threads)
    options = {name: value for name, value in vars(arguments).items() if name != "json"}
    n_iter, repeats, dtype = arguments.iterations, arguments.repeats, arguments.dtype
    rows = []
    steps = len(workloads) * (1 + len(peers) * (repeats + 1))
    with threadpool_limits(threads), progress(steps) as step:
        facts = environment(threads)
        print_head(facts, peers, missing, dtype, arguments.separation)
        for workload in workloads:
            results = measure(workload, peers, n_iter, repeats, threads, dtype, step)
            rows.append(judge(workload, results, dtype))
            print("| " + " | ".join(line(rows[-1], peers)) + " |", flush=True)
            # Row by row, so that what is interrupted keeps what it has.
            contents = {"kind": "compare", **facts, "options": options, "missing": missing}
            write_json(arguments.json, {**contents, "rows": rows})
    return complain(rows, dtype)


def print_head(
    facts: dict, peers: list[str], missing: list[str], dtype: str, separation: float
) -> None:
    """Print what stands above the rows of the table."""
    print_environment(facts)
    for peer in missing:
        print(f"{peer}: not installed, skipped ({INSTALL})")
    print(
        f"{dtype}, separation {separation:g}; ms per iteration and ratios: "
        "least (median); MiB: peak memory beyond the data\n"
    )
    print("| " + " | ".join(header(peers)) + " |")
    print("|" + "---|" * len(header(peers)), flush=True)


def complain(rows: list[dict], dtype: str) -> int:
    """Name failures and void rows on stderr; 1 if a row is void."""
    for row in rows:
        for peer, result in row["results"].items():
            if "failure" in result:
                print(f"{row['workload']['name']}: {peer}: {result['failure']}", file=sys.stderr)
    void = [row for row in rows if row["void"]]
    for row in void:
        print(
            f"void: {row['workload']['name']}: log-likelihoods differ by {row['spread']:.1e} "
            f"relative; expected at most {AGREEMENT[dtype]:g}",
            file=sys.stderr,
        )
    return 1 if void else 0


if __name__ == "__main__":
    sys.exit(main())
