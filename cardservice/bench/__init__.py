# SPDX-License-Identifier: EUPL-1.2
"""What `cardservice bench` runs: figures as ratios against a peer or limit measured in the same run."""
