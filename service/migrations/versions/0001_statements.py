"""Labelled statements, their labels and the audit of every change."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the three tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "statements",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("source", sa.String(200)),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("label", sa.String(200)),
        sa.Column("act", sa.String(200)),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_statements"),
        sa.UniqueConstraint("digest", name="uq_statements_digest"),
    )
    for column in ("source", "status", "label"):
        op.create_index(f"ix_statements_{column}", "statements", [column])
    op.create_table(
        "labels",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("statement_number", sa.Integer, nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("act", sa.String(200)),
        sa.Column("changed_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_labels"),
        sa.UniqueConstraint("statement_number", "annotator", name="uq_labels_statement_number"),
        sa.ForeignKeyConstraint(
            ["statement_number"], ["statements.number"], name="fk_labels_statement_number", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_labels_annotator", "labels", ["annotator"])
    op.create_table(
        "changes",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", moment, nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("statement", sa.String(32), nullable=False),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
        sa.PrimaryKeyConstraint("number", name="pk_changes"),
    )
    op.create_index("ix_changes_statement", "changes", ["statement"])


def downgrade() -> None:
    """Refuse: labels would be lost."""
    raise NotImplementedError("going back would delete every label; restore a copy of the database instead.")
