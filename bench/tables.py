"""Figures as tables, the same for a terminal and for Markdown."""

from collections.abc import Mapping, Sequence

Figures = Mapping[str, object]

# What distinguishes the columns of a bench's table: a figure's name begins or ends so, and the rest names its row. The
# empty one takes figures that have a namesake in another column.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "endtoend": {
        "single_": "one event a request",
        "batch_": "100 events a request",
        "stream_": "100 entries of the stream",
    },
    "fairness": {"_without": "without the bad ones", "_with": "with them"},
    "memory": {"": "holding them", "_idle": "idle"},
    "scale": {"_empty": "empty", "_finished": "finished deliveries", "_full": "and scheduled retries"},
    "throughput": {
        "": "1 KB, to one webhook",
        "_fan_out_10": "1 KB, to ten",
        "_10kb": "10 KB, to one",
        "_10kb_to_10": "10 KB, to ten",
    },
}


def tables(bench: str, figures: Figures) -> str:
    """Give a bench's figures as Markdown: a table of what comes several times, and one of what comes once."""
    columns = COLUMNS.get(bench, {})
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
    """Give the column and the row in which a figure stands; the column is empty when it bears no mark of one."""
    for mark in columns:
        # What compares two columns stands in neither.
        if mark.startswith("_") and name.endswith(mark) and not name.endswith(f"_to{mark}"):
            return mark, name.removesuffix(mark)
        if mark.endswith("_") and name.startswith(mark):
            return mark, name.removeprefix(mark)
    return "", name


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table that is aligned to be read as it stands: names to the left, figures to the right."""
    widths = [max(3, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [head, ruler, *rows]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in lines
    )


def shown(value: object) -> str:
    """Write a figure as people read it, and nothing for none."""
    match value:
        case None:
            return ""
        case int() | float():
            return f"{value:,}"
    return str(value)
