"""Screenshots of the Prefect UI: deployments, the form, a run, its artifacts.

    python -m tests.flows.ui_screenshots --out DIR

Starts a real server with its UI, serves the flows, restyles three photos of which one is missing,
and takes screenshots in headless Chromium.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from playwright.sync_api import Page
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from schemas.manifest import CatalogRow
from tests.browser import chromium
from tests.flows.prefect_server import Prefect, server, serving
from tests.flows.test_served import make_spec
from tests.tiny_model import write_tiny_model

_WIDTH = 1440


def main(arguments: list[str] | None = None) -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as home, server(Path(home), ui=True) as prefect, serving(prefect):
        run = _restyle(prefect, Path(home))
        name = "restyle-catalog/stylegallery"
        deployment = prefect.ask(lambda client: client.read_deployment_by_name(name)).id
        pages = [
            ("deployments", "deployments", 900),
            ("form", f"deployments/deployment/{deployment}/run", 5600),
            ("run", f"runs/flow-run/{run}?tab=Logs", 1400),
            ("artifacts", f"runs/flow-run/{run}?tab=Artifacts", 1400),
            *((key, f"artifacts/artifact/{one}", 900) for key, one in _artifacts(prefect, run)),
        ]
        with chromium() as browser:
            for title, path, height in pages:
                page = browser.new_page(viewport={"width": _WIDTH, "height": height})
                _take(page, f"{prefect.url}/{path}", out / f"{title}.png")
                page.close()


def _artifacts(prefect: Prefect, run: UUID) -> list[tuple[str, str]]:
    ids = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    found = prefect.ask(lambda client: client.read_artifacts(artifact_filter=ids))
    return [(str(one.key), str(one.id)) for one in found if str(one.key).startswith("restyle-")]


def _restyle(prefect: Prefect, home: Path) -> UUID:
    photos = [CatalogRow(product_id=f"p{i}", image_uri="cup.png", seed=i) for i in range(2)]
    photos.append(CatalogRow(product_id="gone", image_uri="gone.png"))
    model = write_tiny_model(home / "model")
    spec = make_spec(home, model, photos, gates=["ssim >= 0.95"])
    run = prefect.start("restyle-catalog/stylegallery", spec.model_dump(mode="json"))
    prefect.ended(run)
    return run


def _take(page: Page, url: str, place: Path) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)  # its charts fade in
    page.screenshot(path=place, full_page=True)
    print(place, flush=True)


if __name__ == "__main__":
    main()
