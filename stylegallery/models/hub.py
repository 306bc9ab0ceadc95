"""Files of the Hugging Face hub, from the local cache or the network."""

from pathlib import Path


def hub_file(name: str, file: str = "") -> Path:
    """Return the local path of a repository's file.

    Args:
        name: `OWNER/REPO/FILE`, or `OWNER/REPO`.
        file: The file, if `name` does not say.

    Raises:
        OSError: the file is neither cached nor downloadable.
        ValueError: the name is invalid.
    """
    from huggingface_hub import hf_hub_download

    owner, _, rest = name.partition("/")
    repo, _, named = rest.partition("/")
    return Path(hf_hub_download(f"{owner}/{repo}", named or file))
