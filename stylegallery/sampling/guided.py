"""Energy-guided DDIM sampling: denoise the inverted content and let the energies steer."""

import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.guidance import Guidance, guide
from stylegallery.guidance.loss_trace import OnStep, Trace
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted
from stylegallery.sampling.optimise import Restyled, toned
from stylegallery.types import PreparedImage, StyleJob


def sample(
    models: Models,
    jobs: list[StyleJob],
    params: StyleParams,
    bank: AttentionCache,
    on_step: OnStep | None = None,
    kind: type[Guidance] = Guidance,
) -> Restyled:
    """Take DDIM steps, each followed by one down the gradient of the energies.

    This is what the paper's text says where its code optimises a latent (METHOD 1.4, row 1).
    The start is the content, with `match_tone` in the tone of its matches, inverted as far as
    `strength` says. The energies compare like with like: contents, toned as they start, and
    references are shown as their own inversion left them at the same timestep, as noisy as the
    latent is by then, or at the nearest of the `anchors`.

    No item ends early when its loss is flat: it would be left with the noise of its timestep.

    A move is `learning_rate` times the gradient of root mean square 1 times the deviation of the
    noise that the latent still holds: what a step adds, later steps can still make natural.

    Args:
        models: The diffusion model.
        jobs: Contents of one latent size, with their references, routings and seeds, the latter
            of the noise, `start_noise`, that is mixed into the start.
        params: `steps` are those of the whole schedule, of which `strength` is taken, forth and
            back; `learning_rate` is described above.
        bank: Keeps what the references look like at the anchors.
        on_step: Called after every step.
        kind: The energies to descend.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    schedule = models.schedule(params.steps)
    taken = max(1, round(params.strength * params.steps))
    shown = _Inverted(models, jobs, params, schedule.timesteps.tolist()[-taken:])
    latent = torch.cat([_noised(*one, params) for one in zip(shown.start, jobs, strict=True)])
    trace = Trace(params, on_step, taken)
    with guide(models, jobs, params, bank, kind, shown) as guidance:
        for timestep in shown.timesteps:
            latent.requires_grad_()
            prediction, style_terms, content_terms = guidance.predicted(latent, timestep)
            loss = trace.loss(timestep, style_terms, content_terms)
            gradient = torch.autograd.grad(loss, latent)[0]
            latent = schedule.step(prediction.detach().float(), timestep, latent.detach())[0]
            size = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
            noisiness = (1 - schedule.alphas_cumprod[timestep]).sqrt().item()
            latent = latent - params.learning_rate * noisiness * gradient / size
            trace.stepped()
    return latent, trace.steps()


class _Inverted:
    """Contents and references as their inversion by a part of the schedule left them."""

    in_turns = True

    def __init__(
        self, models: Models, jobs: list[StyleJob], params: StyleParams, timesteps: list[int]
    ) -> None:
        """Invert the contents; references are when they are first asked for.

        `start` are the contents' latents (1, C, h, w) to start from, of the noise of the first of
        the timesteps. They are toned if asked for, and shown so too: the photo's own would take
        an inversion of its own, and the figures are no better for it.
        """
        self.timesteps, self.steps, self._models = timesteps, params.steps, models
        self._contents = self._path(torch.cat([toned(models, job, params) for job in jobs]))
        self.start = self._contents[-1].split(1)
        self._styles: dict[PreparedImage, list[Tensor]] = {}

    def content(self, index: int, timestep: int) -> Tensor:
        """Return the content's latent (1, C, h, w) after the step that leads to the timestep."""
        return self._contents[self._place(timestep)][index : index + 1]

    def style(self, image: PreparedImage, timestep: int) -> Tensor:
        """Return the reference's latent (1, C, h, w) after the step that leads to the timestep."""
        if image not in self._styles:
            self._styles[image] = self._path(image.latent.to(self._models.device))
        return self._styles[image][self._place(timestep)]

    def _path(self, latent: Tensor) -> list[Tensor]:
        return inverted(self._models, latent, self.steps, len(self.timesteps))

    def _place(self, timestep: int) -> int:
        return -1 - self.timesteps.index(timestep)  # inversion runs from clean to noisy


def _noised(latent: Tensor, job: StyleJob, params: StyleParams) -> Tensor:
    """Mix seeded noise into a noisy latent (1, C, h, w); its variance stays."""
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(job.seed))
    kept = (1 - params.start_noise**2) ** 0.5
    mixed: Tensor = kept * latent + params.start_noise * noise.to(latent.device)
    return mixed
