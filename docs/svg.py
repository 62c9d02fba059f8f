"""Pictures as SVG text: panels that are readable on white and on black, equal bytes for equal input."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

# On paper of their own: a viewer with a dark scheme gets a dark one, any other a white one, whatever lies behind.
STYLE = """\
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1b1f24; }
.mono { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
.small { font-size: 11px; } .title { font-size: 15px; font-weight: 600; } .strong { font-weight: 600; }
.soft { fill: #57606a; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.paper { fill: #ffffff; stroke: #d0d7de; } .panel { fill: #f6f8fa; stroke: #d0d7de; }
.history { fill: #dbeafe; stroke: #3b82c4; } .question { fill: #fde8c8; stroke: #c47a14; }
.other { fill: #e6dcf7; stroke: #8355c5; } .answer { fill: #d3f0dd; stroke: #2b9155; }
.shared { fill: #eceff2; stroke: #8b949e; } .line { fill: none; stroke: #8b949e; stroke-width: 1.4; }
.bar { fill: #3b82c4; } .right { fill: #1f7a43; } .wrong { fill: #b3381b; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .soft { fill: #9da7b1; }
.paper { fill: #0d1117; stroke: #3d444d; } .panel { fill: #161b22; stroke: #3d444d; }
.history { fill: #12304f; } .question { fill: #46300c; } .other { fill: #33224f; } .answer { fill: #123c24; }
.shared { fill: #262c34; } .bar { fill: #58a6ff; } .right { fill: #56d387; } .wrong { fill: #ff8f70; }
}"""


@dataclass
class Picture:
    """A picture of `width` x `height` pixels; `title` is what a reader without eyes is told.

    Marks are drawn in the order in which they are added, each with classes of `STYLE` or a colour of its own.
    """

    width: int
    height: int
    title: str
    marks: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, kind: str, *, round: float = 5) -> None:
        self.marks.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round:g}" class="{kind}"/>'
        )

    def fill(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A box without a line around it, in a colour that both schemes share."""
        self.marks.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}"/>')

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        self.marks.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}"/>')

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        of_kind = f' class="{kind}"' if kind else ""
        self.marks.append(f'<text x="{x:g}" y="{y:g}"{of_kind} xml:space="preserve">{escape(words)}</text>')

    def path(self, *points: tuple[float, float], arrow: bool = False) -> None:
        """A line through points, with a head at its last where it is an arrow."""
        steps = " L ".join(f"{x:g} {y:g}" for x, y in points)
        head = ' marker-end="url(#head)"' if arrow else ""
        self.marks.append(f'<path d="M {steps}" class="line"{head}/>')

    def render(self) -> str:
        """The whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img">'
        )
        arrow = (
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            '<path d="M 0 0 L 6 3 L 0 6 z" fill="#8b949e"/></marker></defs>'
        )
        paper = f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="10" class="paper"/>'
        lines = [head, f"<title>{escape(self.title)}</title>", f"<style>{STYLE}</style>", arrow, paper]
        return "\n".join([*lines, *self.marks, "</svg>"]) + "\n"


def shorten(words: str, most: int) -> str:
    """At most so many characters, with an ellipsis for what is left out."""
    return words if len(words) <= most else words[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
