"""Turns results.json into a markdown table and a plot: medians, the spread, and ratios to the best plain reader."""
import statistics

from contestants import CONTESTANTS

README_MARKERS = ("<!-- benchmark:begin -->", "<!-- benchmark:end -->")
STATES = ("cold", "hot")
COLOURS = {"longshore": "#0b6e99", "limit": "#9aa5ad", "peer": "#d98a3d", "cast": "#7d6b91"}
GROUP_NAMES = {"longshore": "longshore", "limit": "limits of the machine", "peer": "from Python", "cast": "casts"}
MIB = 1 << 20


def summary(samples):
    """{(contestant, state): medians and the spread of the seconds}, failed samples left out."""
    cells = {}
    for contestant in {s["contestant"] for s in samples}:
        for state in STATES:
            good = [s for s in samples if (s["contestant"], s["state"]) == (contestant, state) and not s["error"]]
            if good:
                seconds = [s["seconds"] for s in good]
                peaks = [s["peak_rss_bytes"] for s in good if s["peak_rss_bytes"]]
                cells[contestant, state] = {
                    "seconds": statistics.median(seconds),
                    "min": min(seconds),
                    "max": max(seconds),
                    "cpu_seconds": statistics.median(s["cpu_seconds"] for s in good),
                    "peak_mib": statistics.median(peaks) / MIB if peaks else None,
                    "anonymous_mib": statistics.median(s.get("anonymous_bytes") or 0 for s in good) / MIB,
                }
    return cells


def best_plain(cells, state):
    """The seconds that ratios are given to, or None when no plain reader was measured."""
    names = [c.name for c in CONTESTANTS if state in c.baseline]
    return min((cells[name, state]["seconds"] for name in names if (name, state) in cells), default=None)


def number(value):
    """Three significant digits without an exponent."""
    return "" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def row(contestant, cells, baselines):
    columns = [f"**{contestant.name}**" if "longshore" in contestant.name else contestant.name]
    peak_mib, anonymous_mib = None, []
    for state in STATES:
        cell = cells.get((contestant.name, state))
        if cell is None:
            columns += ["", "", ""]
            continue
        baseline, peak_mib = baselines[state], max(peak_mib or 0, cell["peak_mib"] or 0)
        anonymous_mib.append(f"{cell['anonymous_mib']:.0f}")
        columns += [
            f"{number(cell['seconds'])} ({number(cell['min'])}..{number(cell['max'])})",
            f"{cell['seconds'] / baseline:.2f}" if baseline else "",
            number(cell["cpu_seconds"]),
        ]
    is_python = contestant.group in ("peer", "cast")  # what the others take is not asked for
    columns += [f"{peak_mib:.0f}" if peak_mib else "", " / ".join(anonymous_mib) if is_python else ""]
    return "| " + " | ".join(columns) + " |"


def scenario_table(name, scenario):
    cells = summary(scenario["samples"])
    baselines = {state: best_plain(cells, state) for state in STATES}
    what = "all bytes touched" if scenario["touched"] else "until every tensor can be addressed"
    lines = [
        f"**{name}**: {scenario['file_bytes'] / 1e9:.2f} GB, {scenario['tensors']:,} tensors, {what}",
        "",
        "| who | cold s (min..max) | ratio | CPU s | hot s (min..max) | ratio | CPU s | peak MiB | anonymous MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    measured = {who for who, _ in cells}
    lines += [row(c, cells, baselines) for c in CONTESTANTS if c.name in measured]
    lines += [f"\n{who}: {why}" for who, why in scenario["not_measured"].items()]
    failed = {s["contestant"]: s["error"] for s in scenario["samples"] if s["error"]}
    lines += [f"\n{who}, not in every round: {why}" for who, why in failed.items()]
    return "\n".join(lines) + "\n"


def markdown(results):
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)
    intro = (
        f"Medians of {results['rounds']} interleaved rounds, each contestant in a process of its own "
        f"({machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / (1 << 30):.0f} GiB, "
        f"Linux {machine['kernel']}; {results['date']}). "
        "Ratio: to the best plain reader, which is io_uring or fio when cold, and 2 threads of pread into fresh memory "
        f"when hot. Peaks of Python loaders include Python and torch. Anonymous: what the load itself added of memory that "
        "only swap could free, cold / hot. Made by `{results['command']}` with "
        f"{versions}.\n"
    )
    return "\n".join([intro, *(scenario_table(name, s) for name, s in results["scenarios"].items())])


def draw_panel(axes, cells, state):
    shown = [c for c in reversed(CONTESTANTS) if (c.name, state) in cells]
    medians = [cells[c.name, state]["seconds"] for c in shown]
    lows = [m - cells[c.name, state]["min"] for c, m in zip(shown, medians)]
    highs = [cells[c.name, state]["max"] - m for c, m in zip(shown, medians)]
    axes.barh(
        [c.name for c in shown], medians, color=[COLOURS[c.group] for c in shown], height=0.72,
        xerr=[lows, highs], error_kw={"ecolor": "#333333", "elinewidth": 0.9, "capsize": 2},
    )  # fmt: skip
    for place, (contestant, median) in enumerate(zip(shown, medians)):
        end = cells[contestant.name, state]["max"]
        axes.annotate(
            number(median), (end, place), (4, 0), textcoords="offset points", va="center", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    baseline = best_plain(cells, state)
    if baseline:
        axes.axvline(baseline, color="#333333", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1.14 * max(cells[c.name, state]["max"] for c in shown) if shown else 1)
    axes.margins(y=0.01)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("seconds", fontsize=8)


def plot(results, path):
    """One row of panels a file, cold beside hot; bars are medians, whiskers the fastest and the slowest sample."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    scenarios = results["scenarios"]
    figure, panels = pyplot.subplots(
        len(scenarios), 2, figsize=(13, 0.6 + 3.9 * len(scenarios)), squeeze=False, layout="constrained"
    )
    for (name, scenario), pair in zip(scenarios.items(), panels):
        cells = summary(scenario["samples"])
        what = "all bytes touched" if scenario["touched"] else f"{scenario['tensors']:,} tensors addressable"
        for axes, state in zip(pair, STATES):
            draw_panel(axes, cells, state)
            axes.set_title(f"{name}, {scenario['file_bytes'] / 1e9:.2g} GB, {state} ({what})", fontsize=10, loc="left")
    legend = [Patch(color=COLOURS[group], label=text) for group, text in GROUP_NAMES.items()]
    legend.append(pyplot.Line2D([], [], color="#333333", linewidth=0.8, linestyle=":", label="best plain reader"))
    figure.legend(handles=legend, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.get_layout_engine().set(hspace=0.04, wspace=0.03)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def replace_in_readme(path, table, markers=README_MARKERS):
    """Puts the table between the two markers; ValueError when they are not there, once each and in order."""
    text = path.read_text()
    if any(text.count(marker) != 1 for marker in markers):
        raise ValueError(f"{path}: expected each of {' and '.join(markers)} once")
    before, rest = text.split(markers[0])
    _, after = rest.split(markers[1])
    path.write_text(f"{before}{markers[0]}\n{table}{markers[1]}{after}")
