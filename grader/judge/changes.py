"""Which names of the solution a mistake changes: a look that uses none of them gives the same on both.

The catalogue's patches are small, and most of an exercise's functions do not depend on the patched one, so a
diagnosis has to run a mistake only where it can differ from the solution.
"""

import ast
import functools
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class _Statement:
    """A statement on the top level of a module: its lines, the names that it binds, those that it uses."""

    first: int
    last: int
    binds: frozenset[str]
    uses: frozenset[str]


def changed_names(source: str, patches: tuple[tuple[str, str], ...]) -> frozenset[str] | None:
    """The names on the top level of a module that may behave differently once (find, put) patches are
    applied.

    Those whose statements are patched, and those that use such a name, directly or through others. None,
    which stands for all of them, where a patch reaches beyond functions, classes and assigned names."""
    statements, changed = _statements(source), set()
    for find, put in patches:
        at = source.find(find)
        if at < 0 or _top_lines(find) != _top_lines(put):
            return None
        first, last = source.count("\n", 0, at) + 1, source.count("\n", 0, at + len(find)) + 1
        for statement in statements:
            if statement.first <= last and first <= statement.last:
                if not statement.binds:
                    return None
                changed |= statement.binds
    while further := {name for s in statements if s.uses & changed for name in s.binds} - changed:
        changed |= further
    return frozenset(changed)


def _top_lines(text: str) -> list[str]:
    """The lines of a patch that are not indented, but for what stands in front of its first line break."""
    return re.findall(r"\n(\S.*)", text)


@functools.lru_cache
def _statements(source: str) -> list[_Statement]:
    found = []
    for node in ast.parse(source).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        uses = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        found.append(_Statement(first, node.end_lineno, frozenset(_bound(node)), frozenset(uses)))
    return found


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return []
