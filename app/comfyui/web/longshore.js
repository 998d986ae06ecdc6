// Longshore's panel in the side bar: what the cache holds, how full it is, what is being preloaded. Also shows the text
// of the nodes that report on the cache.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { ComfyWidgets } from "../../scripts/widgets.js";

const REFRESH_MS = 1000;
const TEXT_NODES = ["LongshoreShowCache", "LongshoreCacheInfo"];
const SELECTORS = {
  LongshorePreloadedCheckpoint: "ckpt", LongshorePreloadedDiffusionModel: "diffusion_model",
  LongshorePreloadedTextEncoder: "text_encoder", LongshorePreloadedVAE: "vae",
};
const KINDS = ["ckpt", "diffusion_model", "text_encoder", "vae"];
const WORDS = {
  en: {
    title: "Longshore", tooltip: "Longshore: models in memory", memory: "Memory", pinned_memory: "Page-locked",
    preloading: "Preloading", cache: "In the cache", empty: "The cache is empty.", load: "Load", pin: "Pin",
    load_model: "Load a model", kind: "Kind", key_help: "empty: the file's name",
    unpin: "Unpin", evict: "Evict", waiting: "waiting", loading: "loading", ready: "ready", failed: "failed",
    leases: "in use", of: "of", key: "Key", file: "File", last_use: "Last use", now: "latest", hits: "hits",
    misses: "misses", offline: "The server does not answer.",
    ckpt: "checkpoint", unclip_ckpt: "unCLIP checkpoint", diffusion_model: "diffusion model",
    text_encoder: "text encoder", vae: "VAE", lora: "LoRA", data: "data", host: "memory", device: "GPU",
    mapped: "page cache", pin_help: "A pinned model is never evicted.", refresh: "Refresh",
  },
  zh: {
    title: "Longshore", tooltip: "Longshore：内存中的模型", memory: "内存", pinned_memory: "锁页内存",
    preloading: "预加载", cache: "缓存内容", empty: "缓存为空。", load: "加载", pin: "固定", unpin: "取消固定",
    load_model: "加载模型", kind: "类型", key_help: "留空：使用文件名",
    evict: "清出", waiting: "等待", loading: "加载中", ready: "就绪", failed: "失败", leases: "使用中", of: "/",
    key: "键", file: "文件", last_use: "最近使用", now: "最新", hits: "命中", misses: "未命中",
    offline: "服务器没有响应。",
    ckpt: "检查点", unclip_ckpt: "unCLIP 检查点", diffusion_model: "扩散模型", text_encoder: "文本编码器",
    vae: "VAE", lora: "LoRA", data: "数据", host: "内存", device: "显存", mapped: "页缓存",
    pin_help: "固定的模型不会被清出。", refresh: "刷新",
  },
};
const STYLE = `
.longshore { padding: 14px; font-size: 13px; line-height: 1.45; overflow-y: auto; height: 100%; box-sizing: border-box; }
.longshore h2 { margin: 0 0 14px; font-size: 15px; font-weight: 600; }
.longshore h3 { margin: 18px 0 8px; font-size: 12px; font-weight: 600; opacity: 0.65; }
.longshore .row { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; }
.longshore .budget { margin: 0 0 10px; }
.longshore .bar { height: 6px; margin-top: 4px; border-radius: 3px; overflow: hidden;
  background: color-mix(in srgb, currentColor 14%, transparent); }
.longshore .bar > div { height: 100%; background: #3b82c4; transition: width 0.3s; }
.longshore .bar.failed > div { background: #c4473b; width: 100% !important; }
.longshore .card { border: 1px solid var(--border-color, #555); border-radius: 8px; padding: 10px 12px; margin: 8px 0; }
.longshore .key-name { font-weight: 600; overflow-wrap: anywhere; }
.longshore .kind { flex: none; font-size: 11px; padding: 1px 8px; border-radius: 9px;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.longshore .facts { opacity: 0.7; margin-top: 2px; font-size: 12px; font-variant-numeric: tabular-nums; }
.longshore .actions { margin-top: 8px; display: flex; gap: 8px; }
.longshore .error:not(:empty) { margin: 0 0 12px; padding: 8px 10px; border-radius: 6px; overflow-wrap: anywhere;
  border-left: 3px solid #c4473b; background: color-mix(in srgb, #c4473b 16%, transparent); }
.longshore .card .error:not(:empty) { margin: 8px 0 0; }
.longshore label { display: block; margin: 0 0 8px; font-size: 12px; }
.longshore button, .longshore select, .longshore input { font: inherit; font-size: 12px; color: inherit;
  padding: 5px 10px; border-radius: 6px; border: 1px solid var(--border-color, #555);
  background: var(--comfy-input-bg, #333); }
.longshore select, .longshore input { display: block; width: 100%; margin-top: 3px; box-sizing: border-box; }
.longshore button { cursor: pointer; }
.longshore button:hover { border-color: #3b82c4; }
.longshore button:disabled { opacity: 0.5; cursor: default; }
.longshore button.wide { width: 100%; margin-top: 4px; }
`;

const words = () => {
  const locale = app.ui?.settings?.getSettingValue?.("Comfy.Locale") ?? "en";
  return WORDS[locale.startsWith("zh") ? "zh" : "en"];
};

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function bytes(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} GB`;
  return count >= 1e5 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e3).toFixed(count ? 1 : 0)} kB`;
}

function bar(part, whole, className = "") {
  const fill = element("div");
  fill.style.width = `${whole ? Math.min(100, (100 * part) / whole) : 0}%`;
  return element("div", { className: `bar ${className}` }, fill);
}

const row = (...children) => element("div", { className: "row" }, ...children);

async function ask(path, body) {
  const options = body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await api.fetchApi(`/longshore/${path}`, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error ?? answer.statusText);
  return value;
}

class Panel {
  constructor(root) {
    this.word = words();
    this.error = element("div", { className: "error" });
    this.content = element("div");
    root.replaceChildren(
      element("div", { className: "longshore" }, element("style", { textContent: STYLE }),
        element("h2", { textContent: this.word.title }), this.error, this.content, this.loadForm()));
    this.root = root;
    this.refresh();
  }

  // One look at a time, and none when the panel is closed.
  async refresh() {
    clearTimeout(this.timer);
    try {
      this.show(await ask("status"));
      if (this.offline) this.say("");
      this.offline = false;
    } catch (error) {
      this.offline = true;
      this.say(error.message || this.word.offline);
    }
    if (this.root.isConnected) this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  say(text) {
    this.error.textContent = text;
  }

  async act(button, path, body) {
    button.disabled = true;
    try {
      await ask(path, body);
      this.say("");
    } catch (error) {
      this.say(error.message);
    }
    button.disabled = false;
    await this.refresh();
  }

  button(text, path, body, title = "") {
    const made = element("button", { textContent: text, title });
    made.onclick = () => this.act(made, path, body);
    return made;
  }

  show(status) {
    const { word } = this;
    const parts = status.budgets.map(({ name, used, limit }) =>
      element("div", { className: "budget" },
        row(element("span", { textContent: word[name] }),
          element("span", { className: "facts", textContent: `${bytes(used)} ${word.of} ${bytes(limit)}` })),
        bar(used, limit)));
    parts.push(...status.config.problems.map((text) => element("div", { className: "error", textContent: text })));
    const unfinished = status.preload.filter(({ state }) => state !== "ready");
    if (unfinished.length) {
      parts.push(element("h3", { textContent: word.preloading }), ...unfinished.map((model) => this.preload(model)));
    }
    parts.push(element("h3", { textContent: word.cache }));
    const latest = [...status.entries].sort((a, b) => b.last_use - a.last_use);
    parts.push(...latest.map((entry, index) => this.entry(entry, index)));
    if (!latest.length) parts.push(element("div", { className: "facts", textContent: word.empty }));
    this.content.replaceChildren(...parts);
  }

  preload({ key, kind, state, done, total, error }) {
    const share = total && state === "loading" ? ` ${Math.round((100 * done) / total)} %` : "";
    const card = element("div", { className: "card" }, this.heading(key, kind),
      element("div", { className: "facts", textContent: this.word[state] + share }), bar(done, total, state));
    if (error) card.append(element("div", { className: "error", textContent: error }));
    return card;
  }

  heading(name, kind) {
    return row(element("div", { className: "key-name", textContent: name }),
      element("span", { className: "kind", textContent: this.word[kind] ?? kind }));
  }

  entry({ key, kind, tag, bytes: size, tier, leases, pinned }, index) {
    const { word } = this;
    const facts = [tag, bytes(size), word[tier] ?? tier, leases ? `${word.leases}: ${leases}` : "",
      `${word.last_use}: ${index ? `#${index + 1}` : word.now}`];
    const actions = element("div", { className: "actions" });
    if (kind !== "data") {
      const change = { key, pinned: !pinned };
      actions.append(this.button(pinned ? word.unpin : word.pin, "pin", change, word.pin_help));
    }
    actions.append(this.button(word.evict, "evict", { key }));
    return element("div", { className: "card" }, this.heading((pinned ? "\u{1F4CC} " : "") + key, kind),
      element("div", { className: "facts", textContent: facts.filter(Boolean).join(" \u00b7 ") }), actions);
  }

  loadForm() {
    const { word } = this;
    const option = (value, text = value) => element("option", { value, textContent: text });
    const kind = element("select", {}, ...KINDS.map((name) => option(name, word[name])));
    const file = element("select");
    const key = element("input", { placeholder: word.key_help });
    const button = element("button", { textContent: word.load, className: "wide" });
    const labelled = (text, input) => element("label", { textContent: text }, input);
    let files = {};
    const fill = () => file.replaceChildren(...(files[kind.value] ?? []).map((name) => option(name)));
    ask("files").then((answer) => { files = answer; fill(); }).catch((error) => this.say(error.message));
    kind.onchange = fill;
    button.onclick = () => this.act(button, "load", { kind: kind.value, files: [file.value], key: key.value });
    return element("div", {}, element("h3", { textContent: word.load_model }), labelled(word.kind, kind),
      labelled(word.file, file), labelled(word.key, key), button);
  }
}

// The text that such a node has shown last stays in the node.
function showText(node, text) {
  const shown = node.widgets?.find((widget) => widget.name === "text")
    ?? ComfyWidgets.STRING(node, "text", ["STRING", { multiline: true }], app).widget;
  shown.options = { ...shown.options, serialize: false };
  shown.serializeValue = async () => undefined;
  if (shown.inputEl) shown.inputEl.readOnly = true;
  shown.value = text;
}

// A menu of what is in the cache, with a button to look again. What was chosen stays, whether it is there or not.
function keepMenuFresh(node, kind) {
  const menu = node.widgets.find((widget) => widget.name === "key");
  const look = async () => {
    const keys = await ask(`keys/${kind}`).catch(() => []);
    menu.value ||= keys[0];
    menu.options.values = [...new Set([...keys, menu.value].filter(Boolean))];
    node.setDirtyCanvas(true);
  };
  const button = node.addWidget("button", words().refresh, null, look, { serialize: false });
  button.serialize = false;
  look();
}

app.registerExtension({
  name: "Longshore",
  setup() {
    const word = words();
    app.extensionManager.registerSidebarTab({
      id: "longshore", icon: "pi pi-database", title: word.title, tooltip: word.tooltip, type: "custom",
      render: (root) => new Panel(root),
    });
  },
  nodeCreated(node) {
    const kind = SELECTORS[node.comfyClass];
    if (kind) keepMenuFresh(node, kind);
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!TEXT_NODES.includes(nodeData.name)) return;
    const executed = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      executed?.apply(this, arguments);
      showText(this, (output?.text ?? []).join(""));
    };
  },
});
