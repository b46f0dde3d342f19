// Keeps the texts that our nodes show until their node runs again. The page itself draws them, from the progress texts
// that the server sends, but frontends from 1.5x on remove those when a job ends, and older ones never do.
import { app } from "../../scripts/app.js"

const TEXT_EVENT = "t2i_adapter.text" // as in nodes/host/page.py
const WIDGET = "$$node-text-preview" // the frontend's own
const ENDS = ["execution_success", "execution_error", "execution_interrupted", "status"]
const SETTLED = 50 // milliseconds until the frontend has reacted to an end

// By node, not by id: another workflow's node may have the same id.
const texts = new WeakMap()

function nodeWith(id) {
  let graph = app.rootGraph ?? app.graph
  let node
  // The id of a node in a subgraph begins with those of the subgraphs around it.
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part))
    graph = node?.subgraph
  }
  return node
}

function* nodesIn(graph) {
  for (const node of graph?.nodes ?? []) {
    yield node
    yield* nodesIn(node.subgraph)
  }
}

function widgetOf(node) {
  return node.widgets?.find(({ name }) => name === WIDGET)
}

function forget(node) {
  texts.delete(node)
  const widget = widgetOf(node)
  if (!widget) return
  widget.onRemove?.()
  node.widgets.splice(node.widgets.indexOf(widget), 1)
  node.setDirtyCanvas?.(true, true)
}

function restore() {
  for (const node of nodesIn(app.rootGraph ?? app.graph)) {
    const kept = texts.get(node)
    if (kept && widgetOf(node)?.value !== kept.text) app.api.dispatchCustomEvent("progress_text", kept)
  }
}

app.registerExtension({
  name: "T2IAdapter.NodeTexts",
  setup() {
    app.api.addEventListener(TEXT_EVENT, ({ detail }) => {
      const node = nodeWith(detail.node)
      if (node && detail.text) texts.set(node, { nodeId: detail.node, text: detail.text })
      else if (node) forget(node)
    })
    app.api.addEventListener("executing", ({ detail }) => {
      const node = detail === null || detail === undefined ? undefined : nodeWith(detail)
      if (node && texts.has(node)) forget(node)
    })
    for (const end of ENDS) app.api.addEventListener(end, () => setTimeout(restore, SETTLED))
  }
})
