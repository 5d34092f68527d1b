"""Photos x dances through ComfyUI servers, with results that are kept and resumed by content."""
