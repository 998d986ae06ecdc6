"""Workflows and configurations of the two packs become ours."""
import json

import pytest
from longshore.comfyui.__main__ import main
from longshore.comfyui.migrate import RULES, migrate


def api(class_type, **inputs):
    return migrate({"1": {"class_type": class_type, "inputs": inputs}}).document["1"]


def interface(kind, widgets, inputs=()):
    node = {"id": 1, "type": kind, "widgets_values": widgets, "inputs": list(inputs), "properties": {"cnr_id": "x"}}
    return migrate({"nodes": [node], "links": []}).document["nodes"][0]


def test_inputs_values_and_links_of_the_api_format():
    node = api("CheckpointLoaderSimpleShared //Inspire", ckpt_name="a", key_opt="k", mode="Read Only")
    assert node == {
        "class_type": "LongshoreCheckpointLoader",
        "inputs": {"ckpt_name": "a", "key_opt": "k", "mode": "Read Only"},
    }
    node = api("CacheBackendData //Inspire", key="k", tag="t", data=["7", 0])
    assert node["inputs"] == {"key": "k", "tag": "t", "data": ["7", 0]}
    assert api("PreloadedTextEncoderSelector", encoder_key="k")["inputs"] == {"key": "k"}
    assert api("ShowCachedInfo //Inspire", cache_info="old text", key="")["inputs"] == {}


def test_widgets_of_the_interface_are_put_into_their_new_order():
    node = interface("LoadTextEncoderShared //Inspire", ["l", "g", "None", "sdxl", "k", "Auto", "cpu"])
    assert node["type"] == node["properties"]["Node name for S&R"] == "LongshoreTextEncoderLoader"
    assert node["widgets_values"] == ["l", "sdxl", "g", "None", "None", "k", "Auto", "cpu"]
    assert "cnr_id" not in node["properties"]
    node = interface("CachedTextEncoderLoader", ["l", "sd3", True, "g", "t5", "default", ""])
    assert node["widgets_values"] == ["l", "sd3", "g", "t5", "None", "default", True, ""]


def test_sockets_keep_their_places_and_links_under_the_new_names():
    socket = {"name": "model_key", "type": "COMBO", "link": 9, "widget": {"name": "model_key"}}
    node = interface("PreloadedDiffusionModelSelector", ["k"], [socket])
    assert node["inputs"] == [{"name": "key", "type": "COMBO", "link": 9, "widget": {"name": "key"}}]


def test_nodes_of_subgraphs_are_found():
    inner = {"id": 2, "type": "IsCached //Inspire", "widgets_values": ["k"]}
    result = migrate({"nodes": [], "definitions": {"subgraphs": [{"nodes": [inner]}]}})
    assert result.document["definitions"]["subgraphs"][0]["nodes"][0]["type"] == "LongshoreIsCached"
    assert result.changed == 1


def test_the_default_key_of_a_text_encoder_loses_its_empty_menus():
    node = api("LoadTextEncoderShared //Inspire", model_name1="l", key_opt="l_None_None_sd3_default", mode="Read Only")
    assert node["inputs"]["key_opt"] == "l_sd3_default"


def test_a_menu_that_had_nothing_to_choose_from_has_nothing_chosen():
    assert api("PreloadedVAESelector", vae_name="无预加载VAE")["inputs"] == {"key": ""}


def test_what_is_not_ours_to_change_stays_and_the_document_given_too():
    document = {"1": {"class_type": "KSampler", "inputs": {}}, "2": {"class_type": "Other //Inspire", "inputs": {}}}
    before = json.dumps(document)
    result = migrate(document)
    assert result.document == document and result.changed == 0 and json.dumps(document) == before
    assert "Other //Inspire" in result.notes[0]


def test_a_configuration_loses_only_what_explains_it():
    config = {"models": {"vaes": [{"vae_name": "v", "cache_key": "k"}]}, "settings": {}, "_comments": {"x": "y"}}
    result = migrate(config)
    assert result.document == {"models": config["models"], "settings": {}} and result.changed == 1


@pytest.mark.parametrize("document", [[], 3, {}, {"a": 1, "b": "c"}])
def test_anything_else_is_an_error(document):
    with pytest.raises(ValueError, match="neither a workflow nor a configuration"):
        migrate(document)


def test_the_command_writes_beside_the_file_and_goes_on_after_one_it_cannot_read(tmp_path, capsys):
    good, bad = tmp_path / "w.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"1": {"class_type": "IsCached //Inspire", "inputs": {"key": "k"}}}))
    bad.write_text("{")
    assert main(["migrate", str(bad), str(good)]) == 1
    assert json.loads((tmp_path / "w.longshore.json").read_text())["1"]["class_type"] == "LongshoreIsCached"
    assert "bad.json" in capsys.readouterr().err


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_loses_no_value_but_that_of_the_text_box(rule):
    lost = {rule.name(name) for name in rule.old} - set(rule.new)
    assert lost <= {"cache_info", "key"} and (not lost or rule.node == "LongshoreShowCache")
