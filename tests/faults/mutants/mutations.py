"""Small faults, one at a time, in the syntax tree of a module: what tests must notice.

Left alone are annotations, decorators, docstrings, `strict=` and the wording of errors and of --help.
"""

import ast
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

# An operator and what stands in its place: the nearest neighbour, which is the hardest to notice.
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Mult},
}
RENAMED = {"min": "max", "max": "min", "any": "all", "all": "any", "startswith": "endswith", "endswith": "startswith"}
RENAMED |= {"lower": "upper", "casefold": "upper", "strip": "lstrip", "match": "fullmatch", "fullmatch": "match"}
RENAMED |= {"removeprefix": "removesuffix", "removesuffix": "removeprefix", "setdefault": "get"}
# Their negation is among the swaps.
NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
LEFT_ALONE = frozenset(("annotation", "returns", "decorator_list", "type_params"))
UNTOUCHED = frozenset(("strict", "help"))  # keywords that only compare what is equal anyway, or are words
HELP = "_help"  # so end the names of words for --help
SHOWN = 120  # characters of a mutation in a report


@dataclass(frozen=True)
class Mutant:
    """A fault. number: among those of its file; line: from 1; within: the function or class, dotted."""

    number: int
    line: int
    within: str
    was: str
    becomes: str

    @property
    def key(self) -> str:
        """What it is known by, though lines move."""
        return f"{self.within}: {self.was} -> {self.becomes}"


@dataclass(frozen=True)
class _Site:
    """Where a node hangs in the tree, and what takes its place. place: in the list `field`; None: it is no list."""

    holder: ast.AST
    field: str
    place: int | None
    new: ast.AST | None
    line: int
    within: str

    @property
    def old(self) -> ast.AST:
        held = getattr(self.holder, self.field)
        return held if self.place is None else held[self.place]

    def shown(self) -> tuple[str, str]:
        """What there was, and what there is in its place."""
        if isinstance(self.old, ast.Call) and isinstance(self.new, ast.Call):  # a keyword is gone
            (gone,) = set(self.old.keywords) - set(self.new.keywords)
            function = _shown(self.old.func)
            return f"{function}({_shown(gone)})", f"{function}()"
        around = _shown(self.holder) if isinstance(self.holder, ast.expr) else ""
        if not 0 < len(around) < SHOWN // 2:
            return _shown(self.old), _shown(self.new)
        old = self.old  # among what stands around it, as a constant alone says little
        self.put(self.new)
        becomes = _shown(self.holder)
        self.put(old)
        return around, becomes

    def put(self, node: ast.AST | None) -> None:
        if self.place is None:
            setattr(self.holder, self.field, node)
        else:
            getattr(self.holder, self.field)[self.place] = node


def list_mutants(source: str) -> list[Mutant]:
    """All that can be made of a file, in the order of its text."""
    return [
        Mutant(number, site.line, site.within or "module", *site.shown())
        for number, site in enumerate(_sites(ast.parse(source)))
    ]


def mutate(source: str, number: int) -> ast.Module:
    """The tree of a file with one fault in it."""
    tree = ast.parse(source)
    site = list(_sites(tree))[number]
    site.put(site.new)
    return ast.fix_missing_locations(tree)


def _shown(node: ast.AST | None) -> str:
    text = "nothing" if node is None else ast.unparse(node)
    return " ".join(text.split())[:SHOWN]


def _sites(node: ast.AST, within: str = "", raising: bool = False) -> Iterator[_Site]:
    raising = raising or isinstance(node, ast.Raise)
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        within = f"{within}.{node.name}".strip(".")
    for field, value in ast.iter_fields(node):
        if field in LEFT_ALONE:
            continue
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or _is_docstring(child) or getattr(child, "arg", None) in UNTOUCHED:
                continue
            if isinstance(child, ast.Assign) and getattr(child.targets[0], "id", "").endswith(HELP):
                continue
            for new in _replacements(node, field, child, raising):
                line = getattr(child, "lineno", getattr(node, "lineno", 0))
                yield _Site(node, field, place if isinstance(value, list) else None, new, line, within)
            yield from _sites(child, within, raising)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacements(holder: ast.AST, field: str, node: ast.AST, raising: bool) -> Iterator[ast.AST | None]:
    """What may stand in place of a node; None: nothing."""
    if field in ("test", "ifs") and not _has_a_negation(node):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(holder, ast.Slice) and field in ("lower", "upper") and not isinstance(node, ast.Constant):
        yield None
    if isinstance(node, ast.Constant):
        if not _is_minus(holder):
            yield from _other_constants(node, raising)
    elif isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            yield _changed(node, ops=[*node.ops[:place], SWAPPED[type(operator)](), *node.ops[place + 1 :]])
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPPED:
        yield _changed(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
        if _is_minus(node) and isinstance(node.operand, ast.Constant):
            yield _changed(node, operand=ast.Constant(node.operand.value + 1))
    elif isinstance(node, ast.Call):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg not in UNTOUCHED:
                yield _changed(node, keywords=[*node.keywords[:place], *node.keywords[place + 1 :]])
    elif isinstance(node, ast.Name) and field == "func" and node.id in RENAMED:
        yield _changed(node, id=RENAMED[node.id])
    elif isinstance(node, ast.Attribute) and field == "func" and node.attr in RENAMED:
        yield _changed(node, attr=RENAMED[node.attr])


def _is_minus(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _has_a_negation(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and isinstance(node.ops[0], NEGATED_BY_SWAP)
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _other_constants(node: ast.Constant, raising: bool) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node.value, str) and not raising:
        yield ast.Constant(f"X{node.value}X")
    elif isinstance(node.value, bytes):
        yield ast.Constant(b"X%bX" % node.value)


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, ast.AugAssign) and type(node.op) in SWAPPED:
        yield _changed(node, op=SWAPPED[type(node.op)]())
    if isinstance(node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete)) or _sets_part_of_something(node):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Break):
        yield ast.Continue()


def _sets_part_of_something(node: ast.stmt) -> bool:
    """Whether it is `a.b = c` or `a[b] = c`; without `a = c` the module would not run."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new
