"""Guidance nodes of ComfyUI beside the pose: KSampler with Pose Guidance gives what the SteadyDancer Guider gives."""

import pytest
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_cfg import CFGNorm, CFGZeroStar
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT, SkipLayerGuidanceDiTSimple
from comfy_extras.nodes_tcfg import TCFG

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.tests.comfy.test_sampling import error, ksampler

STEPS = 5
POSE = PoseGuidance(4.0, 0.1, 0.9, every=2)  # computed on steps 1 and 3, kept on steps 2 and 4


def in_list(args):
    """As LatentApplyOperationCFG does: the list of predictions itself is changed."""
    found = args["conds_out"]
    found[0] = (found[0] + found[1]) / 2
    return found


def in_place(args):
    """No stock node changes a prediction itself."""
    args["conds_out"][0].mul_(0.5)
    return args["conds_out"]


def with_pre_cfg(model, function):
    changed = model.clone()
    changed.set_model_sampler_pre_cfg_function(function)
    return changed


# What they change: the predictions before they are combined, how they are combined, the guided prediction.
PRE_CFG = {
    "APG": lambda model: APG.execute(model, 0.5, 2.0, -0.5)[0],
    "TCFG": lambda model: TCFG.execute(model)[0],
    "FreSca": lambda model: FreSca.execute(model, 0.5, 1.5, 1)[0],
    "LatentApplyOperationCFG": lambda model: with_pre_cfg(model, in_list),
    "in place": lambda model: with_pre_cfg(model, in_place),
}
CFG = {
    "RescaleCFG": lambda model: RescaleCFG().patch(model, 0.7)[0],
    "SkipLayerGuidanceDiTSimple": lambda model: SkipLayerGuidanceDiTSimple.execute(model, 0.0, 1.0, "1")[0],
    "CFGNorm, pre_cfg": lambda model: CFGNorm.execute(model, 1.0, pre_cfg=True)[0],
}
POST_CFG = {
    "CFGZeroStar": lambda model: CFGZeroStar.execute(model)[0],
    "CFGNorm": lambda model: CFGNorm.execute(model, 1.0)[0],
    "Mahiro": lambda model: Mahiro.execute(model)[0],
    "SkipLayerGuidanceDiT": lambda model: SkipLayerGuidanceDiT.execute(model, 3.0, 0.0, 1.0, "1", "", 0.5)[0],
}


NODES = PRE_CFG | CFG | POST_CFG


@pytest.mark.parametrize("name", NODES)
def test_the_pose_term_is_that_of_the_guider_in_both_orders(quick_model, conds, inputs, name):
    """Post-CFG nodes stand behind pose guidance."""
    node = NODES[name]
    guider = make_guider(node(quick_model), *conds, 5.0, POSE)
    want = sample(guider, inputs.empty(), 0, "euler", "simple", STEPS)["samples"]
    orders = [node(patch_model(quick_model, conds[2], POSE))]
    if name not in POST_CFG:
        orders.append(patch_model(node(quick_model), conds[2], POSE))
    for model in orders:
        assert error(ksampler(model, conds, inputs, STEPS, "euler", "simple"), want) <= 1e-5
