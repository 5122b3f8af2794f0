"""How the report speaks of each kind of issue that the audit finds, the gravest first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IssueText:
    """Texts on one kind of issue; ``{across}`` in them stands for the splits that were compared.

    Attributes
    ----------
    title : str
        Of its table.
    advice : str
        What to do, in the section on the audit.
    action_one : str
        What to do on the first screen, where there is one issue; empty where nothing is to be done there.
    action_many : str
        The same where there are several; ``{}`` stands for their number.
    """

    title: str
    advice: str
    action_one: str = ""
    action_many: str = ""

    @property
    def needs_action(self) -> bool:
        """Whether the first screen asks to do something."""
        return bool(self.action_many)


ISSUE_TEXTS = {
    "duplicate_other_label": IssueText(
        "The same photograph under two labels",
        "Decide which label is right, and remove the other copy",
        "Decide on the label of a photograph that lies under two",
        "Decide on the labels of {} photographs that lie under two",
    ),
    "near_duplicate_across_splits": IssueText(
        "Near-duplicates across {across}",
        "Move both to one side: a score on such a split is too high",
        "Move a photograph that has a near-duplicate across {across}: a score on it is too high",
        "Move {} photographs that have a near-duplicate across {across}: a score on them is too high",
    ),
    "suspected_mislabel": IssueText(
        "Suspected mislabels",
        "Look at each, and move it to the folder of its fruit",
        "Look at a photograph whose label may be wrong",
        "Look at {} photographs whose label may be wrong",
    ),
    "duplicate": IssueText(
        "Exact duplicates",
        "Remove the copies",
        "Remove a copy of a photograph",
        "Remove {} copies of photographs",
    ),
    "thin_label": IssueText(
        "Thin labels",
        "Take more photographs of these",
        "Take more photographs of a thin label",
        "Take more photographs of {} thin labels",
    ),
    "outlier": IssueText(
        "Outliers of their label",
        "Look at each: a wrong label, a bad photograph, or a rare view",
        "Look at a photograph that is far from the others of its label",
        "Look at {} photographs that are far from the others of their label",
    ),
    "near_duplicate": IssueText("Near-duplicates", "Keep them on one side of any split, by --group-regex"),
}
"""By kind, the gravest first."""
