# SPDX-License-Identifier: EUPL-1.2
"""The demonstration city: starts everything on one machine, shows it in a browser, or plays a script.

Stands beside `app.py` as a second composition root: it alone sees the service, the agents and the simulators together.
"""
