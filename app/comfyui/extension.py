"""Where ComfyUI meets the pack: the list of nodes, the start of the server, and its requests to free memory."""
from __future__ import annotations

from typing import Any

from aiohttp import web
from comfy_api.latest import ComfyExtension
from server import PromptServer

from . import nodes_data, nodes_loaders, nodes_preloaded, routes
from .pack import pack


class LongshoreExtension(ComfyExtension):
    async def on_load(self) -> None:
        app = PromptServer.instance.app
        app.on_startup.append(_start)
        app.on_response_prepare.append(_free)
        routes.add(PromptServer.instance.routes)

    async def get_node_list(self) -> list[Any]:
        return [*nodes_loaders.NODES, *nodes_data.NODES, *nodes_preloaded.NODES]


async def _start(_: web.Application) -> None:
    pack().start()


async def _free(request: web.Request, response: web.StreamResponse) -> None:
    """ComfyUI's own handler has answered /free; where it did as asked, the cache does its part. Unloading the models
    lets go of what nobody uses, freeing the memory empties the cache."""
    if request.method != "POST" or request.path not in ("/free", "/api/free") or response.status != 200:
        return
    wanted = await request.json()
    if wanted.get("free_memory"):
        pack().chores.do(pack().empty)
    elif wanted.get("unload_models"):
        pack().chores.do(pack().give_back)
