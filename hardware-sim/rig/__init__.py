# SPDX-License-Identifier: EUPL-1.2
"""The rig: virtual cards plugged into the real pcscd, or into readers inside this process.

`rig.bank` knows which card is in which reader, `rig.vpcd` carries a card to pcscd's virtual reader driver,
`rig.pcscd` runs a private pcscd, `rig.control` is moved from outside, `python -m rig` puts all of it together.
"""
