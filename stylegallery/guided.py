"""Energy-guided DDIM sampling: denoise the inverted content and let the energies steer."""

from functools import partial

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.bank import AttentionBank
from stylegallery.guidance import Guidance, guide
from stylegallery.inversion import inverted
from stylegallery.models import Models
from stylegallery.sampling import Restyled, toned
from stylegallery.trace import OnStep, Trace
from stylegallery.types import Job, PreparedImage


def sample(
    models: Models,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    on_step: OnStep | None = None,
    kind: type[Guidance] = Guidance,
) -> Restyled:
    """Take DDIM steps, each followed by one down the gradient of the energies.

    This is what the paper's text says where its code optimises a latent (METHOD 1.4, row 1).
    The start is the content, with `match_tone` in the tone of its matches, inverted as far as
    `strength` says. The energies compare like with like: contents and references are shown as
    their own inversion left them at the same timestep, as noisy as the latent is by then.

    A move is `learning_rate` times the gradient of root mean square 1 times the deviation of the
    noise that the latent still holds: what a step adds, later steps can still make natural.

    Args:
        models: The diffusion model.
        jobs: Contents of one latent size, with their references, routings and seeds, the latter
            of the noise, `start_noise`, that is mixed into the start.
        params: `steps` are those of the whole schedule, of which `strength` is taken, forth and
            back; `learning_rate` is described above.
        bank: Keeps what the references look like at every step.
        on_step: Called after every step.
        kind: The energies to descend.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    device, schedule = models.device, models.schedule(params.steps)
    taken = max(1, round(params.strength * params.steps))
    part = (params.steps, taken)
    path = inverted(models, torch.cat([j.content.latent for j in jobs]).to(device), *part)
    latent = path[-1]
    if params.match_tone:
        latent = inverted(models, torch.cat([toned(models, j, params) for j in jobs]), *part)[-1]
    noisy = _Inverted(models, *part)
    latent = torch.cat([_noised(*one, params) for one in zip(latent.split(1), jobs, strict=True)])
    trace = Trace(params, on_step, taken)
    with guide(models, jobs, params, bank, kind) as guidance:
        for index, timestep in enumerate(schedule.timesteps.tolist()[-taken:]):
            latent.requires_grad_()
            back = -1 - index  # the inversion ran from clean to noisy
            view = (timestep, params.steps)
            seen = [
                [guidance.reference(s, view, partial(noisy.at, s, back)) for s in job.styles]
                for job in jobs
            ]
            prediction, style_terms, content_terms = guidance.energies(
                latent, timestep, (path[back], seen)
            )
            loss = trace.loss(timestep, style_terms, content_terms)
            gradient = torch.autograd.grad(loss, latent)[0]
            latent = schedule.step(prediction.detach().float(), timestep, latent.detach())[0]
            size = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            noisiness = (1 - schedule.alphas_cumprod[timestep]).sqrt().item()
            latent = latent - params.learning_rate * noisiness * gradient / size
            trace.stepped()
    return latent, trace.steps()


class _Inverted:
    """Latents of references inverted by a part of the schedule, when first asked for."""

    def __init__(self, models: Models, steps: int, taken: int) -> None:
        self._models, self._part = models, (steps, taken)
        self._paths: dict[PreparedImage, list[Tensor]] = {}

    def at(self, style: PreparedImage, index: int) -> Tensor:
        """Return the latent (1, C, h, w) after so many steps, counted as lists are."""
        if style not in self._paths:
            latent = style.latent.to(self._models.device)
            self._paths[style] = inverted(self._models, latent, *self._part)
        return self._paths[style][index]


def _noised(latent: Tensor, job: Job, params: StyleParams) -> Tensor:
    """Mix seeded noise into a noisy latent (1, C, h, w); its variance stays."""
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(job.seed))
    kept = (1 - params.start_noise**2) ** 0.5
    mixed: Tensor = kept * latent + params.start_noise * noise.to(latent.device)
    return mixed
