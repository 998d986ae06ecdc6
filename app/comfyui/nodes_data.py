"""Values of any kind under a key, kept from one workflow to the next."""
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .data import CLEAR_ALL
from .pack import pack

CATEGORY = "Longshore/data"
_MAX_NUMBER = 0xFFFFFFFFFFFFFFFF


def _text_key(placeholder: str = "such as: girl latent 3") -> io.String.Input:
    return io.String.Input("key", default="", placeholder=placeholder)


def _number_key() -> io.Int.Input:
    return io.Int.Input("key", default=0, min=0, max=_MAX_NUMBER)


def _schema(node_id: str, name: str, about: str, **more: Any) -> io.Schema:
    return io.Schema(node_id=node_id, display_name=f"{name} (Longshore)", category=CATEGORY, description=about, **more)


def _store_schema(node_id: str, name: str, about: str, key: Any, is_list: bool = False) -> io.Schema:
    return _schema(
        node_id,
        name,
        about,
        is_output_node=True,
        is_input_list=is_list,
        inputs=[
            key,
            io.String.Input("tag", default="", placeholder="a short description"),
            io.AnyType.Input("data"),
        ],
        outputs=[io.AnyType.Output(id="data_opt", display_name="data opt", is_output_list=is_list)],
    )


class LongshoreStoreData(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Keeps a value under a key, for this workflow and the next ones."
        return _store_schema("LongshoreStoreData", "Store Data", about, _text_key())

    @classmethod
    def execute(cls, key: Any, tag: str, data: Any) -> io.NodeOutput:
        pack().data.put(key, data, tag)
        return io.NodeOutput(data)


class LongshoreStoreDataNumber(LongshoreStoreData):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Keeps a value under a number, such as a seed."
        return _store_schema("LongshoreStoreDataNumber", "Store Data by Number", about, _number_key())


class LongshoreStoreDataList(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Keeps a whole list under a key; it comes out as a list again."
        return _store_schema("LongshoreStoreDataList", "Store Data List", about, _text_key(), is_list=True)

    @classmethod
    def execute(cls, key: list[Any], tag: list[str], data: list[Any]) -> io.NodeOutput:
        pack().data.put(key[0], data, tag[0], is_list=True)
        return io.NodeOutput(data)


class LongshoreStoreDataNumberList(LongshoreStoreDataList):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Keeps a whole list under a number."
        return _store_schema(
            "LongshoreStoreDataNumberList", "Store Data List by Number", about, _number_key(), is_list=True
        )


def _retrieve_schema(node_id: str, name: str, about: str, key: Any) -> io.Schema:
    outputs = [io.AnyType.Output(id="data", display_name="data", is_output_list=True)]
    return _schema(node_id, name, about, inputs=[key], outputs=outputs)


class LongshoreRetrieveData(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "What is stored under a key; None, and a line in the log, where there is nothing."
        return _retrieve_schema("LongshoreRetrieveData", "Retrieve Data", about, _text_key())

    @classmethod
    def fingerprint_inputs(cls, key: Any) -> Any:
        return pack().data.weak_hash(key)

    @classmethod
    def execute(cls, key: Any) -> io.NodeOutput:
        return io.NodeOutput(pack().data.get(key))


class LongshoreRetrieveDataNumber(LongshoreRetrieveData):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "What is stored under a number."
        return _retrieve_schema("LongshoreRetrieveDataNumber", "Retrieve Data by Number", about, _number_key())


def _remove_schema(node_id: str, name: str, about: str, key: Any) -> io.Schema:
    return _schema(
        node_id,
        name,
        about,
        is_output_node=True,
        inputs=[key, io.AnyType.Input("signal_opt", optional=True)],
        outputs=[io.AnyType.Output(id="signal", display_name="signal")],
    )


class LongshoreRemoveData(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Removes what is stored under a key; the key '*' empties the cache, models included."
        return _remove_schema("LongshoreRemoveData", "Remove Data", about, _text_key("'*': all of it"))

    @classmethod
    def fingerprint_inputs(cls, key: Any, signal_opt: Any = None) -> Any:
        return float("nan")  # to remove is an act, not a value

    @classmethod
    def execute(cls, key: Any, signal_opt: Any = None) -> io.NodeOutput:
        if key == CLEAR_ALL:
            pack().empty()
        else:
            pack().data.remove(key)
        return io.NodeOutput(signal_opt)


class LongshoreRemoveDataNumber(LongshoreRemoveData):
    @classmethod
    def define_schema(cls) -> io.Schema:
        about = "Removes what is stored under a number. The signal passes through."
        return _remove_schema("LongshoreRemoveDataNumber", "Remove Data by Number", about, _number_key())


def after_input() -> io.Input:
    """For a node that has no inputs of its own, and would run before all others."""
    return io.AnyType.Input("after", optional=True)


class LongshoreShowCache(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _schema(
            "LongshoreShowCache",
            "Show Cache",
            "Shows all that the cache holds, models and values, with sizes.",
            is_output_node=True,
            inputs=[after_input()],
            outputs=[io.String.Output(id="cache_info", display_name="cache_info")],
        )

    @classmethod
    def fingerprint_inputs(cls, after: Any = None) -> Any:
        return float("nan")

    @classmethod
    def execute(cls, after: Any = None) -> io.NodeOutput:
        text = describe_cache()
        return io.NodeOutput(text, ui={"text": [text]})


def describe_cache() -> str:
    """A line a key: the key, the kind or the tag, the size, the place, who uses it."""
    cache, data = pack().runtime.cache, pack().data
    lines = []
    for entry in sorted(cache.entries(), key=lambda entry: (entry.kind, entry.key)):
        tag = data.tag(entry)
        size = max(entry.memory_bytes, entry.file_bytes) / 1e6
        lines.append(
            f"{entry.key}: {entry.kind}{f' ({tag})' if tag else ''}, {size:,.1f} MB, {entry.tier}"
            f"{', pinned' if entry.pinned else ''}{f', in use: {entry.leases}' if entry.leases else ''}"
        )
    return "\n".join(lines) or "The cache is empty."


class LongshoreIsCached(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return _schema(
            "LongshoreIsCached",
            "Is Cached",
            "Whether a key stands for something: a model or a value.",
            inputs=[_text_key("a cache key")],
            outputs=[io.Boolean.Output(id="is_cached", display_name="is cached")],
        )

    @classmethod
    def fingerprint_inputs(cls, key: str) -> Any:
        return key in pack().data

    @classmethod
    def execute(cls, key: str) -> io.NodeOutput:
        return io.NodeOutput(key in pack().data)


NODES = [
    LongshoreStoreData,
    LongshoreStoreDataNumber,
    LongshoreStoreDataList,
    LongshoreStoreDataNumberList,
    LongshoreRetrieveData,
    LongshoreRetrieveDataNumber,
    LongshoreRemoveData,
    LongshoreRemoveDataNumber,
    LongshoreShowCache,
    LongshoreIsCached,
]
