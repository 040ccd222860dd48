"""Where a method was published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a method was published.

    Args:
        authors: "Yu et al." for three and more, "Kang and Li" for two.
        title: of the paper.
        venue: "NeurIPS", "ICML", "TMLR".
        year: of the venue.
        arxiv: the number of the preprint, "2001.06782", or None.
    """

    authors: str
    title: str
    venue: str
    year: int
    arxiv: str | None = None

    @property
    def link(self) -> str:
        """The source in a few words, in Markdown."""
        text = f"{self.authors}, {self.venue} {self.year}"
        return f"[{text}](https://arxiv.org/abs/{self.arxiv})" if self.arxiv else text
