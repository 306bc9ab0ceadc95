"""Builds the training mixture of a run and the latent code fitted to it."""

from safetensors.torch import load_file, save_file

from stylegallery.training.data import Mixture, Source, bundled, load_folders
from stylegallery.training.options import Options
from stylegallery.training.pca import PatchCode, fit

FIT_PICTURES, FIT_STEP = 192, 10**9  # batch drawn for the fit, outside the steps of training


def build_mixture(options: Options) -> Mixture:
    """Load what the run trains on: photos 0.5, paintings 0.28, bundled photos 0.07."""
    sources, held_out = [], {}
    short = options.side * 25 // 16
    if options.images:
        train, test = load_folders(options.images, short, options.held_out)
        sources.append(Source("photos", train, 0.5, (0.5, 1.0), 0.2))
        held_out["photos"] = test
    if options.paintings:
        train, test = load_folders(options.paintings, 2 * options.side, 2 * options.held_out)
        sources.append(Source("paintings", train, 0.28, (0.3, 1.0), 0.45))
        held_out["paintings"] = test
    sources.append(Source("bundled", bundled(2 * options.side), 0.07, (0.3, 1.0), 0.4))
    return Mixture(sources, options.patterns, options.side, held_out)


def latent_code(mixture: Mixture, options: Options) -> PatchCode:
    """The code that the autoencoder starts from: fitted and stored, or read back on resuming."""
    path = options.state / "code.safetensors"
    if options.resume and path.exists():
        return PatchCode(**load_file(path))
    pixels = mixture.batch(options.seed, FIT_STEP, FIT_PICTURES, options.side)
    code = fit(pixels, options.channels)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in code.tensors().items()}, path)
    return code
