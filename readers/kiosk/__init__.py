# SPDX-License-Identifier: EUPL-1.2
"""Kiosk pages: the screen of a time clock, a canteen terminal or a printer, served by the agent on loopback.

`screen` is what one terminal shows, pure; `terminals` holds the screens and tells the pages that watch them; `point`
connects a screen with the taps at its reader; `server` serves the pages; `assembly` puts them together. Only `server`
needs the libraries of the extra `kiosk`.
"""
