// Keeps the texts that our nodes show until their node runs again. The page itself draws them, from the progress texts
// that the server sends, but newer frontends remove those when a job ends, and older ones never do.
import { app } from "../../scripts/app.js"

const TEXT_EVENT = "t2i_adapter.text" // as in nodes/host/page.py
const WIDGET = "$$node-text-preview" // the frontend's own
const ENDS = ["execution_success", "execution_error", "execution_interrupted", "status"]
const SETTLED = 50 // milliseconds until the frontend has reacted to an end
// The classic renderer gives every text two lines. In pixels: a line, around a text, a letter, the highest text.
const LINE = 16
const AROUND = 24
const LETTER = 6
const HIGHEST = 200

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

function fit(node) {
  const widget = widgetOf(node)
  if (!widget?.options || window.LiteGraph?.vueNodesMode) return
  const letters = Math.max(1, (node.size[0] - 2 * AROUND) / LETTER)
  const kept = texts.get(node)
  const before = node.size[1]
  const lines = kept.text.split("\n").reduce((sum, { length }) => sum + Math.ceil(length / letters), 0)
  const height = Math.min(HIGHEST, lines * LINE + AROUND)
  widget.options.getMinHeight = () => height
  node.setSize([node.size[0], Math.max(before, node.computeSize()[1])])
  kept.grown += node.size[1] - before
}

function remember(node, id, text) {
  texts.set(node, { nodeId: id, text, grown: texts.get(node)?.grown ?? 0 })
  fit(node)
}

function forget(node) {
  const grown = texts.get(node)?.grown ?? 0
  const widget = widgetOf(node)
  texts.delete(node)
  if (!widget) return
  widget.onRemove?.()
  node.widgets.splice(node.widgets.indexOf(widget), 1)
  if (grown) node.setSize([node.size[0], node.size[1] - grown])
  node.setDirtyCanvas?.(true, true)
}

function restore() {
  for (const node of nodesIn(app.rootGraph ?? app.graph)) {
    const kept = texts.get(node)
    if (!kept || widgetOf(node)?.value === kept.text) continue
    app.api.dispatchCustomEvent("progress_text", { nodeId: kept.nodeId, text: kept.text })
    fit(node)
  }
}

app.registerExtension({
  name: "T2IAdapter.NodeTexts",
  setup() {
    app.api.addEventListener(TEXT_EVENT, ({ detail }) => {
      const node = nodeWith(detail.node)
      if (node && detail.text) remember(node, detail.node, detail.text)
      else if (node) forget(node)
    })
    app.api.addEventListener("executing", ({ detail }) => {
      const node = detail === null || detail === undefined ? undefined : nodeWith(detail)
      if (node && texts.has(node)) forget(node)
    })
    for (const end of ENDS) app.api.addEventListener(end, () => setTimeout(restore, SETTLED))
  }
})
