"""Runs migrations on the connection that `service.database` gives."""

from alembic import context

from service.records import Record

connection = context.config.attributes["connection"]
# On SQLite too the tables are all changed or none: its driver is told when to begin.
context.configure(connection=connection, target_metadata=Record.metadata, transactional_ddl=True)
context.run_migrations()
