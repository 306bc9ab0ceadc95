"""Command line of training: `python -m stylegallery.training.train`, from pictures to a model."""

import signal
import sys
from typing import Any

import torch
from diffusers import AutoencoderDC

from stylegallery.training import export, unet_training, vae_training
from stylegallery.training.autoencoder import PatchCode
from stylegallery.training.data import Mixture, build_mixture, latent_code
from stylegallery.training.latent_bank import latent_bank
from stylegallery.training.options import Options, parse


def say(line: str) -> None:
    """Print a progress line at once."""
    print(line, flush=True)


def run(options: Options) -> None:
    """Run the phases of `options` in order; each uses the results of earlier ones."""
    if options.threads:
        torch.set_num_threads(options.threads)
    mixture = build_mixture(options)
    counts = ", ".join(f"{len(s.pictures)} {s.name}" for s in mixture.sources)
    say(f"pictures: {counts}; patterns {options.patterns:.0%} of a batch")
    code = latent_code(mixture, options)
    for phase in options.phases:
        say(f"phase {phase}")
        _phase(phase, options, mixture, code)


def _phase(phase: str, options: Options, mixture: Mixture, code: PatchCode) -> None:
    if phase == "vae":
        vae_training.train_vae(vae_training.vae_run(options, code), mixture, options, say)
    elif phase == "unet":
        bank = latent_bank(mixture, _vae(options, code, decoder=False), options, say)
        unet_training.train_unet(unet_training.unet_run(options), bank, options, say)
    elif phase == "decoder":
        alone = vae_training.decoder_run(options, _vae(options, code, decoder=False))
        vae_training.train_decoder(alone, mixture, options, say)
    else:
        done, vae = unet_training.unet_run(options.resumed), _vae(options, code, decoder=True)
        student: Any = done.average.module.cpu()
        export.export_model(options, vae, student, say)
        if phase == "card":
            export.evaluate_model(options, mixture, code, vae, done, say)


def _vae(options: Options, code: PatchCode, decoder: bool) -> AutoencoderDC:
    """Return the given autoencoder, or the trained one; `decoder` loads its last phase, too."""
    if options.autoencoder:
        given: Any = AutoencoderDC.from_pretrained(options.autoencoder, subfolder="vae")
        return _frozen(given.float())
    joint: Any = vae_training.vae_run(options.resumed, code).average.module
    if decoder:
        joint = vae_training.decoder_run(options.resumed, joint).average.module
    return _frozen(joint.cpu())


def _frozen(vae: Any) -> AutoencoderDC:
    frozen: AutoencoderDC = vae.eval().requires_grad_(False)
    return frozen


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. SIGTERM and Ctrl-C save a checkpoint before the exit."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        run(parse(arguments))
    except KeyboardInterrupt:
        say("stopped; continue with --resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
