"""What an evaluation chose, how, and on which pictures: never on those that it scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice: ``Choice(what="kNN, chest: k", value="10", how="least log loss of 1, 5, 10", split="val")``.

    Attributes:
        what: What had to be chosen.
        value: What was.
        how: The rule, with what it had to choose from.
        split: The split that the rule saw; empty for what was fixed before any picture was seen.
    """

    what: str
    value: str
    how: str
    split: str = ""

    @property
    def made_on(self) -> str:
        """For a reader."""
        return f"the {self.split} split" if self.split else "fixed in advance"
