# SPDX-License-Identifier: EUPL-1.2
"""The few sentences the agent shows by itself, as (German, English); all others come from the centre."""

CENTRE_UNREACHABLE = ("Zentrale nicht erreichbar", "Centre not reachable")
CARD_GONE = ("Karte zu früh entfernt, bitte noch einmal", "Card removed too soon, please try again")
CARD_UNREADABLE = ("Karte nicht lesbar, bitte noch einmal", "Card cannot be read, please try again")
PRESENT_AGAIN = ("Bitte Karte neu vorhalten", "Please present your card again")
READER_FAULT = ("Leser gestört", "Reader out of order")
