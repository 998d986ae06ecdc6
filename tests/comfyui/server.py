"""A real ComfyUI as a child process: started headless, given workflows, followed by its websocket, asked for pixels."""
import asyncio
import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "app" / "comfyui"
MODEL_FOLDERS = ("checkpoints", "diffusion_models", "text_encoders", "vae", "loras", "embeddings")
START_SECONDS = 180
PROMPT_SECONDS = 300


class PromptFailed(Exception):
    """The server refused a workflow, or a node of it failed; `details` is what the browser would be told."""

    def __init__(self, details):
        super().__init__(json.dumps(details, ensure_ascii=False)[:2000])
        self.details = details


def base_folder(path, packs=(PACK,)):
    """A folder for ComfyUI's --base-directory, with these packs linked into it."""
    for name in (*(f"models/{folder}" for folder in MODEL_FOLDERS), "custom_nodes", "input", "output", "user", "temp"):
        (path / name).mkdir(parents=True, exist_ok=True)
    for pack in packs:
        link = path / "custom_nodes" / ("longshore" if Path(pack) == PACK else Path(pack).name)
        if not link.exists():
            link.symlink_to(pack)
    return path


class Server:
    """with Server(comfyui, base) as server: server.run(workflow). COMFYUI_PYTHON: the interpreter, if not this one's."""

    def __init__(self, comfyui, base, environment=None, arguments=()):
        self.base, self.lines, self.first_page_seconds = Path(base), [], None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url, self.client = f"http://127.0.0.1:{self.port}", uuid.uuid4().hex
        self._command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable), "main.py", "--cpu", "--port", str(self.port),
            "--disable-auto-launch", "--base-directory", str(base), "--user-directory", f"{base}/user",
            "--database-url", f"sqlite:///{base}/user/comfyui.db", *arguments,
        ]  # fmt: skip
        self._directory, self._environment = comfyui, {**os.environ, **(environment or {}), "NO_COLOR": "1"}

    def __enter__(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self._command, cwd=self._directory, env=self._environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        listening = threading.Event()
        threading.Thread(target=self._read, args=(listening,), daemon=True).start()
        if not listening.wait(START_SECONDS) or self.process.poll() is not None:
            self.__exit__()
            raise RuntimeError("ComfyUI did not start:\n" + "\n".join(self.lines[-40:]))
        self.get("/")
        self.first_page_seconds = time.monotonic() - self.started
        return self

    def _read(self, listening):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if "To see the GUI go to" in line:
                listening.set()
        listening.set()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def log(self):
        return "\n".join(self.lines)

    def is_alive(self):
        return self.process.poll() is None

    # ---- HTTP

    def request(self, path, body=None, headers=None):
        """(status, bytes); with a body it is a POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path):
        status, body = self.request(path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body[:500]!r}")
        return body

    def json(self, path, body=None):
        return json.loads(self.request(path, body)[1])

    def free(self, **what):
        assert self.request("/free", what)[0] == 200

    def interrupt(self):
        assert self.request("/interrupt", {})[0] == 200

    # ---- workflows

    def run(self, workflow, on_event=None):
        """Runs a workflow in API format to its end. Raises PromptFailed."""
        with ThreadPoolExecutor(1) as thread:  # in a thread of its own, since a browser's driver has a loop in this one
            return thread.submit(asyncio.run, self._run(workflow, on_event)).result()

    async def _run(self, workflow, on_event):
        import aiohttp

        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            socket = await stack.enter_async_context(
                session.ws_connect(f"{self.url}/ws?clientId={self.client}", max_msg_size=0)
            )
            status, body = await asyncio.to_thread(
                self.request, "/prompt", {"prompt": workflow, "client_id": self.client}
            )
            answer = json.loads(body)
            if status != 200 or answer.get("node_errors"):
                raise PromptFailed(answer)
            result = Result(self, answer["prompt_id"])
            async with asyncio.timeout(PROMPT_SECONDS):
                async for message in socket:
                    if message.type != aiohttp.WSMsgType.TEXT:
                        continue
                    event = json.loads(message.data)
                    if event["data"].get("prompt_id") not in (None, result.prompt_id):
                        continue
                    if on_event:
                        await asyncio.to_thread(on_event, event)
                    if result.take(event):
                        return result
        raise RuntimeError("the server closed its websocket:\n" + "\n".join(self.lines[-40:]))


class Result:
    """What a workflow gave. seconds: node id -> how long it ran."""

    def __init__(self, server, prompt_id):
        self._server, self.prompt_id = server, prompt_id
        self.outputs, self.seconds, self.cached, self.progress = {}, {}, [], []
        self._running = None

    def take(self, event):
        """Takes an event in; whether it was the last."""
        kind, data = event["type"], event["data"]
        now = time.monotonic()
        if kind in ("executing", "execution_success", "execution_error", "execution_interrupted") and self._running:
            node, since = self._running
            self.seconds[node] = self.seconds.get(node, 0) + now - since
            self._running = None
        if kind == "executing" and data["node"]:
            self._running = data["node"], now
        elif kind == "executed" and data["output"]:
            self.outputs[data["node"]] = data["output"]
        elif kind == "execution_cached":
            self.cached = data["nodes"]
        elif kind == "progress":
            self.progress.append((data["node"], data["value"], data["max"]))
        elif kind in ("execution_error", "execution_interrupted"):
            raise PromptFailed(data)
        return kind == "execution_success"

    def pixels(self):
        """A digest of the pixels of all images, whatever else their files say."""
        from PIL import Image

        digest = hashlib.sha256()
        images = [image for node in sorted(self.outputs) for image in self.outputs[node].get("images", [])]
        assert images, "the workflow made no image"
        for image in images:
            query = "&".join(f"{name}={image[name]}" for name in ("filename", "subfolder", "type"))
            picture = Image.open(io.BytesIO(self._server.get(f"/view?{query}"))).convert("RGB")
            digest.update(repr(picture.size).encode() + picture.tobytes())
        return digest.hexdigest()

    def text(self, node):
        return "".join(self.outputs[node]["text"])
