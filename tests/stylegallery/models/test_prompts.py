"""Conditions: rows of embeddings, lengths that differ, and guidance in one call."""

from pathlib import Path

import pytest
import torch

from schemas.engine import EngineSpec
from schemas.prompts import PromptParams
from stylegallery.models.diffusion import Models, load_models
from stylegallery.models.prompts import Condition, PromptEmbedding, joined
from tests.tiny_model import write_tiny_sd15, write_tiny_sdxl


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    write = {"sd15": write_tiny_sd15, "sdxl": write_tiny_sdxl}[request.param]
    folder = write(Path(tmp_path_factory.mktemp("models")) / "m")
    return load_models(EngineSpec(model=str(folder), device="cpu", dtype="float32"))


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 8, 11, generator=torch.Generator().manual_seed(1))


def test_prompts_change_predictions_and_no_prompt_does_not(
    models: Models, latents: torch.Tensor
) -> None:
    plain = models.denoise(latents, 300)
    assert torch.equal(models.denoise(latents, 300, models.condition(PromptParams())), plain)
    red = models.denoise(latents, 300, models.condition(PromptParams(prompt="red")))
    assert not torch.allclose(red, plain, atol=1e-4)


def test_guidance_is_one_call_of_two_rows_a_latent(
    models: Models, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, wool = PromptParams(prompt="red"), PromptParams(prompt="wool")
    each = [models.denoise(latents, 300, models.condition(text)) for text in (red, wool)]
    forward, rows = models.unet.forward, list[int]()

    def spy(sample: torch.Tensor, *args: object, **options: object) -> object:
        rows.append(len(sample))
        return forward(sample, *args, **options)

    monkeypatch.setattr(models.unet, "forward", spy)
    models.denoise(latents, 300, models.condition(red))
    asked = PromptParams(prompt="red", negative_prompt="wool", guidance=3)
    timesteps = torch.tensor([300, 300])
    guided = models.denoise(latents, timesteps, models.condition(asked))
    assert rows == [2, 4]
    assert torch.allclose(guided, each[1] + 3 * (each[0] - each[1]), atol=1e-4)


def test_every_latent_has_its_row(models: Models, latents: torch.Tensor) -> None:
    """Also where the empty prompt is one token, and others are seven."""
    red = models.condition(PromptParams(prompt="red"))
    expected = torch.cat([models.denoise(latents, 300, red), models.denoise(latents, 300)])
    both = Condition(joined([red.prompt, models.embedding("")]))
    made = models.denoise(torch.cat([latents, latents]), 300, both)
    assert torch.allclose(made, expected, atol=1e-5)


def test_lengths_that_do_not_divide_each_other_are_joined() -> None:
    short, long = torch.rand(1, 2, 4), torch.rand(2, 3, 4)
    made = joined([PromptEmbedding(short), PromptEmbedding(long)])
    assert made.pooled is None
    assert torch.equal(made.embedding, torch.cat([short.repeat(1, 3, 1), long.repeat(1, 2, 1)]))
