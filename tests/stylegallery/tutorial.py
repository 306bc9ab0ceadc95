# %% [markdown]
# # StyleGallery, step by step
#
# Restyle a photo with the engine alone: no Prefect, no Ray, no download. Run this file as it is,
# or open it in an editor that knows `# %%` cells. The photos ship with scikit-image, the model
# with StyleGallery; pictures are written to `demo-out/tutorial`.

# %%
import os
from pathlib import Path

import torch
from skimage import data

from schemas.presets import preset_params
from stylegallery import Picture, StyleGallery, StyleJob, visualize
from stylegallery.images import codec
from stylegallery.matching.correspondence import Pin, parse_pins
from stylegallery.regions.region_png import encode_region_map

OUT = Path("demo-out/tutorial")
OUT.mkdir(parents=True, exist_ok=True)
STEPS = int(os.environ.get("TUTORIAL_STEPS", "16"))

# %% [markdown]
# ## Load
#
# `load` takes `"embedded"`, a folder in diffusers layout, a .safetensors file or a hub id.
# Pictures are sRGB, (1, 3, H, W) in [0, 1]. `images.open_picture(path)` reads any usual file;
# here arrays are wrapped by hand.

# %%
engine = StyleGallery.load("embedded")
params = preset_params("preview", image_size=192, steps=STEPS)


def picture(array) -> Picture:
    return Picture(torch.from_numpy(array).permute(2, 0, 1)[None] / 255)


cat, coffee, rocket = (picture(array) for array in (data.chelsea(), data.coffee(), data.rocket()))

# %% [markdown]
# ## Prepare
#
# Everything about one image, computed once: its latent, its regions, what describes them. A
# prepared reference serves any number of photos.

# %%
content = engine.prepare(cat, params)
styles = [engine.prepare(coffee, params), engine.prepare(rocket, params)]
names = ["coffee", "rocket"]

# %% [markdown]
# ## Look at the regions

# %%
print(f"{content.regions.count} regions, areas {content.regions.areas.tolist()}")
visualize.region_overlay(content).save(OUT / "regions.png")

# %% [markdown]
# ## Fix regions yourself
#
# A label image of the picture's size: positive numbers are your regions, 0 is left to the engine.
# `masks.decode_labels` reads one from a file in which each colour is a region.

# %%
labels = torch.zeros(cat.size, dtype=torch.int64)
labels[60:290, 110:350] = 1  # the face
content = engine.prepare(cat, params, labels)
visualize.region_overlay(content).save(OUT / "regions-with-face.png")
(OUT / "labels.png").write_bytes(encode_region_map(content.regions))
face = int(content.regions.resized(cat.size)[150, 230])

# %% [markdown]
# ## Match
#
# Like goes to like. References have weights: here the rocket counts twice. The panel draws each
# region in the colour of the one it takes its style from.

# %%
routing = engine.match(content, styles, params, weights=[1.0, 2.0])
for row in routing.rows(names):
    print(f"region {row.region} <- {row.style_id} {row.style_region}: {row.similarity:.2f}")
visualize.match_panel(content, styles, routing.rows(names), names).save(OUT / "matches.png")

# %% [markdown]
# ## Pin
#
# Your word wins: the face takes its style from region 0 of the first reference. The routing is
# JSON that can be edited and read back.

# %%
pins = [Pin(region=face, style=0, style_region=0)]
routing = engine.match(content, styles, params, weights=[1.0, 2.0], pins=pins)
(OUT / "routing.json").write_text(routing.to_json(names))
assert Pin(face, 0, 0) in parse_pins((OUT / "routing.json").read_text(), names)

# %% [markdown]
# ## Stylize
#
# `on_step` is called after every step. The same seed gives the same picture.

# %%
result = engine.stylize(
    content,
    styles,
    routing,
    params,
    seed=1,
    on_step=lambda step: print(f"step {step.index + 1}/{step.total}: loss {step.loss:.3f}"),
)

# %% [markdown]
# ## Protect pixels
#
# White keeps the original exactly; the soft edge (`protect_feather`) lies outside it.

# %%
protect = torch.zeros(1, 1, *cat.size)
protect[..., 80:170, 130:350] = 1  # the eyes
kept = engine.stylize(content, styles, routing, params, seed=1, protect=protect)
eyes = (..., slice(80, 170), slice(130, 350))
assert torch.equal(kept.picture.pixels[eyes], cat.pixels[eyes])

# %% [markdown]
# ## Colours
#
# `keep-chroma` takes light and shade alone, `match-histogram` the references' colours.

# %%
hues = params.model_copy(update={"color": "keep-chroma"})
own_hues = engine.stylize(content, styles, routing, hues, seed=1)

# %% [markdown]
# ## A batch
#
# `stylize_batch` makes the same pictures in fewer calls of the model. What the model sees of a
# reference, at as many timesteps as there are `anchors`, is remembered from call to call.

# %%
jobs = [StyleJob(content, styles, routing, seed) for seed in (1, 2)]
batch = engine.stylize_batch(jobs, params)

# %% [markdown]
# ## Save
#
# png and webp are lossless; jpg and webp take a quality. The note travels in the file.

# %%
made = {"result": result, "protected": kept, "own-hues": own_hues, "batch": batch[1]}
for name, one in made.items():
    (OUT / f"{name}.png").write_bytes(codec.encode(one.picture, "png", note=name))
(OUT / "result.jpg").write_bytes(codec.encode(result.picture, "jpg", note="result", quality=90))
print(codec.read_note((OUT / "protected.png").read_bytes()))

# %%
shown = [("photo", cat), *zip(names, (coffee, rocket), strict=True)]
shown += [(name, one.picture) for name, one in made.items()]
cells = [(name, visualize.photo(one)) for name, one in shown]
visualize.contact_sheet([cells[:3], cells[3:]]).save(OUT / "sheet.png")
