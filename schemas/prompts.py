"""Style parameters of text: prompts, and how strongly they guide the model."""

from pydantic import ConfigDict, Field

from schemas.methods import Method, Sampler, method_info
from schemas.param_groups import ParamGroup

_LONGEST = 1000


class PromptParams(ParamGroup, title="Prompts"):
    """Text for models with a text encoder; without text, no text encoder is loaded."""

    model_config = ConfigDict(str_strip_whitespace=True)

    prompt: str = Field(
        "",
        max_length=_LONGEST,
        title="Prompt",
        description="What the result shows, in words, for models with a text encoder. It is the "
        "condition of sampling; images are still inverted without text.",
    )
    style_prompt: str = Field(
        "",
        max_length=_LONGEST,
        title="Style prompt",
        description="For methods that learn: words for the style. The references are learnt with "
        "them, and the learnt style is used with them.",
    )
    negative_prompt: str = Field(
        "",
        max_length=_LONGEST,
        title="Negative prompt",
        description="What the result must not show; needs `guidance` above 1.",
    )
    guidance: float = Field(
        1.0,
        ge=1,
        le=20,
        title="Guidance",
        description="Scale of classifier-free guidance: how far predictions move from the "
        "negative prompt to the prompt. 1 is the prompt alone; above 1 takes twice the time.",
    )

    @property
    def adapted_prompt(self) -> str:
        """The text of predictions with a learnt style: what the result shows, and the style."""
        return ", ".join(filter(None, (self.prompt, self.style_prompt)))

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that are encoded."""
        found = (self.prompt, self.style_prompt, self.adapted_prompt, self.negative_prompt)
        return tuple(dict.fromkeys(filter(None, found)))


def check_prompts(method: Method, sampler: Sampler, prompts: PromptParams) -> None:
    """Refuse text and guidance that would not be used.

    Raises:
        ValueError: the settings do not go together.
    """
    info = method_info(method)
    if prompts.style_prompt and not info.learns:
        raise ValueError(
            f"style_prompt belongs to methods that learn; leave it out for method {method}, or use "
            "prompt."
        )
    if prompts.guidance == 1:
        if prompts.negative_prompt:
            raise ValueError(
                "negative_prompt has no effect with guidance 1; raise guidance, or leave "
                "negative_prompt out."
            )
        return
    if not (prompts.prompt or prompts.style_prompt or prompts.negative_prompt):
        raise ValueError(
            "guidance has no effect without text; set prompt, style_prompt or negative_prompt, or "
            "leave guidance out."
        )
    if sampler == "optimise" and info.uses_schedule:
        raise ValueError(
            f"guidance combines predictions, and sampler `optimise` of method {method} uses none; "
            "leave guidance out, or set sampler to guided."
        )
