"""A short campaign over all readers of files; `campaign.py` runs the long ones."""

from steadydancer_pack.tests.fuzz import campaign
from steadydancer_pack.tests.fuzz.targets import TARGETS

COUNT = 40


def test_the_campaign_knows_every_target():
    assert set(campaign.TARGETS) == set(TARGETS)


def test_mutated_files_are_read_or_refused():
    counts, faults = campaign.run(campaign.TARGETS, COUNT)
    assert faults == []
    ends = {kind: sum(counts[target, kind] for target in TARGETS) for kind in campaign.GOOD}
    assert sum(ends.values()) == COUNT * len(TARGETS) and min(ends.values()) > COUNT
