"""Train the small text tower that reads the descriptions for the demo model.

Renders phantom radiographs with their reports and trains an open_clip model on them, from scratch: a BERT of four
layers with its own vocabulary, and a small image transformer. Writes a folder in BiomedCLIP's layout, so that both are
loaded in the same way. A model that was trained with one tower does not work with another: train it again afterwards.
"""

import argparse

from biomedjourney_monai.cli.arguments import pick

EXAMPLE = """biomedjourney train-text --out bundle/models/text_tower --seed 0 --images 600 --steps 800
  biomedjourney train-text --out wider_tower --start-from bundle/models/text_tower --steps 1500"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", default="bundle/models/text_tower", help="folder to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the images and the training (default: %(default)s)")
    parser.add_argument("--images", type=int, default=600, help="radiographs to render (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=800, help="training steps (default: %(default)s)")
    parser.add_argument(
        "--start-from",
        metavar="DIR",
        help="an earlier tower that this one continues: training descriptions keep its token states",
    )
    parser.add_argument("--processes", type=int, default=None, help="that render (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.training.text_tower.train import train_text_tower

    done = train_text_tower(arguments.out, **pick(arguments, "seed images steps processes start_from"))
    figures = done.figures
    print(
        f"held-out pairs {figures['pairs']:.0f}: recall@1 {figures['recall_at_1']:.3f}, "
        f"recall@10 {figures['recall_at_10']:.3f}, median rank {figures['median_rank']:.0f}"
    )
    probed = ", ".join(f"{name} {value:.3f}" for name, value in done.probed.items())
    print(f"linear probe of held-out sentences: {probed}\nwrote {done.folder}")
