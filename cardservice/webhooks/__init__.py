# SPDX-License-Identifier: EUPL-1.2
"""Signed webhooks (Standard Webhooks 1.0): systems outside are told what happens, by a request each."""
