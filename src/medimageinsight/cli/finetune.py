"""``mi2 finetune``: a checkpoint trained further on one's own pictures."""

from medimageinsight.cli.options import AsJson
from medimageinsight.cli.train import Config, NoBundle, Out, Seed, go
from medimageinsight.errors import missing_extra


def finetune(
    config: Config, out: Out = None, seed: Seed = None, no_bundle: NoBundle = False, as_json: AsJson = False
) -> None:
    """Train a checkpoint further (all of it, its last blocks, or low-rank adapters), and make a bundle of the best one.

    A run goes on when its folder has a state: repeat the command. Over several processes: torchrun --nproc-per-node=N
    --module medimageinsight finetune CONFIG. Needs the extra 'train'.
    """
    try:
        from medimageinsight.train.loop import finetune as finetune_model
    except ImportError:
        raise missing_extra("train", "fine-tuning") from None
    go(finetune_model, config, out, seed, bundle=not no_bundle, as_json=as_json)
