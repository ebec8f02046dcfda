"""Predictions that callers chose to keep, and what was taken out of the review queue without a label."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the two tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "predictions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("act", sa.String(200)),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("margin", sa.Double, nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("kept_at", moment, nullable=False),
        sa.Column("kept_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_predictions"),
        sa.UniqueConstraint("digest", name="uq_predictions_digest"),
    )
    op.create_index("ix_predictions_margin", "predictions", ["margin"])
    op.create_table(
        "dismissals",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_dismissals"),
        sa.UniqueConstraint("digest", name="uq_dismissals_digest"),
    )


def downgrade() -> None:
    """Drop both; a prediction can be kept anew, and no label is in them."""
    op.drop_table("dismissals")
    op.drop_table("predictions")
