# SPDX-License-Identifier: EUPL-1.2
"""What is printed on a card: its badge as PDF, alone or many on sheets to cut."""
