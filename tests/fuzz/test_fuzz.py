"""A short campaign over all readers of files; `campaign.py` runs the long ones."""

from steadydancer_pack.tests.fuzz import campaign
from steadydancer_pack.tests.fuzz.targets import TARGETS

COUNT = 60


def test_the_campaign_knows_every_target():
    assert set(campaign.TARGETS) == set(TARGETS)


def test_mutated_files_are_read_or_refused():
    counts, faults = campaign.run(campaign.TARGETS, COUNT)
    assert faults == []
    assert counts.total() == COUNT * len(TARGETS)
    for target in TARGETS:
        assert counts[target, "refused"] + counts[target, "accepted"] == COUNT
        assert counts[target, "accepted"], f"{target}: no mutated file was read"
