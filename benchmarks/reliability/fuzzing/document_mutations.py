"""Changes of what text documents say: JSON, YAML, tables and lists of files."""

from __future__ import annotations

import copy
import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from benchmarks.reliability.fuzzing import byte_mutations, payloads

_HUGE = 10**25
_MOST_PLACES = 20_000  # that a change chooses from: some changes make documents grow
_DEEP = 3000  # nesting beyond Python's recursion limit

# Values of every kind, as text documents hold them.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31, 2**53 + 1, 2**63, -(2**63), _HUGE),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "0", "-1", "1e5", "nan", "null", "true", "\x00", "a\nb", "\x1b[31m", "é", "🏁"),
    *("a" * 300, "a" * 20_000, "9" * 5000, "../../etc/passwd", "/dev/zero", "~", "%s%n", "{0}"),
    *("٣", "²", "x" * 255, "train", "val", "test", "query", "cosine", "adamw", "sample"),
    *([], [[]], [0], [1, 2], [1, 2, 3], ["a"], [None], {}, {"": None}, {"a": 1}, [{}], {"a": {}}),
)


def mutate_json(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a JSON document that says something else, or is none any more."""
    if rng.random() < 0.2:
        return _broken_text(data, rng, donors)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return byte_mutations.mutate(data, rng, donors)
    try:
        value = mutate_value(value, rng)
        written = json.dumps(value, indent=rng.choice((None, 2)), ensure_ascii=False)
    except RecursionError:
        return byte_mutations.mutate(data, rng, donors)
    return written.encode("utf-8", "surrogatepass")


def mutate_yaml(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a YAML document that says something else, or is none any more."""
    import yaml

    chance = rng.random()
    if chance < 0.2:
        return _broken_text(data, rng, donors)
    if chance < 0.45:
        return _with_yaml_line(data, rng)
    try:
        value = mutate_value(yaml.load(data, yaml.CSafeLoader), rng)
        written = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False)
    except Exception:  # what an earlier change broke
        return byte_mutations.mutate(data, rng, donors)
    return written.encode("utf-8", "surrogatepass")


def mutate_value(value: Any, rng: Random) -> Any:
    """Return a nested value with one to four of its nodes changed."""
    value = copy.deepcopy(value)
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        places = list(itertools.islice(_places(value), _MOST_PLACES))
        if not places or rng.random() < 0.02:
            value = copy.deepcopy(rng.choice(VALUES))
            continue
        around, key = rng.choice(places)
        _change_node(around, key, rng, places)
    return value


def _places(value: Any, depth: int = 0) -> Any:
    """Yield (container, key) of every node below a value."""
    if depth > 20:
        return
    entries = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, inside in entries:
        yield value, key
        yield from _places(inside, depth + 1)


def _change_node(around: Any, key: Any, rng: Random, places: list) -> None:
    try:
        old = around[key]
    except (LookupError, TypeError):  # an earlier change took it
        return
    kind = rng.randrange(10)
    if kind <= 3:
        around[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 4:
        del around[key]
    elif kind == 5 and isinstance(around, dict):
        name = rng.choice((f"{key}x", str(key)[:-1], str(key).upper(), "", "\x00", "config", "a.b"))
        around[name] = around.pop(key) if rng.random() < 0.5 else old
    elif kind == 5:
        around.insert(key, copy.deepcopy(old))
    elif kind == 6:
        around[key] = [copy.deepcopy(old)] if rng.random() < 0.5 else {"value": copy.deepcopy(old)}
    elif kind == 7:
        other, name = rng.choice(places)
        if name in other if isinstance(other, dict) else name < len(other):
            around[key] = copy.deepcopy(other[name])
    elif kind == 8 and isinstance(old, int | float) and not isinstance(old, bool):
        around[key] = rng.choice((-old, old * 2, old + 1, old - 1, old * _HUGE, str(old), [old]))
    elif kind == 8 and isinstance(old, str):
        around[key] = rng.choice((old.upper(), old[:-1], old * 2, f" {old}", [old], {old: old}))
    elif isinstance(old, list):
        around[key] = rng.choice((old[:-1], old * 2, old[::-1], old * 500, old[:1]))
    else:
        around[key] = copy.deepcopy(rng.choice(VALUES))


def _broken_text(data: bytes, rng: Random, donors: Sequence[bytes]) -> bytes:
    """Return text that is cut, nested without end, in another encoding, or no text at all."""
    kind = rng.randrange(8)
    if kind == 0:
        return b"[" * _DEEP + b"]" * (_DEEP if rng.random() < 0.5 else 0)
    if kind == 1:
        return b'{"a":' * _DEEP + b"1" + b"}" * _DEEP
    if kind == 2:
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-7")))
    if kind == 3:
        return b"\xef\xbb\xbf" + data
    if kind == 4:
        return rng.choice((b"", b"\n", b"null", b"0", b'""', b"[]", b"{}", b"NaN", b"\x00" * 9))
    return byte_mutations.mutate(data, rng, donors)


def _with_yaml_line(data: bytes, rng: Random) -> bytes:
    """Return the document with a line of what YAML can do and a config has no use for."""
    lines = data.splitlines()
    tricks: tuple[bytes, ...] = (
        *payloads.YAML,
        b"a: &a [1, *a]",
        b"x: !!int abc",
        b"x: !!float abc",
        b"x: !!timestamp abc",
        b"x: 2024-99-99",
        b"x: 2024-02-30 25:61:61",
        b"x: !!binary abc",
        b"x: !!set [a]",
        b"x: !!omap [1]",
        b"x: !unknown y",
        b"? [a, b]\n: c",
        b"? {a: b}\n: c",
        b"<<: [1, 2]",
        b"<<: *none",
        b"seed: 0x" + b"f" * 4000,
        b"seed: " + b"9" * 5000,
        b"epochs: 1:" + b":".join([b"59"] * 500),
        b"epochs: 0b" + b"1" * 5000,
        b"x: " + b"[" * _DEEP,
        b"\tx: y",
        b"---\nx: y",
        b"%YAML 9.9",
        b"\x85\xe2\x80\xa8",
    )
    line = rng.choice(tricks)
    at = rng.randint(0, len(lines))
    if lines and rng.random() < 0.3 and b":" in lines[at - 1] and b":" in line:
        # In the place of a value that is read.
        lines[at - 1] = lines[at - 1].split(b":")[0] + b":" + line.split(b":", 1)[1]
    else:
        lines.insert(at, line)
    return b"\n".join(lines) + b"\n"


def mutate_table(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a CSV file with other rows, columns, separators or encoding."""
    if rng.random() < 0.2:
        return byte_mutations.mutate(data, rng, donors)
    text = data.decode("utf-8", "replace")
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error:
        rows = []
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        if rows:
            rng.choice(_ROW_CHANGES)(rows, rng)
    stream = io.StringIO()
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(
        stream,
        delimiter=rng.choice(",,,,;\t|"),
        quoting=quoting,
        lineterminator=rng.choice(("\n", "\n", "\r\n", "\r")),
    )
    try:
        writer.writerows(rows)
    except csv.Error:
        return byte_mutations.mutate(data, rng, donors)
    encoding = rng.choice(("utf-8",) * 7 + ("utf-16", "utf-8-sig", "cp1252"))
    return stream.getvalue().encode(encoding, "replace")


def mutate_lines(data: bytes, rng: Random, donors: Sequence[bytes] = ()) -> bytes:
    """Return a list of files, one a line, with other lines."""
    if rng.random() < 0.4:
        return byte_mutations.mutate(data, rng, donors)
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(1 + min(3, int(rng.expovariate(1)))):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        kind = rng.randrange(5)
        if kind == 0:
            lines.insert(at, lines[at])
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif kind == 2:
            lines[at] = _cell(rng)
        else:
            words[rng.randrange(len(words))] = _cell(rng)
            lines[at] = " ".join(words)
    return "\n".join(lines).encode("utf-8", "replace")


def _cell(rng: Random) -> str:
    value = rng.choice(VALUES)
    return value if isinstance(value, str) else json.dumps(value)


def _other_cell(rows: list, rng: Random) -> None:
    row = rng.choice(rows)
    if row:
        row[rng.randrange(len(row))] = _cell(rng)


def _other_heading(rows: list, rng: Random) -> None:
    if rows[0]:
        at = rng.randrange(len(rows[0]))
        old = rows[0][at]
        rows[0][at] = rng.choice((old.upper(), f" {old} ", "", "x", "role", "split", f"{old}s"))


def _without_column(rows: list, rng: Random) -> None:
    at = rng.randrange(max(1, len(rows[0])))
    for row in rows:
        del row[at : at + 1]


def _another_column(rows: list, rng: Random) -> None:
    name = rng.choice(("split", "role", "person", "camera", "path", "x"))
    for number, row in enumerate(rows):
        row.append(name if not number else _cell(rng))


def _row_twice(rows: list, rng: Random) -> None:
    rows.insert(rng.randrange(len(rows)), list(rng.choice(rows)))


def _without_row(rows: list, rng: Random) -> None:
    del rows[rng.randrange(len(rows))]


def _short_row(rows: list, rng: Random) -> None:
    row = rng.choice(rows)
    del row[rng.randint(0, len(row)) :]


def _long_row(rows: list, rng: Random) -> None:
    rng.choice(rows).extend(["x"] * rng.choice((1, 50, 5000)))


def _huge_cell(rows: list, rng: Random) -> None:
    row = rng.choice(rows)
    if row:
        row[rng.randrange(len(row))] = rng.choice("a9 ") * 140_000  # csv's limit is 131,072


_ROW_CHANGES: tuple[Callable[[list, Random], None], ...] = (
    *(_other_cell,) * 4,
    _other_heading,
    _without_column,
    _another_column,
    _row_twice,
    _without_row,
    _short_row,
    _long_row,
    _huge_cell,
)
