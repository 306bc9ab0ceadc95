"""``python -m stylegallery.embedded.train``: from picture folders to a finished model folder."""

from __future__ import annotations

import signal
import sys
from typing import Any

import torch

from stylegallery.embedded import decoder_training, unet_training
from stylegallery.embedded.finish import finish
from stylegallery.embedded.options import Options, parse
from stylegallery.embedded.sources import build_mixture, latent_code


def say(line: str) -> None:
    """Print a progress line at once."""
    print(line, flush=True)


def run(options: Options) -> None:
    """Run the phases of ``options`` in order."""
    if options.threads:
        torch.set_num_threads(options.threads)
    mixture = build_mixture(options)
    counts = ", ".join(f"{len(s.pictures)} {s.name}" for s in mixture.sources)
    say(f"pictures: {counts}; patterns {options.patterns:.0%} of a batch")
    code = latent_code(mixture, options)
    for phase in options.phases:
        say(f"phase {phase}")
        if phase == "unet":
            unet_run = unet_training.start(options)
            unet_training.train(unet_run, mixture, code, options, say)
        elif phase == "decoder":
            decoder_run = decoder_training.start(options, code)
            decoder_training.train(decoder_run, mixture, code, options, say)
        else:
            finish(options, mixture, code, say, full=phase == "card")


def main(arguments: list[str] | None = None) -> int:
    """Command-line entry. A SIGTERM or Ctrl-C saves the checkpoint before leaving."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        run(parse(arguments))
    except KeyboardInterrupt:
        say("stopped; go on with --resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
