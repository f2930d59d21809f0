# SPDX-License-Identifier: EUPL-1.2
"""The whole access model as one file that people review: written, read, compared with what is stored, taken over."""
