"""What cannot be used is refused before the work, in one sentence that says what to do."""

import io

import pytest
import torch
from PIL import Image

from schemas.methods import LearntFrom
from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.errors import BadImage, BadReferences, BadRouting, InputError
from stylegallery.images import codec
from stylegallery.images.codec import check_format
from stylegallery.matching.correspondence import Pin
from stylegallery.models.vae import working_size
from stylegallery.types import Step
from stylegallery.validation import check_adapters, check_learning
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)


def grey(*shape: int, value: float = 0.5) -> torch.Tensor:
    return torch.full(shape, value)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Picture(grey(1, 4, 64, 64)), r"shape \(1, 4, 64, 64\); give one RGB"),
        (Picture(grey(1, 1, 64, 64)), r"shape \(1, 1, 64, 64\); give one RGB"),
        (Picture(grey(3, 64, 64)), r"shape \(3, 64, 64\); give one RGB"),
        (Picture(grey(2, 3, 64, 64)), r"shape \(2, 3, 64, 64\); give one RGB"),
        (Picture(grey(1, 3, 64, 64), grey(1, 1, 64, 32)), r"alpha .* give \(1, 1, 64, 64\)"),
        (Picture(grey(1, 3, 1, 1)), "is 1x1 px; use one whose shorter side is at least 16"),
        (Picture(grey(1, 3, 8, 8)), "is 8x8 px; use one whose shorter side is at least 16"),
        (Picture(grey(1, 3, 3, 1000)), "is 1000x3 px; use one whose shorter side"),
        (Picture(grey(1, 3, 0, 64)), "is 64x0 px; use one whose shorter side"),
        (Picture(grey(1, 3, 400, 20)), "is 20x400 px; use one whose longer side is at most 16"),
        (Picture(grey(1, 3, 64, 64, value=torch.nan)), "run from nan to nan; give finite"),
        (Picture(grey(1, 3, 64, 64, value=torch.inf)), "run from inf to inf; give finite"),
        (Picture(grey(1, 3, 64, 64, value=255.0)), "run from 255 to 255; give finite"),
        (Picture(grey(1, 3, 64, 64, value=-1.0)), "run from -1 to -1; give finite"),
        (Picture(grey(1, 3, 64, 64), grey(1, 1, 64, 64, value=torch.nan)), "alpha run from nan"),
        (Picture(grey(1, 3, 64, 64).byte()), "torch.uint8; give torch.float32"),
        (Picture(grey(1, 3, 64, 64).double()), "torch.float64; give torch.float32"),
    ],
)
def test_pictures_that_cannot_be_used(
    engine: StyleGallery, params: StyleParams, picture: Picture, says: str
) -> None:
    with pytest.raises(BadImage, match=says) as caught:
        engine.prepare(picture, params)
    assert str(caught.value).startswith("the picture")
    assert str(caught.value).endswith(".")


def test_one_bad_pixel_is_enough(engine: StyleGallery, params: StyleParams) -> None:
    pixels = grey(1, 3, 64, 64)
    pixels[0, 1, 5, 7] = torch.nan
    with pytest.raises(BadImage, match="give finite numbers"):
        engine.prepare(Picture(pixels), params)


def test_files_too_narrow_are_refused_by_name() -> None:
    out = io.BytesIO()
    Image.new("RGB", (20, 321)).save(out, "PNG")
    with pytest.raises(BadImage, match=r"^tape\.png is 20x321 px; .* at most 16 times"):
        codec.decode(out.getvalue(), "tape.png")


@pytest.mark.parametrize(
    ("size", "image_format", "fitting"),
    [
        ((1100, 16_384), "webp", "png or jpg"),
        ((20_000, 1300), "webp", "png or jpg"),
        ((4100, 65_501), "jpg", "png"),
        ((66_000, 66_000), "webp", "png"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    size: tuple[int, int], image_format: str, fitting: str
) -> None:
    with pytest.raises(BadImage, match=rf"^a is {size[1]}x{size[0]} px, .* choose {fitting} as"):
        check_format(size, image_format, "a")


@pytest.mark.parametrize("image_format", ["webp", "jpg"])
def test_the_limits_are_those_of_the_encoders(image_format: str) -> None:
    most = {"webp": 16_383, "jpg": 65_500}[image_format]
    check_format((1, most), image_format, "a")
    picture = Picture(grey(1, 3, 1, most))
    assert codec.encode(picture, image_format)
    with pytest.raises(BadImage):
        check_format((1, most + 1), image_format, "a")
    with pytest.raises((ValueError, OSError)):
        codec.encode(Picture(grey(1, 3, 1, most + 1)), image_format)


@pytest.mark.parametrize("size", [(16, 16), (16, 256), (200, 16)])
def test_the_smallest_and_narrowest_work(
    engine: StyleGallery, params: StyleParams, size: tuple[int, int]
) -> None:
    chosen = params.model_copy(update={"image_size": 16})  # two latent cells
    content = engine.prepare(figure_on_ground(*size, RED, BLUE), chosen)
    assert min(content.latent.shape[-2:]) == 2
    routing = engine.match(content, [content], chosen)
    result = engine.stylize(content, [content], routing, chosen).picture
    assert result.size == size
    assert result.pixels.isfinite().all()


def test_a_working_size_of_one_cell_is_refused(engine: StyleGallery, params: StyleParams) -> None:
    chosen = params.model_copy(update={"image_size": 8})
    with pytest.raises(BadImage, match=r"would be 8x8 px, but .* 16 px per side; raise image_size"):
        engine.prepare(figure_on_ground(64, 64, RED, BLUE), chosen)
    assert working_size((64, 64), 12, 8) == (16, 16)
    with pytest.raises(BadImage, match="would be 64x32 px, but this model needs 64 px per side"):
        working_size((100, 200), 32, 32)


def test_no_reference_is_the_users_error(engine: StyleGallery, params: StyleParams) -> None:
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    with pytest.raises(InputError, match="give at least one"):
        engine.match(content, [], params, weights=[])


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0], r"weights \(1\) is not that of the references \(2\); give one"),
        ([], r"weights \(0\) is not that of the references \(2\); give one"),
        ([1.0, 2.0, 3.0], r"weights \(3\) is not"),
        ([1.0, 0.0], r"weight of reference 1 \(from 0\) is 0.0; give a number above 0"),
        ([-1.0, 1.0], r"weight of reference 0 \(from 0\) is -1.0; give a number above 0"),
        ([1.0, float("nan")], "reference 1 .* is nan; give a number above 0"),
        ([float("inf"), 1.0], "reference 0 .* is inf; give a number above 0"),
    ],
)
@pytest.mark.parametrize("method", ["stylegallery", "stylegallery-paper", "attention-distillation"])
def test_weights_that_cannot_be_used(
    engine: StyleGallery, params: StyleParams, weights: list[float], says: str, method: str
) -> None:
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    chosen = params.model_copy(update={"method": method})
    with pytest.raises(BadReferences, match=says):
        engine.match(content, [content, content], chosen, weights=weights)


@pytest.mark.parametrize("style", [-1, 1])
def test_a_pin_to_a_reference_that_is_not_there(
    engine: StyleGallery, params: StyleParams, style: int
) -> None:
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    with pytest.raises(BadRouting, match=rf"region 0 to reference {style} .* 0 to 0; name one"):
        engine.match(content, [content], params, pins=[Pin(0, style, 0)])


def test_a_routing_for_other_images_is_refused(engine: StyleGallery, params: StyleParams) -> None:
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[:, :20], labels[:, 20:40], labels[:, 40:] = 1, 2, 3
    two = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params, labels.clamp(max=2))
    three = engine.prepare(figure_on_ground(64, 64, GREEN, BLUE), params, labels)
    assert (two.regions.count, three.regions.count) == (2, 3)
    routing = engine.match(two, [three, two], params)
    steps: list[Step] = []
    for content, styles, says in [
        (three, [three, two], "content of 2 regions, but this one has 3; match these images again"),
        (two, [two, three], "references of 3, 2 regions, but those given have 2, 3; give the same"),
        (two, [three], "references of 3, 2 regions, but those given have 3; give the same"),
        (two, [], "but those given have no"),
    ]:
        with pytest.raises(BadRouting, match=says):
            engine.stylize(content, styles, routing, params, on_step=steps.append)
    assert not steps  # it is known before the work, not after


@pytest.mark.parametrize(
    ("adapters", "learns", "words"),
    [
        (2, "gallery", "needs 1 learnt style, one for all references, not 2;"),
        (1, "reference", "needs 3 learnt styles, one for each reference, not 1;"),
    ],
)
def test_another_number_of_learnt_styles_is_refused(
    adapters: int, learns: LearntFrom, words: str
) -> None:
    with pytest.raises(BadReferences, match=words):
        check_adapters(adapters, 3, learns)


def test_learnt_styles_are_all_given_or_none() -> None:
    check_adapters(0, 3, "reference")
    check_adapters(3, 3, "reference")
    check_adapters(0, 3, "gallery")
    check_adapters(1, 3, "gallery")


def test_a_method_learns_from_what_it_uses() -> None:
    flat = Picture(torch.zeros(1, 3, 96, 96))
    check_learning(3, None, "sms")
    check_learning(1, flat, "contrastive-lora")
    with pytest.raises(BadReferences, match="contrastive-lora learns each reference by itself"):
        check_learning(2, None, "contrastive-lora")
    with pytest.raises(BadReferences, match="which method sms does not use"):
        check_learning(1, flat, "sms")
