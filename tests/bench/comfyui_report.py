"""Turns the samples of comfyui.py into a table, and says which bars hold."""
import json
import statistics

FIGURES = {
    "first_page": "first page s",
    "load": "load s",
    "after_free": "load after /free s",
    "hit": "hit ms",
    "switch_there": "switch to another s",
    "switch_back": "switch back ms",
    "step": "sampler step s",
    "peak_mib": "peak MiB",
    "lasting_mib": "lasting anonymous MiB",
}
STOCK = "stock"
BARS = [  # contestant, state, figure, the most of stock's, or where that is None the most of all
    ("longshore, alias", "cold", "load", 0.3, None),
    ("longshore, alias", "hot", "load", 0.1, None),
    ("longshore, convert", "cold", "load", 0.4, None),
    ("longshore, convert", "hot", "load", 0.35, None),
    *(
        (contestant, state, figure, None, most)
        for contestant in ("longshore, alias", "longshore, convert")
        for figure, most in (("hit", 0.005), ("switch_back", 0.01))
        for state in ("cold", "hot")
    ),
    *(
        (contestant, state, figure, share, None)
        for contestant, figure, share in (
            ("longshore, alias", "peak_mib", 0.5),
            ("longshore, convert", "peak_mib", 0.75),
            ("longshore, alias", "lasting_mib", 0.25),
            ("longshore, convert", "lasting_mib", 1.0),
            ("longshore, convert", "step", 1.05),
        )
        for state in ("cold", "hot")
    ),
]


def medians(samples):
    """{(contestant, state, figure): (median, least, most)}"""
    values = {}
    for sample in samples:
        for figure in FIGURES.keys() & sample.keys():
            values.setdefault((sample["contestant"], sample["state"], figure), []).append(sample[figure])
    return {where: (statistics.median(found), min(found), max(found)) for where, found in values.items()}


def number(value, unit):
    if unit.endswith("ms"):
        value *= 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(cells, contestant, state, figure, unit):
    if (contestant, state, figure) not in cells:
        return ""
    median, least, most = (number(value, unit) for value in cells[contestant, state, figure])
    stock = cells.get((STOCK, state, figure), (0,))[0]
    share = f" **{cells[contestant, state, figure][0] / stock:.2f}**" if stock and contestant != STOCK else ""
    return median + (f" ({least}..{most})" if least != most else "") + share


def table(samples):
    cells, names = medians(samples), dict.fromkeys(sample["contestant"] for sample in samples)
    shown = {figure: unit for figure, unit in FIGURES.items() if any(figure in sample for sample in samples)}
    lines = [f"| file | who | {' | '.join(shown.values())} |", "| --- " * (len(shown) + 2) + "|"]
    for state in dict.fromkeys(sample["state"] for sample in samples):
        for name in names:
            row = [cell(cells, name, state, figure, unit) for figure, unit in shown.items()]
            lines.append(f"| {state} | {name} | {' | '.join(row)} |")
    return "\n".join(lines)


def bars(samples):
    """A line for each bar that was measured."""
    cells, lines = medians(samples), []
    for contestant, state, figure, share, most in BARS:
        found, stock = cells.get((contestant, state, figure)), cells.get((STOCK, state, figure))
        if not found or (share and not stock):
            continue
        limit = most if share is None else share * stock[0]
        unit = FIGURES[figure]
        verdict = "holds" if found[0] <= limit else "MISSED"
        asked = f" ({share:g} of stock's)" if share else ""
        lines.append(
            f"- {verdict}: {contestant}, {state}, {unit}: {number(found[0], unit)}, at most "
            f"{number(limit, unit)}{asked}"
        )
    return "\n".join(lines)


def pixels(samples):
    kinds = {sample["pixels"] for sample in samples if "pixels" in sample}
    return {0: "No picture was made.", 1: "All pixels are equal."}.get(len(kinds), f"PIXELS DIFFER: {len(kinds)} kinds.")


def write(folder, name, rounds, samples):
    """Writes comfyui-NAME.json and .md, and gives back the latter's text."""
    text = "\n\n".join(
        [
            f"`{name}`, medians of {rounds} interleaved rounds with the least and the most, and in bold the share of "
            "stock's. Lasting: after two pictures. A hit runs the loader node once more for what the cache has.",
            table(samples),
            bars(samples) or "No bar was measured.",
            pixels(samples),
        ]
    )
    (folder / f"comfyui-{name}.json").write_text(json.dumps({"layout": name, "samples": samples}, indent=1) + "\n")
    (folder / f"comfyui-{name}.md").write_text(text + "\n")
    return text
