"""Formats figures as Markdown tables that are also readable in a terminal."""

from collections.abc import Mapping, Sequence

Figures = Mapping[str, object]

# The columns of a benchmark's table: a figure belongs to a column if its name has this prefix or suffix; the rest of
# the name is the row. The empty one takes figures that also occur in another column.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "bystanders": {"_without": "without attackers", "_with": "with attackers"},
    "endtoend": {"single_": "1 event per request", "batch_": "100 events per request", "stream_": "100 stream entries"},
    "fairness": {"_without": "without bad receivers", "_with": "with bad receivers"},
    "fanout": {"_1000": "to 1,000 webhooks", "": "to 10,000"},
    "latency": {"": "HookHub", "yardstick_": "bare endpoint"},
    "portal": {"_few": "200 deliveries", "_many": "with the history", "_ratio": "ratio"},
    "leased": {"_1000": "1,000 webhooks of each kind", "": "10,000"},
    "light": {"": "200 events/s", "_at_1000": "1,000 events/s"},
    "memory": {"": "256 in flight", "_idle": "idle"},
    "metrics": {"_off": "without metrics", "_on": "with metrics", "_ratio": "ratio"},
    "scale": {"_empty": "empty", "_finished": "finished deliveries", "_full": "with scheduled retries"},
    "throughput": {
        "": "1 KB to 1 webhook",
        "_fan_out_10": "1 KB to 10",
        "_10kb": "10 KB to 1",
        "_10kb_to_10": "10 KB to 10",
    },
}


def tables(instance: str, figures: Figures) -> str:
    """Return a benchmark's figures as Markdown: a table of figures with several columns, and one of single figures."""
    columns = COLUMNS.get(instance, {})
    grid: dict[str, dict[str, object]] = {}
    for name, value in figures.items():
        column, row = place(name, columns)
        grid.setdefault(row, {})[column] = value
    several = {row: cells for row, cells in grid.items() if cells.keys() - {""}}
    parts = []
    if several:
        rows = [[f"`{row}`", *(shown(cells.get(column)) for column in columns)] for row, cells in several.items()]
        parts.append(table(["", *columns.values()], rows))
    once = [[f"`{row}`", shown(cells[""])] for row, cells in grid.items() if row not in several]
    if once:
        parts.append(table(["", "figure"], once))
    return "\n\n".join(parts)


def place(name: str, columns: Mapping[str, str]) -> tuple[str, str]:
    """Return the column and the row of a figure; the column is empty when the name has no prefix or suffix of one."""
    for mark in columns:
        # A figure that compares two columns belongs to neither.
        if mark.startswith("_") and name.endswith(mark) and not name.endswith(f"_to{mark}"):
            return mark, name.removesuffix(mark)
        if mark.endswith("_") and name.startswith(mark):
            return mark, name.removeprefix(mark)
    return "", name


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table aligned for reading as plain text: names left, figures right."""
    widths = [max(3, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [head, ruler, *rows]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in lines
    )


def shown(value: object) -> str:
    """Return a figure with thousands separators, and an empty string for None."""
    match value:
        case None:
            return ""
        case int() | float():
            return f"{value:,}"
    return str(value)
