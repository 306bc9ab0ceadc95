"""The sources of settings and their priority."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from flows.cli.flags import RunFlags, StyleFlags, field_help, replace_former_names
from flows.cli.settings import (
    bundled_configs,
    from_assignments,
    from_environment,
    from_file,
    known_names,
    resolve,
    resolve_engine,
)
from flows.runtime.errors import UsageError
from schemas.engine import LoraSpec
from schemas.methods import Method
from schemas.params import SETTINGS, StyleParams
from schemas.presets import PRESETS
from schemas.run import RestyleSpec

PLACES = {"catalog": "c.parquet", "galleries": ["g.parquet"], "output": "out"}


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_flags_beat_environment_beats_file_beats_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(
        tmp_path,
        'catalog = "file.parquet"\ngalleries = ["g.parquet"]\noutput = "file-out"\n'
        'preset = "quality"\n'
        "[params]\nlearning_rate = 0.02\nmax_regions = 4\n"
        "[pool]\nactors = 2\n",
    )
    monkeypatch.setenv("STYLEGALLERY_OUTPUT", "env-out")
    monkeypatch.setenv("STYLEGALLERY_MAX_REGIONS", "5")
    monkeypatch.setenv("STYLEGALLERY_ACTORS", "3")
    flags = RunFlags(config=config, actors=4, assignments=["max_regions=6"])
    spec = resolve(*flags.layers())
    assert spec.catalog == "file.parquet"
    assert spec.output == "env-out"
    assert spec.params.steps == PRESETS["quality"]["steps"]
    assert spec.params.learning_rate == 0.02
    assert spec.params.regions.max_regions == 6
    assert spec.pool.actors == 4
    assert spec.params.content_weight == StyleParams().content_weight


def test_what_is_named_anywhere_beats_the_preset_of_a_stronger_source() -> None:
    spec = resolve({**PLACES, "steps": 33}, {}, {"preset": "quality"})
    assert spec.params.steps == 33


def test_a_style_parameter_is_given_with_or_without_its_group(tmp_path: Path) -> None:
    inside = write(tmp_path, "[params]\nsteps = 3\n[params.tones]\nmatch_tone = false\n")
    alike = [
        from_assignments(["steps=3", "match_tone=false"]),
        from_assignments(["steps=3", "tones.match_tone=false"]),
        from_environment({"STYLEGALLERY_STEPS": "3", "STYLEGALLERY_MATCH_TONE": "false"}),
        from_file(inside),
        from_file(write(tmp_path, "[params]\nsteps = 3\nmatch_tone = false\n")),
    ]
    for layer in alike:
        assert resolve({**PLACES}, layer).params == StyleParams(steps=3, match_tone=False)
    assert not resolve(alike[1], {**PLACES, "match_tone": False}).params.tones.match_tone


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    others = {"HOME": "/", "STYLEGALLERY_LOG_FORMAT": "json", "STYLEGALLERY_ALLOWED_ROOTS": "/x"}
    layer = from_environment({"STYLEGALLERY_GALLERIES": "a.parquet,b.parquet", **others})
    assert layer == {"galleries": ["a.parquet", "b.parquet"]}


def test_an_unknown_format_of_log_lines_is_refused() -> None:
    assert from_environment({"STYLEGALLERY_LOG_FORMAT": "JSON"}) == {}
    with pytest.raises(UsageError, match="LOG_FORMAT is 'jsonl'; set it to json or text"):
        from_environment({"STYLEGALLERY_LOG_FORMAT": "jsonl"})


def test_loras_come_from_flags_environment_and_file(tmp_path: Path) -> None:
    config = write(tmp_path, '[[engine.loras]]\nweights = "a.safetensors"\nscale = 0.5\n')
    flags = StyleFlags(loras=["a.safetensors=0.5"])
    environment = from_environment({"STYLEGALLERY_LORAS": "a.safetensors=0.5"})
    expected = (LoraSpec(weights="a.safetensors", scale=0.5),)
    for layers in ([from_file(config)], [environment], flags.layers()):
        assert resolve_engine(*layers)[1].loras == expected


def test_depth_and_sam_come_from_flags_environment_and_file(tmp_path: Path) -> None:
    config = write(tmp_path, '[engine]\ndepth = "a/depth"\nsam = "b/sam"\n')
    flags = StyleFlags(depth="a/depth", sam="b/sam")
    environment = from_environment({"STYLEGALLERY_DEPTH": "a/depth", "STYLEGALLERY_SAM": "b/sam"})
    for layers in ([from_file(config)], [environment], flags.layers()):
        spec = resolve_engine(*layers)[1]
        assert (spec.depth, spec.sam) == ("a/depth", "b/sam")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("actor = 3", "unknown key `actor`"),
        ("[pool]\nactor = 3", "unknown key `pool.actor`; did you mean `actors`?"),
        ("[params]\nstep = 3", "unknown key `params.step`; did you mean `steps`?"),
        ("[param]\nsteps = 3", "unknown section [param]; did you mean [params]?"),
        ("steps = 3", "`steps` is a setting of [params]; write it below a line [params]"),
        ("actors = 3", "`actors` is a setting of [pool]"),
        ("outptu = 3", "unknown key `outptu`; did you mean `output`?"),
        ("params = 3", "`params` is a section"),
        ("params.tones = 3", "`params.tones` is a section; write [params.tones] above its"),
        ("[params.tones]\nmatch_ton = 3", "unknown key `params.tones.match_ton`; did you mean"),
        ("[params.finish]\nmatch_tone = 3", "unknown key `params.finish.match_tone`"),
        (
            "[params]\ncolor = 3\n[params.tones]\ncolor = 3",
            "`color` is given twice, in [params] and in [params.tones]; remove one of them",
        ),
        ("a = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        from_file(write(tmp_path, text))
    assert message in str(error.value)


def test_former_names_still_work_and_the_new_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path, "max_failed = 0.5\n[pool]\nlease = 3\n")
    words = replace_former_names(["run", "--only", "a", "--lease=3", "--limit", "2"])
    assert words == ["run", "--gallery-ids", "a", "--chunk-size=3", "--limit", "2"]
    assert from_file(config) == {"max_failed_fraction": 0.5, "chunk_size": 3}
    assert from_environment({"STYLEGALLERY_ONLY": "a,b"}) == {"gallery_ids": ["a", "b"]}
    said = capsys.readouterr().err
    assert said.count("is now called") == 5
    assert "--lease is now called --chunk-size" in said
    assert "`pool.lease` is now called `chunk_size`" in said
    spec = RestyleSpec.model_validate({**PLACES, "only": ["a"], "pool": {"lease": 3}})
    assert (spec.gallery_ids, spec.pool.chunk_size) == (["a"], 3)


def test_every_setting_has_a_flag() -> None:
    flags = {field.name for field in fields(RunFlags)}
    assert set(known_names()) - set(SETTINGS) <= flags


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        from_file(tmp_path / "none.toml")


def test_an_unknown_environment_variable_is_refused() -> None:
    with pytest.raises(UsageError, match="STYLEGALLERY_STEP names no setting; did you mean"):
        from_environment({"STYLEGALLERY_STEP": "3"})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps", "name=value"),
        ("stepz=3", "did you mean `steps`"),
        ("actors=3", "not a style"),
        ("tones=3", "`tones` is not a style parameter"),
        ("tones.detail=0", "`tones.detail` is not a style parameter"),
    ],
)
def test_wrong_assignments_are_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_assignments([word])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"catalog": "c"}, "not given: galleries, output"),
        ({**PLACES, "steps": 0}, r"params\.steps: .* got 0"),
        ({**PLACES, "tone_lightness": 7}, r"^params\.tone_lightness: .* got 7$"),
        ({**PLACES, "catalog": "http://x/c"}, "neither a local path nor"),
        ({**PLACES, "preset": "best"}, "preset .best. does not exist"),
        ({**PLACES, "preset": "fast"}, "the embedded model takes neither"),
        ({**PLACES, "preset": "fast", "model": "a/b"}, "add it, for SD 1.5 with --lora"),
    ],
)
def test_wrong_values_are_refused(layer: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(layer)


def test_one_image_needs_no_catalog() -> None:
    params, engine = resolve_engine({"model": "/models/sd15", "preset": "preview", "limit": 3})
    assert (params.steps, engine.model) == (PRESETS["preview"]["steps"], "/models/sd15")


def test_help_texts_are_those_of_the_schemas() -> None:
    text = field_help(StyleParams, "method")
    assert str(StyleParams.model_fields["method"].description) in text
    assert f"one of {', '.join(get_args(Method))}; default stylegallery" in text


@pytest.mark.parametrize("name", bundled_configs())
def test_bundled_files_go_by_their_names(name: str, tmp_path: Path) -> None:
    """Each has the settings of one method's paper, and says that nobody has run it here."""
    flags = RunFlags(config=Path(name), assignments=["style_prompt=watercolor painting"])
    spec = resolve(PLACES, *flags.layers())
    assert name == f"published-{spec.params.method}"
    assert spec.engine.model != "embedded"
    assert spec.params.prompts.guidance > 1
    assert spec.params != StyleParams(method=spec.params.method)
    assert "Not run here" in bundled_configs()[name].read_text()
    (tmp_path / name).write_text('preset = "quality"')
    assert from_file(tmp_path / name) == {"preset": "quality"}


def test_a_config_that_does_not_exist_names_the_bundled_ones() -> None:
    with pytest.raises(UsageError, match=r"check the path, or use one of published-"):
        from_file(Path("published-smss"))


def test_published_guidance_asks_for_words() -> None:
    with pytest.raises(UsageError, match="set prompt, style_prompt or negative_prompt"):
        resolve(PLACES, from_file(Path("published-sms")))
