"""Moving to Longshore's nodes for ComfyUI: `python -m longshore.comfyui migrate WORKFLOW.json`."""
