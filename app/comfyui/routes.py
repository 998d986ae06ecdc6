"""The HTTP routes behind the panel, all under /longshore/. Nothing of them takes a path; files are named as in menus.

Only pages of this server may ask: a request that the browser marks as another site's is refused.
"""
from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable
from urllib.parse import urlsplit

import folder_paths
from aiohttp import web

from .nodes_loaders import text_encoder_types
from .pack import pack
from .recipe import FOLDERS, WEIGHT_DTYPES, Recipe, text_encoder

log = logging.getLogger("longshore")
_LOADABLE = ("ckpt", "diffusion_model", "text_encoder", "vae")


def add(routes: web.RouteTableDef) -> None:
    routes.get("/longshore/status")(_guarded(_status))
    routes.get("/longshore/keys/{kind}")(_guarded(_keys))
    routes.get("/longshore/files")(_guarded(_files))
    routes.post("/longshore/load")(_guarded(_load))
    routes.post("/longshore/pin")(_guarded(_pin))
    routes.post("/longshore/evict")(_guarded(_evict))


def is_same_origin(headers: Any) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == headers.get("Host")


def _guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler for requests of the same origin, with errors as text that a person can read."""

    async def guarded(request: web.Request) -> web.Response:
        if not is_same_origin(request.headers):
            return web.json_response({"error": "only pages of this server may ask"}, status=403)
        if request.method == "POST" and request.content_type != "application/json":
            return web.json_response({"error": "JSON is expected"}, status=415)
        try:
            return web.json_response(await handler(request))
        except Exception as error:  # the panel shows it; the server goes on
            log.debug("%s", request.path, exc_info=True)
            return web.json_response({"error": str(error) or type(error).__name__}, status=400)

    return guarded


async def _status(_: web.Request) -> dict[str, Any]:
    the = pack()
    status = the.runtime.status()
    return {
        "entries": [_entry(entry) for entry in the.runtime.cache.entries()],
        "budgets": [
            {"name": "memory", "used": status.host_used, "limit": status.host_limit},
            {"name": "pinned_memory", "used": status.pinned_used, "limit": status.pinned_limit},
        ],
        "preload": [
            {
                "key": progress.item.key,
                "kind": progress.item.recipe.kind,
                "state": progress.state,
                "done": progress.done,
                "total": progress.total,
                "error": progress.error,
            }
            for progress in the.preloader.models
        ],
        "config": {"path": the.config.path, "problems": the.config.problems, "weights": the.builder.weights},
    }


def _entry(entry: Any) -> dict[str, Any]:
    """bytes: of a file that the page cache has, all of them, though they count under no budget."""
    mapped = not entry.is_object and entry.memory_bytes < entry.file_bytes
    return {
        "key": entry.key,
        "kind": entry.kind,
        "tag": pack().data.tag(entry),
        "bytes": max(entry.memory_bytes, entry.file_bytes),
        "tier": "mapped" if mapped else entry.tier,
        "leases": entry.leases,
        "pinned": entry.pinned,
        "last_use": entry.last_use,
    }


async def _keys(request: web.Request) -> list[str]:
    return pack().preloader.ready(_one_of(request.match_info["kind"], _LOADABLE, "kind"))


async def _files(_: web.Request) -> dict[str, list[str]]:
    return {kind: folder_paths.get_filename_list(FOLDERS[kind]) for kind in _LOADABLE}


async def _load(request: web.Request) -> dict[str, str]:
    wanted = await _object(request)
    recipe = _recipe(wanted)
    key = recipe.key_for(_text(wanted, "key", ""))
    await asyncio.to_thread(pack().store.load, recipe, key)
    return {"key": key}


async def _pin(request: web.Request) -> dict[str, Any]:
    wanted = await _object(request)
    key, pinned = _text(wanted, "key"), bool(wanted.get("pinned"))
    cache = pack().runtime.cache
    await asyncio.to_thread(cache.pin if pinned else cache.unpin, key)
    return {"key": key, "pinned": pinned}


async def _evict(request: web.Request) -> dict[str, str]:
    key = _text(await _object(request), "key")
    if key not in pack().data:
        raise ValueError(f"there is no {key!r} in the cache")
    await asyncio.to_thread(pack().store.remove, key)
    return {"key": key}


async def _object(request: web.Request) -> dict[str, Any]:
    wanted = await request.json()
    if not isinstance(wanted, dict):
        raise ValueError("a JSON object is expected")
    return wanted


def _text(wanted: dict[str, Any], name: str, default: Any = None) -> str:
    value = wanted.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name}: text is expected")
    return value


def _recipe(wanted: dict[str, Any]) -> Recipe:
    """Names that no menu shows are refused, and so is any path out of the model folders."""
    kind = _one_of(wanted.get("kind"), _LOADABLE, "kind")
    known, files = folder_paths.get_filename_list(FOLDERS[kind]), wanted.get("files")
    if not isinstance(files, list):
        raise ValueError("files: a list is expected")
    files = [_one_of(name, known, "file") for name in files]
    if kind == "text_encoder":
        return text_encoder(files, _one_of(wanted.get("type", "stable_diffusion"), text_encoder_types(), "type"))
    if len(files) != 1:
        raise ValueError("one file is expected")
    dtype = _one_of(wanted.get("weight_dtype", "default"), WEIGHT_DTYPES, "weight_dtype")
    return Recipe(kind, tuple(files), weight_dtype=dtype if kind == "diffusion_model" else "default")


def _one_of(value: Any, known: Any, what: str) -> str:
    if value not in known:
        raise ValueError(f"there is no {what} {value!r}")
    return value
