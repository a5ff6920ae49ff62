"""A MONAI Deploy application: one radiograph and one description in, one counterfactual out.

bundle/docs/how-to/monai-deploy.md says how to run it.
"""

import os
from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Operator, OperatorSpec

from biomedjourney_monai.cli.main import main


class FindPrior(Operator):
    """Finds the prior radiograph in the input folder."""

    def __init__(self, fragment, *args, folder: Path, **kwargs):
        self.folder = folder
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec):
        spec.output("prior")

    def compute(self, op_input, op_output, context):
        priors = sorted(path for path in self.folder.rglob("*") if path.is_file())
        if len(priors) != 1:
            raise ValueError(f"the input folder must hold one radiograph, found {len(priors)} files")
        op_output.emit(priors[0], "prior")


class MakeCounterfactual(Operator):
    """Runs `biomedjourney sample`."""

    def __init__(self, fragment, *args, folder: Path, text: str, **kwargs):
        self.folder, self.text = folder, text
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec):
        spec.input("prior")

    def compute(self, op_input, op_output, context):
        prior = op_input.receive("prior")
        out = self.folder / f"counterfactual{'.dcm' if prior.suffix == '.dcm' else '.png'}"
        words = ["sample", "--prior", str(prior), "--description", self.text, "--out", str(out)]
        if main(words):
            raise RuntimeError("sample refused the request; the line above says why")


class CounterfactualApp(Application):
    def compose(self):
        context: AppContext = Application.init_app_context(self.argv)
        find = FindPrior(self, CountCondition(self, 1), folder=Path(context.input_path), name="find_prior")
        make = MakeCounterfactual(self, folder=Path(context.output_path), text=os.environ["DESCRIPTION"], name="make")
        self.add_flow(find, make, {("prior", "prior")})


if __name__ == "__main__":
    CounterfactualApp().run()
