"""Counterfactual chest radiographs from a prior image and a progression description.

    import biomedjourney_monai as bj

    model = bj.load_model()
    result = model.generate("chest.dcm", "New large left pleural effusion.", seed=0)
    result.save("counterfactual.png")

Importing the package is light: each name is loaded at its first use.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "diffusion.settings": ("SamplingSettings",),
    "errors": (
        "BiomedJourneyError",
        "ConfigError",
        "ImageError",
        "MissingPackageError",
        "SettingError",
        "TableError",
        "WeightsError",
    ),
    "evaluation.ablation.run": ("run_ablation",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.judges.loading": ("load_judges",),
    "evaluation.metrics.auroc": ("compute_auroc", "compute_finding_aurocs", "compute_group_aurocs"),
    "evaluation.metrics.cmig": ("compute_cmig", "compute_cmig_with_dice"),
    "evaluation.metrics.correlation": ("compute_pearson_r",),
    "evaluation.metrics.dice": ("compute_structure_dice",),
    "evaluation.metrics.divergence": ("compute_kl",),
    "evaluation.metrics.feature_sets": ("compute_fid", "compute_kid"),
    "evaluation.metrics.truth_error": ("compute_region_psnr", "compute_region_ssim"),
    "evaluation.page.report": ("write_report",),
    "evaluation.reconstruction": ("check_autoencoder",),
    "evaluation.tuning.tune": ("tune",),
    "generation.journeys": ("sample_journeys",),
    "generation.ladder": ("check_ladder", "make_ladder", "save_ladder", "severity_ladder"),
    "generation.model": ("CounterfactualModel", "load_model"),
    "generation.prior": ("Prior",),
    "generation.request": ("Request",),
    "generation.request_list": ("generate_list",),
    "generation.result": ("Result",),
    "model_config": ("ModelConfig",),
    "networks.weights.exporting": ("export_weights",),
    "networks.weights.importing": ("import_weights",),
    "phantom.cohort": ("write_phantom_cohort",),
    "phantom.findings": ("Devices", "FindingState"),
    "phantom.patients": ("Patient", "Visit", "draw_patient"),
    "phantom.truth": ("render_counterfactual", "render_visit"),
    "preparation.cohort.run": ("find_studies",),
    "preparation.descriptions.run": ("describe_pairs",),
    "preparation.journeys": ("find_journeys",),
    "preparation.registration.run": ("register_pairs",),
    "radiographs.loading": ("load_radiograph",),
    "schema": ("FINDINGS",),
    "training.data.encode": ("encode_examples",),
    "training.judges.train": ("train_judges",),
    "training.run": ("train",),
    "training.text_tower.train": ("train_text_tower",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use.

    Raises:
        AttributeError: for another name.
        MissingPackageError: if it needs a package of an extra that is not installed.
    """
    import inspect

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    errors = importlib.import_module(f"{__name__}.errors")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        raise (errors.MissingPackageError.of(error) or error) from None
    if inspect.isfunction(value):
        value = errors.refuse_unknown_keywords(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
