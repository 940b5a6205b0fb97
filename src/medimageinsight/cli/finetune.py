"""``mi2 finetune``: fine-tune a checkpoint on your own images."""

from medimageinsight.cli.options import AsJson
from medimageinsight.cli.train import Config, NoBundle, Out, Seed, run_training
from medimageinsight.errors import missing_extra


def finetune(
    config: Config, out: Out = None, seed: Seed = None, no_bundle: NoBundle = False, as_json: AsJson = False
) -> None:
    """Fine-tune a checkpoint (all, its last blocks, or low-rank adapters), and convert the best model to a bundle.

    A run resumes if its folder contains a state: repeat the command. With several processes: torchrun
    --nproc-per-node=N --module medimageinsight finetune CONFIG. Needs the extra 'train'.
    """
    try:
        from medimageinsight.train import finetune as finetune_model
    except ImportError:
        raise missing_extra("train", "fine-tuning") from None
    run_training(finetune_model, config, out, seed, bundle=not no_bundle, as_json=as_json)
