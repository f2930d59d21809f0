# SPDX-License-Identifier: EUPL-1.2
"""Backups of both stores: taken beside the running service, verified, put back whole or not at all.

Both stores are copied as they were at one moment. Where that cannot quite be had (two files of SQLite) the record's
moment comes first: whatever it names, a person or a point, is then in the state too, and no number of somebody whom the
state has forgotten is given to somebody else.
"""
