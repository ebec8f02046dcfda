"""The audit of promotions and rollbacks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table; `changes` is of statements, each of its lines names one."""
    op.create_table(
        "promotions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("version", sa.String(100)),
        sa.PrimaryKeyConstraint("number", name="pk_promotions"),
    )


def downgrade() -> None:
    """Drop the table; the pointer keeps what was in it."""
    op.drop_table("promotions")
