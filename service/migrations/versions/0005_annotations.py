"""Annotations in other tools, which labels follow."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "annotations",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("label_number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_annotations"),
        sa.ForeignKeyConstraint(
            ["label_number"], ["labels.number"], name="fk_annotations_label_number", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_annotations_label_number", "annotations", ["label_number"])


def downgrade() -> None:
    """Drop the table; labels stay, and follow nothing any more."""
    op.drop_table("annotations")
