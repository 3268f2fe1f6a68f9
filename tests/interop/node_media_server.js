// node-media-server with relays:  node node_media_server.js PACKAGE DATA PORT push|pull URL PATH [URL PATH ...]
"use strict";

const path = require("node:path");

const [home, data, port, mode, ...pairs] = process.argv.slice(2);
const NodeMediaServer = require(home);
const Context = require(path.join(home, "src", "core", "context.js"));

const server = new NodeMediaServer({
  bind: "127.0.0.1",
  rtmp: { port: Number(port) },
  store: { path: data },
  auth: { play: false, publish: false },
}, path.join(data, "config.json"));

const relay = () => {
  for (let at = 0; at < pairs.length; at += 2) {
    const [url, streamPath] = pairs.slice(at, at + 2);
    Context.relayServer.addTask({ url, mode, streamPath, reconnectInterval: 200 });
  }
};
if (mode === "push") {
  // It can push only what is published: the relay begins with the publisher.
  server.on("postPublish", relay);
}
server.run().then(() => {
  if (mode === "pull") {
    relay();
  }
});
