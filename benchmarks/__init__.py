"""Measurements: `COMFYUI_PATH=... python -m benchmarks.NAME` in the pack's folder, with ComfyUI's Python."""

if __name__ == "benchmarks":  # where it is `steadydancer_pack.benchmarks`, the pack has its name already
    from comfy_client.in_process import use_pack

    use_pack()
