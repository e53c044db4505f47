"""Draw files of results; nothing is measured here.

    python benchmarks/plots.py benchmarks/results/*.json

Each picture is written beside its file, as PNG. Files of a kind that has no picture are named.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from measure import is_quiet

# Colours that people who do not see all colours tell apart (Okabe and Ito).
COLOURS = {
    "emfast": "#222222",
    "numpy": "#0072B2",
    "sklearn": "#E69F00",
    "daal4py": "#009E73",
    "hmmlearn": "#CC79A7",
    "hmmlearn-log": "#56B4E9",
    "diag": "#0072B2",
    "full": "#D55E00",
    "tied": "#009E73",
    "spherical": "#CC79A7",
    "bernoulli": "#E69F00",
    "float64": "#0072B2",
    "float32": "#D55E00",
}
MARKERS = {"diag": "o", "full": "s", "tied": "^", "spherical": "D", "bernoulli": "v"}
NAMES = {
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "daal4py": "oneDAL",
    "hmmlearn": "hmmlearn, scaled",
    "hmmlearn-log": "hmmlearn, logarithms",
}
# What is hoped for; `benchmarks/README.md` tells the targets.
TARGETS = {"x86_64_v3 speed": 0.4, "float32 speed": 1.6, "threads float64": 1.85}


def plain_number(value: float, _position: int | None = None) -> str:
    """Of a tick: 10k rather than 1e+04."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def subtitle(results: dict) -> str:
    """Machine, threads and version, for the head of a picture."""
    version = results["versions"].get("emfast", "?")
    quiet = "" if is_quiet(results) else "; NOT QUIET"
    return f"{results['machine']}; {results['threads']} threads; emfast {version}{quiet}"


def new_figure(results: dict, title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(f"{title}\n{subtitle(results)}", fontsize=10, x=0.01, ha="left")
    return figure


def compare(results: dict) -> Figure:
    """Bars: how many times as long every peer takes as emfast."""
    rows = [row for row in results["rows"] if "ratio" in row["results"].get("emfast", {})]
    peers = [peer for peer in NAMES if any(peer in row["results"] for row in rows)]
    of_rows = [[peer for peer in peers if peer in row["results"]] for row in rows]
    most = max(map(len, of_rows), default=0)
    options = results["options"]
    figure = new_figure(
        results,
        "Time of an EM iteration relative to emfast "
        f"({options['dtype']}, separation {options['separation']:g})",
        8.5,
        1.6 + 0.24 * len(rows) * (most + 0.5),
    )
    ax = figure.subplots()
    height = 0.84 / max(1, most)
    for peer in peers:
        ax.barh(0, 0, color=COLOURS[peer], label=NAMES[peer])
    for y, (row, here) in enumerate(zip(rows, of_rows, strict=True), start=1):
        for index, peer in enumerate(here):
            at = y + (index - (len(here) - 1) / 2) * height
            _bar(ax, at, 0.9 * height, row["results"][peer], COLOURS[peer])
    ax.axvline(1, color=COLOURS["emfast"], linewidth=1.2)
    ratios = [
        result["ratio"] for row in rows for result in row["results"].values() if "ratio" in result
    ]
    ax.set_xscale("log")
    # Room for the numbers beside the longest bar.
    ax.set_xlim(0.9 * min(ratios), 3 * max(ratios))
    ax.set_ylim(len(rows) + 0.6, 0.4)
    ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
    names = [
        f"{row['workload']['name']}{' (void)' if row['void'] else ''}\n"
        f"emfast {row['results']['emfast']['least_ms']:.1f} ms"
        for row in rows
    ]
    ax.set_yticks(range(1, len(rows) + 1), names, fontsize=8)
    ax.set_xlabel("times as long as emfast, least times (in brackets: ms of the peer)")
    figure.legend(loc="outside lower center", ncols=len(peers), fontsize=8)
    _clean(ax, "x")
    return figure


def _bar(ax: Axes, at: float, height: float, result: dict, colour: str) -> None:
    if "failure" in result:
        ax.text(1.02, at, "failed", va="center", fontsize=8, color=colour)
        return
    ax.barh(at, result["ratio"] - 1, height, left=1, color=colour)
    text = f" {result['ratio']:.1f}  ({result['least_ms']:.1f})"
    ax.text(max(result["ratio"], 1.0), at, text, va="center", fontsize=7)


def roofline(results: dict) -> Figure:
    """Operations per second over operations per byte, under the measured roofs."""
    figure = new_figure(
        results, "Operations per second of an EM iteration, and what the machine can do", 9.5, 5.5
    )
    ax = figure.subplots()
    read = results["peaks"]["read"] / 1e9
    intensities = [row["intensity"] for rows in results["rows"].values() for row in rows]
    span = np.geomspace(0.15, 2 * max(intensities), 200)
    for dtype, rows in results["rows"].items():
        peak, colour = results["peaks"][dtype] / 1e9, COLOURS[dtype]
        ax.plot(span, np.minimum(span * read, peak), color=colour, linewidth=1.5)
        # Above the slope there is never a point.
        ridge = 0.85 * peak / read
        ax.text(ridge, peak, f"{dtype}: {peak:.0f} GF/s", color=colour, ha="right", va="center")
        for number, row in enumerate(rows, start=1):
            x, y = row["intensity"], row["flops_per_second"] / 1e9
            ax.plot(x, y, "o", color=colour, markersize=13, alpha=0.85)
            ax.text(x, y, str(number), color="white", ha="center", va="center", fontsize=8)
    slope = 0.7
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.text(
        0.85 * slope,
        slope * read,
        f"reading: {read:.0f} GB/s",
        ha="right",
        va="bottom",
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(plain_number))
    ax.set_xlabel("operations per byte of the rows")
    ax.set_ylabel("GF/s (a multiply-add is two operations)")
    figure.legend(
        handles=[ax.plot([], [], " ")[0] for _ in next(iter(results["rows"].values()))],
        labels=_fractions(results["rows"]),
        loc="outside right center",
        handlelength=0,
        fontsize=8,
        title="of the peak: " + ", ".join(results["rows"]),
        title_fontsize=8,
    )
    _clean(ax, "both")
    return figure


def _fractions(rows_of: dict[str, list[dict]]) -> list[str]:
    """A line of the legend for each workload."""
    lines = []
    for number, rows in enumerate(zip(*rows_of.values(), strict=True), start=1):
        fractions = ", ".join(f"{100 * row['fraction_of_peak']:.0f} %" for row in rows)
        lines.append(f"{number}  {rows[0]['workload']['name']}: {fractions}")
    return lines


def scaling(results: dict) -> Figure:
    """Time of a row along every axis, and beside it the same in units of the algebra."""
    axes = list(dict.fromkeys(curve["axis"] for curve in results["curves"]))
    figure = new_figure(
        results, f"Time of an EM iteration, {results['dtype']}", 10, 0.8 + 3.1 * len(axes)
    )
    peak = results["peaks"][results["dtype"]]
    grid = figure.subplots(len(axes), 2, squeeze=False)
    for (left, right), axis in zip(grid, axes, strict=True):
        for curve in results["curves"]:
            if curve["axis"] == axis:
                draw = _threads if axis == "threads" else _curve
                draw(left, right, curve, results, peak)
        left.legend(fontsize=7)
        for ax in (left, right):
            ax.set_xlabel(axis)
            ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
            _clean(ax, "both")
    return figure


def _curve(left: Axes, right: Axes, curve: dict, results: dict, peak: float) -> None:
    family, points = curve["family"], curve["points"]
    values = np.array([point["value"] for point in points])
    ms = np.array([point["least_ms"] for point in points])
    rows = np.array([point["workload"]["n_samples"] for point in points])
    flops = np.array([point["flops"] for point in points])
    style = {"color": COLOURS[family], "marker": MARKERS[family], "markersize": 4}
    by_row = curve["axis"] != "rows"
    scale = 1e6 / rows if by_row else np.ones(len(rows))
    shape = points[-1]["workload"]
    features, components = f"{shape['n_features']} features", f"{shape['n_components']} components"
    label = f"{family}, {features}" if curve["axis"] == "components" else family
    left.loglog(values, ms * scale, label=label, **style)
    left.loglog(values, 1e3 * flops / peak * scale, "--", color=COLOURS[family], linewidth=0.8)
    left.set_ylabel("ns per row" if by_row else "ms per iteration")
    right.semilogx(values, 1e12 * ms * 1e-3 / flops, **style)
    right.axhline(1e12 / peak, color="black", linestyle="--", linewidth=0.8)
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(FuncFormatter(plain_number))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_ylabel("ps per operation (dashed: peak)")
    fixed = {"rows": f"{features}, {components}; ", "components": "", "features": f"{components}; "}
    title = f"{fixed[curve['axis']]}dashed: operations at the FMA peak"
    left.set_title(title, fontsize=8, loc="left")


def _threads(left: Axes, right: Axes, curve: dict, results: dict, peak: float) -> None:
    family, points = curve["family"], curve["points"]
    threads = np.array([point["threads"] for point in points])
    ms = np.array([point["least_ms"] for point in points])
    shape = points[-1]["workload"]
    label = f"{family} {shape['n_features']}, {shape['n_components']}"
    style = {"color": COLOURS[family], "marker": MARKERS[family], "markersize": 4}
    left.plot(threads, ms[0] / ms, label=label, **style)
    left.plot(threads, threads, "--", color="black", linewidth=0.8)
    left.set_ylabel("times as fast as one thread")
    right.plot(threads, ms[0] / ms / threads, **style)
    right.set_ylim(0, 1.1)
    right.set_ylabel("the same per thread")
    for ax in (left, right):
        ax.set_xticks(threads)


def variants(results: dict) -> Figure:
    """Bars of the ratios between instruction sets, precisions and numbers of threads."""
    names = list(results["rows"][0]["ratios"])
    figure = new_figure(
        results, "Instruction sets, precision and threads", 2.2 + 2.0 * len(names), 4.5
    )
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    labels = [row["workload"]["name"] for row in results["rows"]]
    for ax, name in zip(panels, names, strict=True):
        ratios = [row["ratios"][name] for row in results["rows"]]
        ax.barh(range(len(ratios)), ratios, color=COLOURS["diag"])
        for y, ratio in enumerate(ratios):
            ax.text(ratio, y, f" {ratio:.2f}", va="center", fontsize=8)
        ax.set_xlim(0, 1.3 * max(ratios))
        if name in TARGETS:
            ax.axvline(TARGETS[name], color=COLOURS["full"], linestyle="--", linewidth=1)
        ax.set_title(_variant_title(name, results), fontsize=8)
        _clean(ax, "x")
    panels[0].set_yticks(range(len(labels)), labels, fontsize=8)
    panels[0].invert_yaxis()
    return figure


def _variant_title(name: str, results: dict) -> str:
    first, second = name.split()
    if first == "threads":
        return f"{results['threads']} threads / 1 thread,\n{second}"
    if first == "float32":
        return "float32 / float64"
    return f"{first} / {results['rows'][0]['cases'][0]['instruction_set']},\nfloat64"


def cluster_model(results: dict) -> Figure:
    """Simulated time of an iteration over workers: all rows spread, and as many for each."""
    cases = list(dict.fromkeys(curve["case"] for curve in results["curves"]))
    assumed = results["cluster"]
    figure = new_figure(
        results,
        f"Simulated time of an EM iteration, {results['dtype']}; workers of {assumed['cores']} "
        f"cores, {8e-9 * assumed['bandwidth']:g} Gbit/s, {1e3 * assumed['latency']:g} ms, "
        f"{1e3 * assumed['task_seconds']:g} ms a task, mean delay {100 * assumed['spread']:g} %",
        0.6 + 3.1 * len(cases),
        6.6,
    )
    grid = figure.subplots(2, len(cases), squeeze=False)
    for panels, weak in zip(grid, (False, True), strict=True):
        for ax, case in zip(panels, cases, strict=True):
            curves = [
                each for each in results["curves"] if (each["case"], each["weak"]) == (case, weak)
            ]
            _workers(ax, curves)
            ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
            if weak:
                ax.set_yscale("linear")
                ax.set_ylim(bottom=0)
            else:
                ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
            rows = curves[0]["rows"]
            ax.set_title(f"{case}: {rows:,.0f} rows{' a worker' if weak else ''}", fontsize=8)
            _clean(ax, "both")
        panels[0].set_ylabel("s per iteration")
    for ax in grid[-1]:
        ax.set_xlabel("workers")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return figure


def _workers(ax: Axes, curves: list[dict]) -> None:
    """One panel: both ways to add, the formula, the computing alone, and where it is half."""
    for curve in curves:
        points = curve["points"]
        workers = [point["workers"] for point in points]
        alone = curve["fan_in"] is None
        colour = COLOURS["diag" if alone else "full"]
        label = "the client adds" if alone else f"workers add {curve['fan_in']}"
        ax.loglog(
            workers, [point["seconds"] for point in points], "o", color=colour, markersize=3.5,
            label=label,
        )  # fmt: skip
        formula = [point["closed_form_seconds"] for point in points]
        ax.loglog(workers, formula, color=colour, linewidth=1, label="formula")
        if alone:
            compute = [point["compute_seconds"] for point in points]
            ax.loglog(workers, compute, ":", color="black", linewidth=1, label="computing alone")
            crossing = _crossing(workers, np.array(formula) - compute, compute)
            if crossing is not None:
                ax.axvline(crossing, color="black", linestyle="--", linewidth=0.8)
    ax.axvline(
        np.nan, color="black", linestyle="--", linewidth=0.8, label="computing is half of it"
    )


def _crossing(workers: list[int], rest: np.ndarray, compute: list[float]) -> float | None:
    """Where the rest of the time has grown to what computing takes; None if it is nowhere."""
    ratio = np.log(rest / compute)
    above = np.flatnonzero(ratio >= 0)
    if not above.size or above[0] == 0:
        return None
    i = above[0]
    share = ratio[i - 1] / (ratio[i - 1] - ratio[i])
    return float(np.exp((1 - share) * np.log(workers[i - 1]) + share * np.log(workers[i])))


def _clean(ax: Axes, grid: str) -> None:
    ax.grid(axis=grid, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


KINDS = {
    "compare": compare,
    "roofline": roofline,
    "scaling": scaling,
    "variants": variants,
    "cluster_model": cluster_model,
}


def draw(path: Path) -> Path | None:
    """Draw one file of results; the picture's path, or None where its kind has no picture."""
    results = json.loads(path.read_text())
    if results.get("kind") not in KINDS:
        return None
    picture = path.with_suffix(".png")
    KINDS[results["kind"]](results).savefig(picture, dpi=130)
    return picture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        print(draw(path) or f"{path}: no picture of this kind")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
