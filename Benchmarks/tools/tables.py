"""Tables of the rows: the server's processor time, as ratios to the bare loop's."""
from cells import CELLS

UNITS = {"sink": ("server_cpu_us_per_mb", "us/MB"), "source": ("server_cpu_us_per_mb", "us/MB"),
         "idle": ("rss_bytes_per_conn", "B/connection")}
MESSAGES = ("server_cpu_us_per_msg", "us/message")


def best(rows, server, cell):
    """The least disturbed round."""
    key = UNITS.get(cell, MESSAGES)[0]
    values = [row[key] for row in rows
              if row["server"] == server and row["cell"] == cell and key in row]
    return min(values) if values else None


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def print_ratios(rows, servers, cells, first="limit"):
    """One row a cell: the first server's figure, then each other one's as a multiple of it."""
    others = [server for server in servers if server != first]
    print(f"\n### Processor time of the server, best round: {first} itself, the others x {first}\n")
    print(f"| cell | | {first} | " + " | ".join(others) + " |")
    print("| --- | --- | ---: |" + " ---: |" * len(others))
    for cell in cells:
        if cell == "idle":
            continue
        base = best(rows, first, cell)
        line = []
        for server in others:
            value = best(rows, server, cell)
            failed = any(r["server"] == server and r["cell"] == cell and "error" in r for r in rows)
            if value is None:
                line.append("failed" if failed else "")
            else:
                line.append(f"{value / base:.2f}" if base else figure(value))
        shown = f"{figure(base)} {UNITS.get(cell, MESSAGES)[1]}" if base else ""
        print(f"| {cell} | {CELLS[cell][2]} | {shown} | " + " | ".join(line) + " |")


def print_idle(rows, servers):
    """Bytes a connection, after each has exchanged a message."""
    if not any(row["cell"] == "idle" for row in rows):
        return
    print("\n### Memory per idle connection (growth of the resident set, the kernel's not counted)\n")
    print("| server | bytes | connections |\n| --- | ---: | ---: |")
    for server in servers:
        value = best(rows, server, "idle")
        conns = next((row["conns"] for row in rows
                      if row["server"] == server and row["cell"] == "idle" and "conns" in row), "")
        print(f"| {server} | {'failed' if value is None else figure(value)} | {conns} |")


def print_errors(rows):
    for row in rows:
        if "error" in row:
            print(f"\n{row['server']}, {row['cell']}: {row['error']}")
