"""The modules of the project and what they import, read from the source without importing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "SPRCore": "SPRCore",
    "SPRRegistrationLib": "SPRRegistration/SPRRegistrationLib",
    "SPRExplorer": "SPRExplorer",
}
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Module:
    """One source file.

    Attributes:
        name: Absolute import name, as ``SPRCore.io.nifti``.
        path: Path relative to the root of the tree.
        text: Source text.
    """

    name: str
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree of the source."""
        return ast.parse(self.text)

    @property
    def group(self) -> str:
        """Node of the picture that the module belongs to: a package of SPRCore, the panel's Qt part, or a package."""
        first, *rest = self.name.split(".")
        if first == "SPRCore" and rest:
            return rest[0]
        return f"{first}.qt" if rest[:1] == ["qt"] and first == "SPRRegistrationLib" else first


def read_modules(root: Path = ROOT) -> dict[str, Module]:
    """Read every module of the three packages; packages that a revision does not have are left out."""
    modules = {}
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [package, *path.relative_to(root / folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            modules[name] = Module(name, path.relative_to(root).as_posix(), text)
    return modules


def imported_names(tree: ast.AST, for_types: bool = True) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, at the top and in functions; relative imports keep their leading dots.

    Those under ``if TYPE_CHECKING`` are left out unless ``for_types``.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif for_types or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imported_names(node, for_types)


def import_graph(modules: Mapping[str, Module], for_types: bool = True) -> Graph:
    """Modules that each module imports: of ``from a import b``, ``a.b`` where it is a module, else ``a``."""
    graph = {}
    for name, module in modules.items():
        absolute = [imported for _, imported in imported_names(module.tree, for_types)]
        found = {imported if imported in modules else imported.rpartition(".")[0] for imported in absolute}
        graph[name] = frozenset(found & modules.keys() - {name})
    return graph


def group_graph(modules: Mapping[str, Module], graph: Graph) -> Graph:
    """Import graph of the groups of modules."""
    groups: dict[str, set[str]] = {module.group: set() for module in modules.values()}
    for name, targets in graph.items():
        groups[modules[name].group].update(modules[target].group for target in targets)
    return {group: frozenset(targets - {group}) for group, targets in groups.items()}


def read_layers(root: Path = ROOT) -> dict[str, int]:
    """Layer of each group, read from the table of the decision record; 0 is the lowest."""
    text = (root / "docs/adr/0001-layers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?)(?::.*)? \|$", text, flags=re.MULTILINE)
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`([\w.]+)`", names)}


def find_cycle(graph: Graph) -> list[str]:
    """First import cycle, as the names along it; empty if there is none."""
    finished: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in finished:
            for target in sorted(graph[name]):
                if cycle := visit(target, [*trail, name]):
                    return cycle
            finished.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := visit(name, []))), [])
