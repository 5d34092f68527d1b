"""Words that people type to find what this pack does, English and Chinese, for search_aliases."""

DANCE = [
    "dance", "dancing", "animate", "animation", "character animation", "animate anyone", "motion transfer",
    "motion control", "pose transfer", "tiktok", "steadydancer", "steady dancer", "image to video", "wan",
    "\u821e\u8e48", "\u8df3\u821e", "\u52a8\u4f5c\u8fc1\u79fb", "\u52d5\u4f5c\u9077\u79fb",
]  # fmt: skip
SKELETON = ["skeleton", "\u9aa8\u67b6", "\u59ff\u6001"]
STEADY = ["stabilize", "stabilise", "smooth", "jitter", "\u7a33\u5b9a", "\u53bb\u6296"]
SCALE = ["scale pose", "resize pose", "move pose", "\u59ff\u6001\u5bf9\u9f50"]
SAVE_VIDEO = ["combine", "\u89c6\u9891\u5408\u6210", "\u5f71\u7247\u5408\u6210", "\u4fdd\u5b58\u89c6\u9891"]
