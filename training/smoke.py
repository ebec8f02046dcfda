"""A dozen plain statements that every version fit to serve tells apart. Composed here; none is in the corpus."""

__all__ = ["PLAIN_STATEMENTS"]

PLAIN_STATEMENTS: tuple[tuple[str, str], ...] = (
    ("Surrender the harbour by dawn or our artillery will level the city.", "escalatory"),
    ("Our forces crossed the border this morning and will not halt until the capital has fallen.", "escalatory"),
    ("We are expelling their ambassador and breaking off all relations as of today.", "escalatory"),
    ("If they fire a single missile at our ally, we will answer with all our might.", "deterrent"),
    ("Any ship that enters our waters without permission will be sunk.", "deterrent"),
    ("An attack on one member will be treated as an attack on all of us.", "deterrent"),
    ("We appeal to both governments to stop the fighting and to come back to the negotiating table.", "de-escalatory"),
    ("We are ready to meet their delegation anywhere, without preconditions, to end this war.", "de-escalatory"),
    ("The two armies agreed to withdraw their troops from the frontier and exchange all prisoners.", "de-escalatory"),
    ("The minister arrived in the capital on Tuesday for a two-day visit.", "none"),
    ("The committee adopted its agenda and elected a new chairman.", "none"),
    ("Oil prices rose two per cent last week, traders said.", "none"),
)
"""Each with its label, one of `model.labels.LABELS`."""
