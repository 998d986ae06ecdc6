"""Every node is named, explained and translated."""
import json
import re
from pathlib import Path

import pytest
from longshore.comfyui.migrate import RULES

PACK = Path(__file__).resolve().parents[2] / "app" / "comfyui"
LANGUAGES = ("en", "zh")
NODES = sorted(
    name
    for path in PACK.glob("nodes_*.py")
    for name in re.findall(r"^    (Longshore\w+),$", path.read_text(), re.MULTILINE)
)


def definitions(language):
    return json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_nodes_have_words_and_a_help_page(language):
    assert sorted(definitions(language)) == NODES
    pages = {path.parent.name for path in (PACK / "web" / "docs").glob(f"*/{language}.md")}
    assert pages == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_the_languages_say_the_same(node):
    english, chinese = (definitions(language)[node] for language in LANGUAGES)
    assert english["inputs"].keys() == chinese["inputs"].keys()
    assert english["outputs"].keys() == chinese["outputs"].keys()


def test_every_migrated_node_is_one_of_ours():
    assert {rule.node for rule in RULES.values()} <= set(NODES)


def test_the_panels_languages_have_the_same_words():
    source = (PACK / "web" / "longshore.js").read_text(encoding="utf-8")
    english, chinese = re.search(r"const WORDS = \{\s*en: \{(.*?)\},\s*zh: \{(.*?)\},\s*\};", source, re.DOTALL).groups()
    assert set(re.findall(r"(\w+): \"", english)) == set(re.findall(r"(\w+): \"", chinese))


def test_the_tests_that_the_readme_names_are_there():
    here = Path(__file__).parent
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", (here / "README.md").read_text(encoding="utf-8")))
    assert len(named) > 30
    assert [name for name in sorted(named) if f"def {name[1]}(" not in (here / name[0]).read_text(encoding="utf-8")] == []
