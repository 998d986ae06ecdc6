"""The panel and the graph in a real browser, in both languages, with screenshots in build/comfyui/screenshots.

Skipped, by name, without playwright and a Chromium (CHROMIUM names its program; otherwise /usr/bin/chromium).
"""
import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from conftest import PACK, ROOT
from workflows import shared

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHOTS = ROOT / "build" / "comfyui" / "screenshots"
PRELOADED = {
    "diffusion_model": "v1-5-unet.safetensors",
    "text_encoder": "clip_l.safetensors",
    "vae": "vae-ft-mse-840000-ema-pruned.safetensors",
}
PLAIN = {"Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}  # for pictures of what is ours
EXAMPLES = sorted(path.stem for path in (PACK / "example_workflows").glob("*.json"))


def pytest_generate_tests(metafunc):
    if "browser_program" in metafunc.fixturenames:
        there = importlib.util.find_spec("playwright") and Path(CHROMIUM).exists()
        metafunc.parametrize("browser_program", [CHROMIUM] if there else [], ids=["chromium"] if there else [])


@pytest.fixture
def open_page(real, browser_program):
    """open_page(language) -> a page of the server in that language, with all that it has said is wrong."""
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=["--no-sandbox"])

        def open_in(language):
            settings = {"Comfy.Locale": language, "Comfy.TutorialCompleted": True, **PLAIN}
            assert real.request("/settings", settings)[0] == 200
            page = browser.new_page(viewport={"width": 1600, "height": 950})
            page.complaints = []
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(real.url)
            page.wait_for_function("window.app && window.app.graph && window.app.extensionManager", timeout=120_000)
            page.wait_for_selector("canvas", timeout=120_000)
            return page

        yield open_in
        browser.close()


def open_panel(page):
    page.click(".longshore-tab-button", timeout=60_000)
    return page.locator(".longshore")


@pytest.mark.parametrize("language, evict, pin", [("en", "Evict", "Pin"), ("zh", "清出", "固定")])
def test_the_panel_shows_the_cache_and_its_buttons_work(real, open_page, language, evict, pin):
    real.free(free_memory=True)
    real.run(shared("tiny0.safetensors", key_opt="in the panel"))
    page = open_page(language)
    panel = open_panel(page)
    card = panel.locator(".card", has_text="in the panel")
    card.wait_for()
    page.screenshot(path=SHOTS / f"panel-{language}.png")
    card.get_by_role("button", name=pin, exact=True).click()
    card.locator(".key-name", has_text="\U0001f4cc").wait_for()
    card.get_by_role("button", name=evict, exact=True).click()
    card.wait_for(state="detached")
    assert "in the panel" not in {entry["key"] for entry in real.json("/longshore/status")["entries"]}
    assert page.complaints == []


def test_the_panel_loads_a_model_and_shows_an_error(real, open_page):
    page = open_page("en")
    panel = open_panel(page)
    panel.locator("select").nth(0).select_option("vae")
    panel.locator("select").nth(1).select_option("vae.safetensors")
    panel.locator("input").fill("by hand")
    panel.get_by_role("button", name="Load", exact=True).click()
    panel.locator(".card", has_text="by hand").wait_for()
    panel.locator("select").nth(0).select_option("ckpt")
    panel.get_by_role("button", name="Load", exact=True).click()
    page.wait_for_function("/vae.*ckpt/s.test(document.querySelector('.longshore .error').textContent)")
    page.screenshot(path=SHOTS / "panel-error.png")
    real.json("/longshore/evict", {"key": "by hand"})


def test_a_menu_of_preloaded_models_follows_the_cache_and_keeps_what_was_chosen(real, open_page):
    real.run(shared("tiny0.safetensors", key_opt="first there"))
    page = open_page("en")
    page.evaluate(
        """() => {
          window.node = window.LiteGraph.createNode("LongshorePreloadedCheckpoint");
          window.app.graph.add(window.node);
          window.menu = window.node.widgets.find((widget) => widget.name === "key");
        }"""
    )
    page.wait_for_function("window.menu.options.values.includes('first there')")
    page.evaluate("() => { window.menu.value = 'first there'; }")
    real.run(shared("tiny0.safetensors", key_opt="then there"))
    real.json("/longshore/evict", {"key": "first there"})
    page.evaluate("() => window.node.widgets.find((widget) => widget.type === 'button').callback()")
    page.wait_for_function("window.menu.options.values.includes('then there')")
    assert page.evaluate("() => window.menu.value") == "first there"


def frame(page, offset):
    """Moves the graph to where all of it can be read: below a scale of 0.6 ComfyUI draws no text."""
    page.evaluate("offset => { Object.assign(window.app.canvas.ds, { scale: 0.8, offset }); }", offset)
    page.evaluate("() => window.app.canvas.draw(true, true)")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_from_the_browser_and_the_panel_shows_its_models(real, open_page, language, name):
    real.free(free_memory=True)
    if name == "preloaded_models":
        for kind, file in PRELOADED.items():
            assert "key" in real.json("/longshore/load", {"kind": kind, "files": [file]})
    page = open_page(language)
    workflow = json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:  # a picture that is soon made
        if node["type"] == "KSampler":
            node["widgets_values"][2] = 2
        elif node["type"] == "EmptyLatentImage":
            node["widgets_values"][:2] = 128, 128
    page.set_viewport_size({"width": 2000, "height": 800})
    page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
    panel = open_panel(page)
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    page.wait_for_function("window.app.graph.nodes.some(node => node.imgs?.length)", timeout=200_000)
    panel.locator(".card").first.wait_for()
    frame(page, [505, 280])
    page.screenshot(path=SHOTS / f"{name}-run-{language}.png")
    shown = "() => window.app.graph.nodes.flatMap(node => node.widgets ?? []).map(widget => `${widget.value}`).join()"
    assert name == "keep_a_latent" or "in use: 1" in page.evaluate(shown)
    assert page.complaints == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_opens_whole_in_each_language(open_page, language, name):
    page = open_page(language)
    workflow = json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    ours = {node["type"] for node in workflow["nodes"] if node["type"].startswith("Longshore")}
    assert ours == {node["class_type"] for node in prompt.values() if node["class_type"].startswith("Longshore")}
    for node in workflow["nodes"]:
        if node["type"].startswith("Longshore") and node["widgets_values"]:
            given = list(prompt[str(node["id"])]["inputs"].values())
            assert [value for value in given if not isinstance(value, list)] == node["widgets_values"]
    frame(page, [60, 300])
    page.screenshot(path=SHOTS / f"{name}-{language}.png")
    titles = page.evaluate("() => window.app.graph.nodes.map(node => node.title)")
    assert any(re.search("[一-鿿]", title) for title in titles) == (language == "zh")
    assert page.complaints == []
