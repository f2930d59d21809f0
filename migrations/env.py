# SPDX-License-Identifier: EUPL-1.2
"""How alembic runs here: always on a connection that `cardservice.database.upgrade` opened, inside its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
