"""Files of the model hub, from its local cache or, where that is allowed, from the network."""

from pathlib import Path


def hub_file(name: str, file: str = "") -> Path:
    """Return a file of a repository.

    Args:
        name: `OWNER/REPO/FILE`, or `OWNER/REPO`.
        file: Which, where `name` does not say.

    Raises:
        OSError: it is neither in the cache nor to be had.
        ValueError: the name is none.
    """
    from huggingface_hub import hf_hub_download

    owner, _, rest = name.partition("/")
    repo, _, named = rest.partition("/")
    return Path(hf_hub_download(f"{owner}/{repo}", named or file))
