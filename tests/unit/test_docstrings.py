"""Every public function, class and method of the package describes what it takes and has, in numpydoc.

Where a docstring has a section on what it returns, its entries have descriptions too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "job" / "verger"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.startswith("_") or path.stem == "__init__")

Function = ast.FunctionDef | ast.AsyncFunctionDef

# The sections whose entries need a description, and what an entry of each is called.
LISTS = {
    "Parameters": "parameter",
    "Other Parameters": "parameter",
    "Attributes": "attribute",
    "Returns": "return",
    "Yields": "yield",
}


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name, of a call's function, or of what is subscripted."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def decorators(node: Function | ast.ClassDef) -> set[str]:
    return {name_of(decorator) for decorator in node.decorator_list}


def entries(node: Function | ast.ClassDef) -> Iterator[tuple[str, str, bool]]:
    """The entries of a docstring's sections: the section, the entry's line, and whether a text is indented below it."""
    section, lines = "", (ast.get_docstring(node) or "").splitlines()
    for line, below in pairwise([*lines, ""]):
        if re.fullmatch("-{3,}", below):
            section = line
        elif section and re.match(r"[*\w]", line):
            yield section, line, re.match(r" +\S", below) is not None


def named(entry: str) -> list[str]:
    """The names of an entry: `a, b : int`."""
    return [name.strip().lstrip("*") for name in entry.partition(" : ")[0].split(",")]


def documented(node: Function | ast.ClassDef, *sections: str) -> set[str]:
    """The names that sections of a docstring list."""
    return {name for section, entry, _ in entries(node) if section in sections for name in named(entry)}


def undescribed(node: Function | ast.ClassDef) -> Iterator[str]:
    """What a docstring lists without a word on what it is."""
    for section, entry, has_text in entries(node):
        if not has_text and section in LISTS:
            for name in [entry] if LISTS[section] in ("return", "yield") else named(entry):
                yield f"{node.name}: {LISTS[section]} {name} has no description"


def parameters(function: Function) -> set[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = {argument.arg for argument in every if argument is not None}
    return {name for name in names - {"self", "cls"} if not name.startswith("_")}


def fields(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    """The annotated, public fields of a class body, with their defaults."""
    found: dict[str, ast.expr | None] = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found[item.target.id] = item.value
    return {name: default for name, default in found.items() if not name.startswith("_")}


def described(default: ast.expr | None) -> bool:
    """Whether a pydantic field has its description: `Field(description=...)` or our own `setting(group, text)`."""
    if not isinstance(default, ast.Call):
        return False
    by_position = name_of(default) == "setting" and len(default.args) >= 2
    return by_position or any(keyword.arg == "description" for keyword in default.keywords)


def public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def of_function(node: Function, inherits: bool) -> Iterator[str]:
    if decorators(node) & {"overload", "setter", "command"}:  # a command's docstring is its --help
        return
    if ast.get_docstring(node) is None:
        if not inherits:
            yield f"{node.name}: no docstring"
        return
    for name in sorted(parameters(node) - documented(node, "Parameters", "Other Parameters")):
        yield f"{node.name}: parameter {name}"
    yield from undescribed(node)


def of_class(node: ast.ClassDef) -> Iterator[str]:
    if ast.get_docstring(node) is None:
        yield f"{node.name}: no docstring"
        return
    known = documented(node, "Parameters", "Attributes")
    for name, default in fields(node).items():
        if name not in known and not described(default):
            yield f"{node.name}: attribute {name}"
    yield from undescribed(node)
    for item in node.body:
        if isinstance(item, Function) and item.name == "__init__":
            for name in sorted(parameters(item) - known - documented(item, "Parameters")):
                yield f"{node.name}: parameter {name}"
            yield from (f"{node.name}.{finding}" for finding in undescribed(item))
    # A method that fills in an interface is described there.
    inherits = any(name_of(base) not in ("Protocol", "NamedTuple", "BaseModel", "Generic") for base in node.bases)
    for method in public(node.body):
        found = of_function(method, inherits) if isinstance(method, Function) else of_class(method)
        yield from (f"{node.name}.{finding}" for finding in found)


def findings(source: str) -> list[str]:
    """What a module's docstrings leave out, a line each."""
    found = []
    for node in public(ast.parse(source).body):
        found += of_function(node, inherits=False) if isinstance(node, Function) else of_class(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_parameter_and_attribute_is_described(path: Path) -> None:
    assert findings(path.read_text()) == []


def test_the_check_finds_what_is_not_described() -> None:
    source = '''
class Settings(BaseModel):
    """Doc."""

    described: int = Field(description="What it is.")
    missing: int = Field(1)


@dataclass
class Row:
    """Doc.

    Attributes
    ----------
    a, b : int
        Numbers.
    """

    a: int
    b: int
    c: int
    _private: int

    def method(self, d, *, e, _f):
        """Doc.

        Parameters
        ----------
        d : int
            A number.

        Returns
        -------
        e : int
            A name here is no parameter.
        """

    def listed(self, f, *g, **h):
        """Doc.

        Parameters
        ----------
        f : int

            Text after a blank line is no description.
        *g : int
        **h
            Numbers.

        Returns
        -------
        int
        """

    def undocumented(self): ...


class Reader:
    """Doc.

    Attributes
    ----------
    path, folder : str
    """

    def __init__(self, path, size, **options):
        """Doc.

        Parameters
        ----------
        size : int
        """


def items():
    """Doc.

    Yields
    ------
    name : str
        What each is called.
    int
    """


def _private(g): ...
'''
    assert findings(source) == [
        "Settings: attribute missing",
        "Row: attribute c",
        "Row.method: parameter e",
        "Row.listed: parameter f has no description",
        "Row.listed: parameter g has no description",
        "Row.listed: return int has no description",
        "Row.undocumented: no docstring",
        "Reader: attribute path has no description",
        "Reader: attribute folder has no description",
        "Reader: parameter options",
        "Reader.__init__: parameter size has no description",
        "items: yield int has no description",
    ]
