"""Load pretrained models: diffusion, LoRA, semantic encoder, depth, SAM."""
