"""One request of `sample`: one picture, or several with their mean, their spread and what the judges say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker, Prior, finished_picture
from biomedjourney_monai.cli.picture_writer import PictureWriter, check_suffix, read_pseudonyms
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation.provenance import region_name


def sample_one(arguments: argparse.Namespace) -> None:
    """Sample `--prior` with `--description` to `--out`."""
    from biomedjourney_monai.generation.description_check import refuse_empty

    if arguments.description is None or not arguments.out:
        raise BiomedJourneyError(
            "one image needs a description and a file to write",
            found="--description or --out missing",
            action="Pass --description TEXT --out FILE",
        )
    refuse_empty(arguments.description)
    check_suffix(arguments.out)
    writer = PictureWriter(arguments.prior, read_pseudonyms(arguments))
    maker = CounterfactualMaker(arguments)
    prior = maker.read_prior(arguments.prior)
    writer.check(arguments.out, arguments.description)
    region = maker.read_region(prior)
    overruled = maker.check_description(arguments.description)
    seeds = [arguments.seed + offset for offset in range(arguments.samples or 1)]
    images, made = draw_samples(maker, prior, arguments.description, seeds, region)
    pictures = [finished_picture(image, prior) for image in images]
    metadata = [maker.metadata(prior, arguments.description, seed, overruled) for seed in seeds]
    if region is not None:
        metadata = [{**facts, "region": region_name(region)} for facts in metadata]
    series = {**metadata[0], "samples": len(seeds)} if len(seeds) > 1 else None
    out, written = Path(arguments.out), []
    for number, (picture, facts) in enumerate(zip(pictures, metadata)):
        path = out if number == 0 else beside(out, f"{number + 1:02d}", suffix=out.suffix)
        writer.write(path, picture, facts, number=number + 1, series_facts=series)
        written.append(path.name)
    if made.region is not None:
        written.append(_save_region(beside(out, "region"), prior, made, metadata[0]))
    if len(seeds) > 1:
        written += _save_spread(out, maker, prior, images, seeds, metadata[0])
    height, width = prior.original_hw
    print(f"wrote {arguments.out} ({width}×{height}, generated at {maker.size}×{maker.size})")
    if len(written) > 1:
        print(f"beside it: {', '.join(written[1:])}")


def beside(out: Path, word: str, *, suffix: str = ".png") -> Path:
    """`made.dcm` and "mean" to `made-mean.png`."""
    return out.with_name(f"{out.stem}-{word}{suffix}")


def draw_samples(
    maker: CounterfactualMaker, prior: Prior, text: str, seeds: list[int], region: Any, *, quiet: bool = False
) -> tuple[Any, Any]:
    """Generate in batches: images (K, S, S), and what was made of the first seed; `quiet` draws no progress bar."""
    import numpy as np
    from tqdm import tqdm

    size = maker.arguments.batch_size
    parts, first = [], None
    with tqdm(total=len(seeds), desc="sample", unit="image", disable=quiet or len(seeds) == 1) as bar:
        for start in range(0, len(seeds), size):
            batch = seeds[start : start + size]
            made = maker.make([prior] * len(batch), [text] * len(batch), batch, region=region)
            first = first or made
            parts.append(made.images[:, 0].cpu().numpy())
            bar.update(len(batch))
    return np.concatenate(parts), first


def _save_region(path: Path, prior: Prior, made: Any, metadata: dict[str, Any]) -> str:
    """The relevance map, or the mask, in colour over the prior."""
    from biomedjourney_monai.radiographs import restore
    from biomedjourney_monai.radiographs.pictures.maps import overlay_map, save_colour_png

    shown, caption = made.region, "region: change is allowed where coloured"
    if made.relevance is not None:
        shown, caption = made.relevance * (made.region > 0), "relevance of the description: 0 to highest"
    values = restore(shown[0, 0].cpu().numpy(), prior.original_hw)
    image = restore(prior.image, prior.original_hw)
    save_colour_png(path, overlay_map(image, values, highest=1.0, caption=caption), metadata=metadata)
    return path.name


def _save_spread(
    out: Path, maker: CounterfactualMaker, prior: Prior, images: Any, seeds: list[int], metadata: dict[str, Any]
) -> list[str]:
    """Mean and standard deviation as pictures, and the judges' agreement as JSON."""
    import torch

    from biomedjourney_monai.evaluation.judges.agreement import agreement_of
    from biomedjourney_monai.files import write_json
    from biomedjourney_monai.generation.uncertainty import spread_of
    from biomedjourney_monai.radiographs import restore, save_png
    from biomedjourney_monai.radiographs.pictures.maps import overlay_map, save_colour_png

    spread = spread_of(images)
    facts = {**metadata, "samples": len(seeds), "seed": f"{seeds[0]}-{seeds[-1]}"}
    save_png(beside(out, "mean"), finished_picture(spread.mean, prior), metadata=facts)
    highest = float(spread.deviation.max())
    picture = overlay_map(
        restore(spread.mean, prior.original_hw),
        restore(spread.deviation, prior.original_hw),
        highest=highest,
        caption=f"standard deviation of {len(seeds)} samples: 0 to {highest:.2f}",
    )
    save_colour_png(beside(out, "sigma"), picture, metadata={**facts, "highest_deviation": f"{highest:.4f}"})
    judges = maker.judges()
    agreement = agreement_of(judges.score(torch.from_numpy(images)[:, None]).pathology.numpy())
    content = {**facts, "judges": judges.provenance(), "findings": agreement}
    content["mean_deviation"] = round(float(spread.deviation.mean()), 5)
    report = out.with_name(f"{out.stem}-samples.json")
    write_json(report, content)
    for finding, numbers in agreement.items():
        print(f"{finding:18} {numbers['mean']:.2f} ± {numbers['deviation']:.2f}, {numbers['agreement']:.0%} agree")
    return [beside(out, "mean").name, beside(out, "sigma").name, report.name]
