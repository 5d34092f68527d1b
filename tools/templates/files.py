"""The model files that the workflows name, each with its folder and its link."""

from .graph import Model

HUB = "https://huggingface.co"
WAN = f"{HUB}/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
KIJAI = f"{HUB}/Kijai/WanVideo_comfy/resolve/main"


def _model(directory: str, folder: str, name: str) -> Model:
    return Model(name, directory, f"{folder}/{name}")


FP16 = _model("diffusion_models", f"{KIJAI}/SteadyDancer", "Wan21_I2V_SteadyDancer_fp16.safetensors")
FP8 = _model(
    "diffusion_models",
    f"{HUB}/Kijai/WanVideo_comfy_fp8_scaled/resolve/main/SteadyDancer",
    "Wan21_SteadyDancer_fp8_e4m3fn_scaled_KJ.safetensors",
)
GGUF = _model(
    "diffusion_models",
    f"{HUB}/MCG-NJU/SteadyDancer-GGUF/resolve/main",
    "Wan21_I2V_SteadyDancer_fp16-Q6_K_fix_5d_tensor_from_fp8_e4m3fn_scaled_KJ.gguf",
)
VAE = _model("vae", f"{WAN}/vae", "wan_2.1_vae.safetensors")
TEXT_FP16 = _model("text_encoders", f"{WAN}/text_encoders", "umt5_xxl_fp16.safetensors")
TEXT_FP8 = _model("text_encoders", f"{WAN}/text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
CLIP_VISION = _model("clip_vision", f"{WAN}/clip_vision", "clip_vision_h.safetensors")
LORA = _model("loras", f"{KIJAI}/Lightx2v", "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors")
