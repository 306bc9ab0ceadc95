"""Style parameters: every setting of the method that can change the pixels of a result."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from pydantic import ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from schemas.adapter import AdapterParams
from schemas.base import Frozen
from schemas.contrastive import ContrastiveParams, check_contrastive
from schemas.diffstyler import DiffStylerParams, check_fusion
from schemas.methods import (
    Method,
    Sampler,
    check_sampler,
    check_schedule,
    method_info,
    summaries,
)
from schemas.param_groups import (
    AttentionParams,
    FinishParams,
    FormParams,
    GroundParams,
    MatchingParams,
    OptimiseParams,
    ParamGroup,
    RegionalAttentionParams,
    RegionParams,
    SizeParams,
    TextureParams,
    ToneParams,
)
from schemas.prompts import PromptParams, check_prompts
from schemas.sms import SmsParams, check_passes

RETIRED: Final = {"flat_loss": 0.0}
"""Parameters that no longer exist, at the value that had no effect. They are still accepted, and
ids are still hashed with them, so that finished items are recognized."""


def _group(model: type[ParamGroup]) -> Any:
    """Return the field of a group, with the defaults, title and description of its model."""
    return Field(model(), title=model.model_config["title"], description=model.__doc__)


def _allow_flat_names(schema: dict[str, Any]) -> None:
    """Let the JSON Schema accept a setting outside of its group too."""
    known = [model.model_json_schema()["properties"] for model in GROUPS.values()]
    schema["patternProperties"] = {
        f"^{name}$": rule for properties in known for name, rule in properties.items()
    }


LATER: Final[Mapping[str, Any]] = {
    "scale": 1.0,
    "form_floor": 0.0,
    "white_ground": "restyle",
    "texture": 0.0,
}
"""Settings of parts that were added later, at the value that turns the part off. A record that
holds all earlier settings and none of a part was made without it, and keeps its meaning."""

GROUP_OF_METHOD: Final[Mapping[Method, type[ParamGroup]]] = {
    "sms": SmsParams,
    "diffstyler": DiffStylerParams,
    "contrastive-lora": ContrastiveParams,
}
"""The group of each method that has settings of its own."""


class StyleParams(Frozen):
    """How an image is restyled. Defaults are the `balanced` preset.

    Settings of one part are in groups. Each setting can also be given by its own name alone:
    `StyleParams(match_tone=False)` is `StyleParams(tones=ToneParams(match_tone=False))`.
    """

    model_config = ConfigDict(allow_inf_nan=False, json_schema_extra=_allow_flat_names)

    method: Method = Field(
        "stylegallery",
        title="Method",
        description=f"The method. {summaries(get_args(Method))}",
    )
    sampler: Sampler = Field(
        "guided",
        title="Sampler",
        description="`guided` runs DDIM from the inverted photo and follows the gradient of the "
        "energies at each step. `optimise` descends the energies on the clean latent. `styleid` "
        "has a sampler of its own.",
    )
    image_size: int = Field(
        0,
        ge=0,
        le=4096,
        title="Working size",
        description="Finest short side in pixels at which the engine works. 0 uses the model's "
        "training size times `scale`. The result always has the size of the photo.",
    )
    steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Steps",
        description="Number of timesteps. More steps are slower and give finer detail.",
    )
    strength: float = Field(
        0.7,
        gt=0,
        le=1,
        title="Strength",
        description="For sampler `guided`: fraction of the schedule that is run. Higher values "
        "keep less of the photo.",
    )
    start_noise: float = Field(
        0.02,
        ge=0,
        le=1,
        title="Start noise",
        description="Amount of seeded noise in the start latent. It lets flat areas grow texture.",
    )
    learning_rate: float = Field(
        0.18, gt=0, le=1, title="Learning rate", description="Step size on the latent."
    )
    content_weight: float = Field(
        0.02,
        ge=0,
        le=10,
        title="Content weight",
        description="Weight of the content loss on attention queries. Higher values keep more of "
        "the photo's structure.",
    )
    sizes: SizeParams = _group(SizeParams)
    optimise: OptimiseParams = _group(OptimiseParams)
    attention: AttentionParams = _group(AttentionParams)
    regions: RegionParams = _group(RegionParams)
    matching: MatchingParams = _group(MatchingParams)
    regional_attention: RegionalAttentionParams = _group(RegionalAttentionParams)
    tones: ToneParams = _group(ToneParams)
    fine_texture: TextureParams = _group(TextureParams)
    finish: FinishParams = _group(FinishParams)
    form: FormParams = _group(FormParams)
    ground: GroundParams = _group(GroundParams)
    adapter: AdapterParams = _group(AdapterParams)
    sms: SmsParams = _group(SmsParams)
    diffstyler: DiffStylerParams = _group(DiffStylerParams)
    contrastive: ContrastiveParams = _group(ContrastiveParams)
    prompts: PromptParams = _group(PromptParams)

    if TYPE_CHECKING:  # type checkers do not know of settings outside of their groups

        def __init__(self, **settings: Any) -> None: ...

    def flat(self) -> dict[str, Any]:
        """Return all settings by their own names, without groups, as JSON values."""
        found: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            found |= value if name in GROUPS else {name: value}
        return found

    def hashed(self) -> dict[str, Any]:
        """Return the values that ids of items and runs are hashed from.

        Settings of a part that is turned off are left out, those of learning unless the method
        learns, those of other methods, and those of text without text: so values are those of
        before there was such a part, and finished items are recognized.
        """
        found = {**self.flat(), **RETIRED}
        off: list[type[ParamGroup]] = []
        if not self.fine_texture.texture:
            off += [TextureParams] + ([SizeParams] if self.sizes.scale == 1 else [])
        off += [FormParams] if self.form.form_floor == 0 else []
        off += [GroundParams] if self.ground.white_ground == "restyle" else []
        off += [] if method_info(self.method).learns else [AdapterParams]
        off += [group for method, group in GROUP_OF_METHOD.items() if method != self.method]
        off += [PromptParams] if self.prompts == PromptParams() else []
        unused = {name for group in off for name in group.model_fields}
        return {name: value for name, value in found.items() if name not in unused}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changes, which are not validated.

        Args:
            update: New values of settings and groups by name.
            deep: Whether values are copied too.
        """
        changes = dict(update or {})
        for name in GROUP_OF.keys() & changes.keys():
            group = changes.get(GROUP_OF[name], getattr(self, GROUP_OF[name]))
            changes[GROUP_OF[name]] = group.model_copy(update={name: changes.pop(name)})
        return super().model_copy(update=changes, deep=deep)

    @model_validator(mode="before")
    @classmethod
    def _published_settings(cls, given: Any) -> Any:
        """Drop retired parameters; fill in the method's published settings."""
        if not isinstance(given, dict):
            return given
        for name in RETIRED.keys() & given.keys():
            if given[name] not in (RETIRED[name], str(RETIRED[name]), "0"):
                warnings.warn(f"{name} no longer exists and has no effect", stacklevel=2)
        kept = {name: value for name, value in given.items() if name not in RETIRED}
        defaults = method_info(kept.get("method")).defaults
        return _in_groups(kept, {**defaults, **_left_out(kept)})

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_sampler(self.method, self.sampler)
        schedule = self.optimise.schedule
        check_schedule(self.method, self.sampler, schedule, self.steps, self.optimise.repeats)
        check_passes(self.method, self.sms)
        check_fusion(self.method, self.diffstyler)
        check_contrastive(self.method, self.contrastive)
        check_prompts(self.method, self.sampler, self.prompts)
        return self


GROUPS: Final[dict[str, type[ParamGroup]]] = {
    name: info.annotation
    for name, info in StyleParams.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, ParamGroup)
}
"""The groups of :class:`StyleParams`."""

GROUP_OF: Final = {name: group for group, model in GROUPS.items() for name in model.model_fields}
"""The name of each setting in a group to the name of that group."""

SETTINGS: Final[dict[str, FieldInfo]] = {
    **{name: info for name, info in StyleParams.model_fields.items() if name not in GROUPS},
    **{name: info for model in GROUPS.values() for name, info in model.model_fields.items()},
}
"""Every setting of :class:`StyleParams` and of its groups by its own name."""


def _left_out(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that turn off the later parts, if a full record leaves them out."""
    named = set(given)
    for group in GROUPS.keys() & given.keys():
        named |= set(given[group]) if isinstance(given[group], dict) else {group}
    parts = {GROUP_OF[name]: set(GROUPS[GROUP_OF[name]].model_fields) for name in LATER}
    later: list[type[ParamGroup]] = [AdapterParams, PromptParams, *GROUP_OF_METHOD.values()]
    unnamed = set().union(*(group.model_fields for group in later), *parts.values())
    if not SETTINGS.keys() - unnamed <= named:
        return {}
    return {n: value for n, value in LATER.items() if named.isdisjoint(parts[GROUP_OF[n]])}


def _in_groups(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Move settings into their groups, and fill in defaults.

    Args:
        given: Values of settings, with or without their groups.
        defaults: Values by name of setting, for those that are not given.

    Raises:
        ValueError: a setting is given both with and without its group.
    """
    plain = {name: value for name, value in defaults.items() if name not in GROUP_OF}
    found = plain | {name: value for name, value in given.items() if name not in GROUP_OF}
    for name, group in GROUP_OF.items():
        own = found.get(group, {})
        if isinstance(own, ParamGroup):
            own = own.model_dump(exclude_unset=True)
        if not isinstance(own, dict):
            continue  # pydantic refuses it
        if name in given and name in own:
            raise ValueError(
                f"`{name}` is given twice, by itself and in `{group}`; remove one of them."
            )
        if name in given:
            found[group] = {**own, name: given[name]}
        elif name in defaults:
            found[group] = {name: defaults[name], **own}
    return found
