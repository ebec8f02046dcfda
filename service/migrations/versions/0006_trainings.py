"""Training runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "trainings",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("promote", sa.String(10), nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("verdict", sa.JSON),
        sa.Column("version", sa.String(100)),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("ended_at", moment),
        sa.Column("cancelled_by", sa.String(200)),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("holder", sa.String(300)),
        sa.Column("held_until", moment),
        sa.PrimaryKeyConstraint("number", name="pk_trainings"),
        sa.UniqueConstraint("id", name="uq_trainings_id"),
    )
    op.create_index("ix_trainings_state", "trainings", ["state"])


def downgrade() -> None:
    """Drop the table; versions that were made stay where they are."""
    op.drop_table("trainings")
