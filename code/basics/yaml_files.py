"""YAML as files hold it, with the place of what is wrong; aliases may repeat a part, and not fill the memory."""

from collections.abc import Callable
from functools import cache
from typing import Any

from basics.files import is_unicode

MOST_CHARACTERS = 50_000  # of a file: PyYAML takes up to a second for as many, on a slow core
MOST_NODES = 100_000  # values of a file, those counted again that an alias repeats
DEEPEST = 50  # lists and mappings in each other
LONGEST_NUMBER = 100  # characters
_SAID = ("problem", "strerror", "reason")
_NUMBER, _MERGE = "tag:yaml.org,2002:int", "tag:yaml.org,2002:merge"


class YamlError(Exception):
    """Why a text cannot be read as YAML. line: from 1; None: of the whole."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason, self.line = reason, line


def parse_yaml(text: str, look: Callable[[Any], Any] = lambda root: None) -> tuple[Any, Any]:
    """(what a text holds, what `look` makes of its root as PyYAML composes it); both None of an empty text.

    Raises:
        YamlError: it is no YAML, or its aliases make far more of it than is written.
    """
    import yaml  # here: whoever only predicts has no need of it

    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"{len(text):,} characters, allowed are {MOST_CHARACTERS:,}")
    try:
        loader = _shallow_loader()(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _measure(node, {}, 0)
        looked = look(node)  # before merges (<<) are written into the nodes
        return loader.construct_document(node), looked
    except YamlError:
        raise
    except RecursionError:
        raise YamlError("nested too deeply") from None
    # A date that is none is a ValueError, one of another form an AttributeError, a mapping as a key a TypeError.
    except (ValueError, AttributeError, TypeError, KeyError, OverflowError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        words = (getattr(error, name, None) for name in _SAID)
        reason = next(filter(None, words), None) or " ".join(str(error).split())
        raise YamlError(reason, mark and mark.line + 1) from None


def refuse_doubled_keys(node: Any) -> None:
    """For `parse_yaml` to look with. YamlError: a mapping has a key twice, of which PyYAML takes the last unasked."""
    if node.id == "mapping":
        named: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if key.id != "scalar" or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in named:
                raise YamlError(f"{key.value} stands there twice, allowed is once", key.start_mark.line + 1)
            named.add((key.tag, key.value))
    for one in node.value if node.id != "scalar" else ():
        for part in one if isinstance(one, tuple) else (one,):
            refuse_doubled_keys(part)


@cache
def _shallow_loader() -> type:
    """PyYAML's, but it stops at the first value that is too deep: its time grows with the square of the depth."""
    import yaml

    class ShallowLoader(yaml.SafeLoader):
        depth = -1  # of the root it is 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > DEEPEST:
                raise YamlError("nested too deeply", self.peek_event().start_mark.line + 1)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return ShallowLoader


def _measure(node: Any, known: dict[int, int], depth: int) -> int:
    """Values in a node, as if each alias were written out; YamlError: too many, or too deep."""
    line = node.start_mark.line + 1
    if depth > DEEPEST:
        raise YamlError("nested too deeply", line)
    if id(node) in known:
        return known[id(node)]
    inner = node.value if isinstance(node.value, list) else ()
    parts = (part for one in inner for part in (one if isinstance(one, tuple) else (one,)))
    size = 1 + sum(_measure(part, known, depth + 1) for part in parts)
    if size > MOST_NODES:
        raise YamlError(f"its aliases make more than {MOST_NODES:,} values of it", line)
    if isinstance(node.value, str) and not is_unicode(node.value):
        raise YamlError("half a character (a lone surrogate)", line)
    if node.tag == _NUMBER and len(node.value) > LONGEST_NUMBER:
        raise YamlError(f"a whole number of {len(node.value):,} characters", line)
    known[id(node)] = size
    return size
