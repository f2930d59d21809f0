# SPDX-License-Identifier: EUPL-1.2
"""Who changes something names what they saw; whoever saw something else changes nothing."""

import pytest

from cardservice.web.etags import etag_of, require_match
from cardservice.web.problems import ApiProblem

SHOWN = {"code": "bauamt", "name": "Bauamt", "level": None}


def test_a_tag_tells_contents_apart_and_nothing_else():
    assert etag_of(SHOWN) == etag_of(dict(reversed(SHOWN.items())))
    assert len({etag_of(one) for one in (SHOWN, SHOWN | {"level": 3}, SHOWN | {"level": "3"}, [SHOWN])}) == 4


@pytest.mark.parametrize("given", [etag_of(SHOWN), f'"other", {etag_of(SHOWN)}', "*"])
def test_whoever_saw_it_may_change_it(given):
    require_match(given, SHOWN)


@pytest.mark.parametrize(
    ("given", "status"), [(None, 428), ("", 412), ('"other"', 412), (etag_of(SHOWN).strip('"'), 412)]
)
def test_whoever_did_not_may_not(given, status):
    with pytest.raises(ApiProblem) as refused:
        require_match(given, SHOWN)
    assert refused.value.status == status
