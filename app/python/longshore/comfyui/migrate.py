"""Workflows and configurations of two other packs as Longshore's. Pure: documents in, documents out.

A rule says what an old node becomes: the inputs it had in the order of its widgets, what they are called now, and the
order of the new widgets. Outputs keep their places in all of them, so links stay as they are.
"""
from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Iterator


@dataclass(frozen=True)
class Rule:
    """old: the widgets of the old node, in order. new: of the new one, by their own names or, with `renamed`, by the
    old ones. What is in `old` and in neither is dropped."""

    node: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    renamed: "dict[str, str]" = field(default_factory=dict)

    def name(self, old: str) -> str:
        return self.renamed.get(old, old)


@dataclass
class Migration:
    document: Any
    changed: int = 0
    notes: "list[str]" = field(default_factory=list)


_KEY, _KEY_TAG = ("key",), ("key", "tag")
_NOTHING_PRELOADED = {"无预加载模型", "无预加载文本编码器", "无预加载扩散模型", "无预加载VAE"}
# What stands in a widget that the old node had not.
_DEFAULTS = {"model_name4": "None", "clip_name4": "None"}


def _same(node: str, *widgets: str) -> Rule:
    return Rule(node, widgets, widgets)


def _menu(node: str, widget: str) -> Rule:
    return Rule(node, (widget,), _KEY, {widget: "key"})


RULES = {
    "CheckpointLoaderSimpleShared //Inspire": _same("LongshoreCheckpointLoader", "ckpt_name", "key_opt", "mode"),
    "LoadDiffusionModelShared //Inspire": _same(
        "LongshoreDiffusionModelLoader", "model_name", "weight_dtype", "key_opt", "mode"
    ),
    "LoadTextEncoderShared //Inspire": Rule(
        "LongshoreTextEncoderLoader",
        ("model_name1", "model_name2", "model_name3", "type", "key_opt", "mode", "device"),
        ("model_name1", "type", "model_name2", "model_name3", "model_name4", "key_opt", "mode", "device"),
    ),
    "StableCascade_CheckpointLoader //Inspire": Rule(
        "LongshoreStableCascadeLoader",
        ("stage_b", "key_opt_b", "stage_c", "key_opt_c", "cache_mode"),
        ("stage_b", "stage_c", "cache_mode", "key_opt_b", "key_opt_c"),
    ),
    "CacheBackendData //Inspire": _same("LongshoreStoreData", *_KEY_TAG),
    "CacheBackendDataNumberKey //Inspire": _same("LongshoreStoreDataNumber", *_KEY_TAG),
    "CacheBackendDataList //Inspire": _same("LongshoreStoreDataList", *_KEY_TAG),
    "CacheBackendDataNumberKeyList //Inspire": _same("LongshoreStoreDataNumberList", *_KEY_TAG),
    "RetrieveBackendData //Inspire": _same("LongshoreRetrieveData", *_KEY),
    "RetrieveBackendDataNumberKey //Inspire": _same("LongshoreRetrieveDataNumber", *_KEY),
    "RemoveBackendData //Inspire": _same("LongshoreRemoveData", *_KEY),
    "RemoveBackendDataNumberKey //Inspire": _same("LongshoreRemoveDataNumber", *_KEY),
    "ShowCachedInfo //Inspire": Rule("LongshoreShowCache", ("cache_info", "key"), ()),
    "IsCached //Inspire": _same("LongshoreIsCached", *_KEY),
    "CachedCheckpointLoader": _same("LongshoreCachedCheckpointLoader", "ckpt_name", "use_cache", "cache_key"),
    "CachedTextEncoderLoader": Rule(
        "LongshoreCachedTextEncoderLoader",
        ("clip_name1", "type", "use_cache", "clip_name2", "clip_name3", "device", "cache_key"),
        ("clip_name1", "type", "clip_name2", "clip_name3", "clip_name4", "device", "use_cache", "cache_key"),
    ),
    "CachedDiffusionModelLoader": _same(
        "LongshoreCachedDiffusionModelLoader", "model_name", "weight_dtype", "use_cache", "cache_key"
    ),
    "CachedVAELoader": _same("LongshoreCachedVAELoader", "vae_name", "use_cache", "cache_key"),
    "PreloadedModelSelector": _menu("LongshorePreloadedCheckpoint", "model_name"),
    "PreloadedTextEncoderSelector": _menu("LongshorePreloadedTextEncoder", "encoder_key"),
    "PreloadedDiffusionModelSelector": _menu("LongshorePreloadedDiffusionModel", "model_key"),
    "PreloadedVAESelector": _menu("LongshorePreloadedVAE", "vae_name"),
    "CachedModelInfo": _same("LongshoreCacheInfo"),
    "CheckCacheStatus": _same("LongshoreCacheStatus", "ckpt_name", "cache_key"),
}


def migrate(document: Any) -> Migration:
    """A copy of the document with all that the rules know turned into ours. Raises ValueError for anything that is
    neither a workflow nor a configuration."""
    result = Migration(copy.deepcopy(document))
    root = result.document
    if not isinstance(root, dict):
        raise ValueError("neither a workflow nor a configuration")
    if isinstance(root.get("nodes"), list):
        for node in _interface_nodes(root):
            _migrate_interface_node(node, result)
    elif isinstance(root.get("models"), dict):
        _migrate_config(root, result)
    elif root and all(isinstance(node, dict) and "class_type" in node for node in root.values()):
        for number, node in root.items():
            _migrate_api_node(number, node, result)
    elif root and all(isinstance(limit, int) for limit in root.values()):
        result.notes.append("limits by count are not needed: the cache has one limit in bytes, LONGSHORE_HOST_LIMIT")
    else:
        raise ValueError("neither a workflow nor a configuration")
    return result


def _interface_nodes(root: "dict[str, Any]") -> "Iterator[dict[str, Any]]":
    """All nodes of a workflow as the interface saves it, those of its subgraphs included."""
    yield from root["nodes"]
    for graph in root.get("definitions", {}).get("subgraphs", []):
        yield from graph.get("nodes", [])


def _migrate_interface_node(node: "dict[str, Any]", result: Migration) -> None:
    rule = _rule(node.get("type"), node.get("id"), result)
    if rule is None:
        return
    values = node.get("widgets_values") or []
    given = values if isinstance(values, dict) else dict(zip(rule.old, values))
    new = _values(rule, given)
    node["type"] = rule.node
    node["widgets_values"] = [new.get(name, _DEFAULTS.get(name, "")) for name in rule.new]
    for socket in node.get("inputs", []):
        socket["name"] = rule.name(socket["name"])
        if "widget" in socket:
            socket["widget"]["name"] = rule.name(socket["widget"]["name"])
    properties = node.setdefault("properties", {})
    properties["Node name for S&R"] = rule.node
    for about_the_old_pack in ("cnr_id", "aux_id", "ver"):
        properties.pop(about_the_old_pack, None)


def _migrate_api_node(number: str, node: "dict[str, Any]", result: Migration) -> None:
    rule = _rule(node["class_type"], number, result)
    if rule is None:
        return
    inputs = node.get("inputs", {})
    linked = {rule.name(name): value for name, value in inputs.items() if name not in rule.old}
    node["class_type"] = rule.node
    node["inputs"] = {**_values(rule, {name: inputs[name] for name in rule.old if name in inputs}), **linked}


def _rule(kind: Any, number: Any, result: Migration) -> "Rule | None":
    rule = RULES.get(kind)
    if rule:
        result.changed += 1
    elif isinstance(kind, str) and kind.endswith("//Inspire"):
        result.notes.append(f"node {number} ({kind}) stays as it is: it is none of the shared loaders' nodes")
    return rule


def _values(rule: Rule, given: "dict[str, Any]") -> "dict[str, Any]":
    values = {rule.name(name): value for name, value in given.items() if rule.name(name) in rule.new}
    if values.get("key") in _NOTHING_PRELOADED:
        values["key"] = ""
    key = values.get("key_opt")
    if rule.node == "LongshoreTextEncoderLoader" and isinstance(key, str):
        values["key_opt"] = key.replace("_None", "")  # their default key names the empty menus too
    return values


def _migrate_config(root: "dict[str, Any]", result: Migration) -> None:
    """The format is ours too; what only explains it goes."""
    for name in [name for name in root if name.startswith("_")]:
        del root[name]
        result.notes.append(f"{name} is left out")
    result.notes.append("put the result as preload_config.json into ComfyUI's user folder")
    result.changed = sum(len(entries) for entries in root["models"].values() if isinstance(entries, list))
