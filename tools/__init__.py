"""Commands: `python -m tools.NAME` in the pack's folder. The pack is importable in them as `steadydancer_pack`."""

if __name__ == "tools":  # where it is `steadydancer_pack.tools`, the pack has its name already
    from comfy_client.in_process import use_pack

    use_pack()
