"""Load a counterfactual over its prior in 3D Slicer: paste this into Slicer's Python console and set `prior`.

It asks the MONAI Label server of bundle/docs/how-to/monai-label.md.
"""

import json
import pathlib
import tempfile

import requests
import slicer

prior = pathlib.Path("/path/to/chest.nii.gz")
answer = requests.post(
    "http://127.0.0.1:8123/infer/cxr_counterfactual?output=image",
    files={"file": (prior.name, prior.read_bytes())},
    data={
        "params": json.dumps(
            {"progression_description": "New large left pleural effusion.", "result_extension": ".nii.gz"}
        )
    },
)
print(answer.json()["detail"]) if answer.status_code == 422 else answer.raise_for_status()
made = pathlib.Path(tempfile.mkdtemp()) / "synthetic.nii.gz"
made.write_bytes(answer.content)
slicer.util.setSliceViewerLayers(
    background=slicer.util.loadVolume(str(prior)), foreground=slicer.util.loadVolume(str(made)), foregroundOpacity=0.5
)
