/* Where the picture of a stream may come from: the edges of the cluster that serve HTTP. */

const ALL = new Set(["", "0.0.0.0", "[::]"]);
const isLoopback = (host) => host === "localhost" || host === "[::1]" || /^127\./.test(host);

/** How long an edge that could not be reached from here is not tried again. */
const AVOID_MS = 60_000;
const avoided = new Map();

export const avoid = (place) => avoided.set(place, performance.now() + AVOID_MS);
const isAvoided = (place) => (avoided.get(place) || 0) > performance.now();

/** The edges, those first that have the stream already. Any edge of a cluster plays every stream. */
export function placesOf(stream, nodes) {
  const having = new Set([stream.id, ...stream.players_by.map((each) => each.id)]);
  const serving = nodes.filter((node) => node.state === "ok");
  serving.sort((a, b) => having.has(b.id) - having.has(a.id) || (b.id === stream.id) - (a.id === stream.id));
  const found = serving.flatMap((node) => node.http_urls.flatMap((url) => urlsOf(url, node)));
  const fit = [...new Set(found)].filter((url) => location.protocol === "http:" || url.startsWith("https:"));
  return { places: fit.filter((url) => !isAvoided(url)), why: whyNone(nodes, serving, found, fit) };
}

/** `url` as this browser can reach it. Where an edge listens everywhere, it may be the host of this page, or the
    one that the node is named after; where it listens for its own host alone, it must be this host. */
function urlsOf(url, node) {
  const [, scheme, host, port] = /^(https?):\/\/(.*):(\d+)$/.exec(url) || [];
  if (!scheme) return [];
  if (isLoopback(host)) return isLoopback(location.hostname) ? [url] : [];
  if (!ALL.has(host)) return [url];
  const hosts = [location.hostname, ...(/^[A-Za-z0-9.-]+$/.test(node.node) ? [node.node] : [])];
  return hosts.map((each) => `${scheme}://${each}:${port}`);
}

function whyNone(nodes, serving, found, fit) {
  if (!nodes.some((node) => node.http_urls.length)) return "No edge of this cluster serves HTTP (--http).";
  if (!serving.some((node) => node.http_urls.length)) return "No edge that serves HTTP is in service.";
  if (!found.length) return "The edges serve HTTP for their own hosts only.";
  if (!fit.length) return "This page came over HTTPS, and the edges serve plain HTTP (--http-tls is wanted).";
  return "No edge could be reached from this browser, or none lets this page read its answers (--http-origin).";
}
